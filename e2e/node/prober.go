package node

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// The kinds of probes, as events name them.
const (
	startup   = "Startup"
	liveness  = "Liveness"
	readiness = "Readiness"
)

// prober probes one container in one way, for as long as there is the pod: the
// worker of pkg/kubelet/prober.
type prober struct {
	container *container
	kind      string
	spec      *corev1.Probe

	run       *run // that it knows
	hold      bool // until the next run
	succeeded bool
	inARow    int32
}

// startProbes begins to probe the pod's containers, once.
func (p *pod) startProbes(ctx context.Context) {
	if p.probing {
		return
	}
	p.probing = true
	for _, c := range p.all() {
		if c.init && !c.sidecar {
			continue
		}
		for kind, spec := range map[string]*corev1.Probe{
			startup: c.spec.StartupProbe, liveness: c.spec.LivenessProbe, readiness: c.spec.ReadinessProbe,
		} {
			if spec != nil {
				w := &prober{container: c, kind: kind, spec: spec}
				go w.work(ctx)
			}
		}
	}
}

// askReadiness has the containers that are not ready probed at once, as the
// kubelet does whenever it makes a status.
func (p *pod) askReadiness() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.all() {
		if c.spec.ReadinessProbe != nil && c.isStarted() && !c.isReady() {
			select {
			case c.probeNow <- struct{}{}:
			default:
			}
		}
	}
}

func (w *prober) work(ctx context.Context) {
	p := w.container.pod
	period := time.Duration(max(w.spec.PeriodSeconds, 1)) * time.Second
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	var now chan struct{}
	if w.kind == readiness {
		now = w.container.probeNow
	}
	for w.probe(ctx) {
		select {
		case <-p.over:
			return
		case <-now:
			ticker.Reset(period)
		case <-ticker.C:
		}
	}
}

// probe probes once, if it is time to, and tells whether to go on.
func (w *prober) probe(ctx context.Context) bool {
	c := w.container
	p := c.pod
	p.mu.Lock()
	r, running := c.shown, c.shownRunning
	started := running && c.isStarted()
	deleted := p.latest.DeletionTimestamp != nil
	again := c.restarts(p.latest.Spec.RestartPolicy)
	var since time.Duration
	if r != nil {
		since = time.Since(r.started)
	}
	p.mu.Unlock()
	if r == nil {
		return true
	}
	if w.run != r {
		w.run, w.hold = r, false
		switch w.kind {
		case readiness:
			w.note(ctx, false)
		case liveness:
			w.note(ctx, true)
		}
	}
	switch {
	case w.hold:
		return true
	case !running:
		w.note(ctx, false)
		return again
	case deleted && w.kind != readiness:
		return false
	case int32(since.Seconds()) < w.spec.InitialDelaySeconds, started == (w.kind == startup):
		return true
	}
	failure, err := p.check(c, r, w.spec)
	if err != nil {
		c.warning("Unhealthy", "%s probe errored and resulted in unknown state: %v", w.kind, err)
		return true
	}
	if failure != "" {
		c.warning("Unhealthy", "%s probe failed: %s", w.kind, failure)
	}
	if w.succeeded == (failure == "") {
		w.inARow++
	} else {
		w.succeeded, w.inARow = failure == "", 1
	}
	if w.succeeded && w.inARow < max(w.spec.SuccessThreshold, 1) || !w.succeeded && w.inARow < max(w.spec.FailureThreshold, 1) {
		return true
	}
	w.note(ctx, w.succeeded)
	if w.kind == liveness && !w.succeeded || w.kind == startup {
		w.hold, w.inARow = true, 0
	}
	return true
}

// note keeps a result. What is new the kubelet tells at once, and acts on.
func (w *prober) note(ctx context.Context, result bool) {
	p, r := w.container.pod, w.run
	p.mu.Lock()
	kept := map[string]**bool{startup: &r.startup, liveness: &r.alive, readiness: &r.ok}[w.kind]
	news := *kept == nil || **kept != result
	*kept = &result
	p.mu.Unlock()
	if !news || w.kind == liveness && result {
		return
	}
	if w.kind != liveness {
		p.reportProbe(ctx, r, w.kind, result)
	}
	p.nudge()
}
