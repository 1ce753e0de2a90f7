package rollout

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// look judges what follow has seen so far. It asks nobody.
//
// A state fails the rollout in one of three ways: at once and on any pod, if no
// time can heal it; at once on every new pod, if it used up its error budget; or
// on every new pod after it lasted. Everything else is only told.
func (d *diagnosis) look(live *unstructured.Unstructured, now time.Time) verdict {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.live = live
	if d.kind == "" {
		return verdict{}
	}
	pods := d.current(live)
	v := verdict{Waiting: d.waiting(live, pods), Warning: d.warning(pods)}
	if s, ok, again := d.failed(live, pods, now); ok {
		v.Failure = d.failure(s)
	} else {
		v.Again = again
	}
	if v.Failure == nil {
		refusal := d.refusal(live, pods)
		if refusal.class != healthy {
			v.Waiting = refusal.cause
		}
		d.refuse(&v, refusal, len(pods), now)
	}
	return v
}

// failed applies the rules to the pods. It returns the symptom that decides,
// or when to look again.
func (d *diagnosis) failed(live *unstructured.Unstructured, pods []*track, now time.Time) (decides found, ok bool, again time.Duration) {
	ripe, missing := 0, map[string]int{}
	for _, t := range pods {
		if t.symptom.class == certainOnce {
			missing[t.symptom.image]++
		}
	}
	var first found
	for _, t := range pods {
		s := t.symptom
		lasts := s.lasts
		switch s.class {
		case healthy, passing:
			continue
		case persisting:
			lasts = d.options.Persist
		case certainOnce:
			if missing[s.image] > 1 {
				lasts = 0 // another pod's attempt had the same answer
			}
		}
		if left := t.since.Add(lasts).Sub(now); lasts > 0 && left > 0 {
			if again == 0 || left < again {
				again = left
			}
			continue
		}
		if s.class == certainOnce {
			return found{t, s}, true, 0
		}
		ripe++
		if first.track == nil || s.class > first.class {
			first = found{t, s}
		}
	}
	return first, ripe > 0 && ripe >= d.quorum(live, len(pods)), again
}

// found is a symptom on a pod.
type found struct {
	*track
	symptom
}

// quorum is how many of the new pods have to fail until the workload does. The
// pods of a StatefulSet are updated one after the other, so one stops all; a
// Job's pods are equal; of other workloads the pods may differ by their node.
func (d *diagnosis) quorum(live *unstructured.Unstructured, pods int) int {
	switch d.kind {
	case "StatefulSet", "Job", "Pod":
		return 1
	}
	if wantedPods(live) == 1 {
		return 1
	}
	return pods
}

// refuse applies the rules to pods that cannot be created. As long as pods come, the time begins again.
func (d *diagnosis) refuse(v *verdict, s symptom, pods int, now time.Time) {
	key := fmt.Sprintf("%s %d", s.key, pods)
	if s.class == healthy {
		key = ""
	}
	if d.refused.key != key {
		d.refused.key, d.refused.since = key, now
	}
	if s.class < persisting {
		return
	}
	left := d.refused.since.Add(d.options.Persist).Sub(now)
	if left <= 0 {
		v.Failure = d.failure(found{symptom: s})
		return
	}
	if v.Again == 0 || left < v.Again {
		v.Again = left
	}
}

func (d *diagnosis) failure(f found) *Failure {
	failure := &Failure{
		Object: kindAndName(d.target.Object), Reason: f.reason, Cause: f.cause, Fix: f.fix, Container: f.symptom.container,
	}
	if f.track != nil {
		failure.Pod = f.pod.Name
	}
	return failure
}
