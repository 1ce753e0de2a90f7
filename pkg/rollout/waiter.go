package rollout

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/readiness"
)

const (
	// soonest bounds how often the same state is evaluated.
	soonest = 10 * time.Millisecond
	// confirmTimeout bounds the reads before a verdict.
	confirmTimeout = 5 * time.Second
	// backlog is how many observations may be ahead of the evaluation.
	backlog = 64
)

// waiter waits for one object.
type waiter struct {
	client  *kube.Client
	options Options
	report  *reporter
	board   *board
}

// wait returns when the object is ready, has failed for certain, or waiting ends,
// which it does not later than ctx. What is ready as it was written costs no request,
// or one where nothing was changed that may have crashed.
func (w *waiter) wait(ctx, waiting context.Context, s *state) end {
	began := time.Now()
	v := evaluate(s, w.options, began)
	if v.outcome == readiness.Ready && w.relapsed(waiting, s) {
		s.steadyFor = steadyAfter // whatever its manifest says of pods that are new
		v = evaluate(s, w.options, began)
	}
	w.report.report(v, began)
	if v.final() {
		return w.end(s, v)
	}

	following, stop := context.WithCancel(waiting)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	s.follow(began)
	f := newFollower(w.client, s, w.board, w.options.Ahead)
	group.Go(fault.Func(ctx, func() { f.follow(following) }))

	news := newNews(f.watches(), began)
	for watched := true; ; {
		v = w.evaluate(ctx, s, watched)
		if v.final() {
			return w.end(s, v)
		}
		f.explainPods(s.evidence, time.Now())
		f.tail(s.evidence, time.Now())
		f.listen(s)
		watched = w.observe(waiting, f.observations, s, news, min(w.pause(s, v), news.due(time.Now())))
		if waiting.Err() != nil {
			return w.end(s, w.last(ctx, waiting, s))
		}
		if at := time.Now(); news.due(at) == soonest {
			w.read(waiting, s)
			news.read(at, time.Now())
		}
	}
}

// confirm reads the pods once more, and returns if all of them run and are as old as
// they have to be; else it reads everything, and waits.
func (w *waiter) confirm(ctx, waiting context.Context, s *state) end {
	s.followed = true
	w.readPods(waiting, s)
	now := time.Now()
	steady, _, known := s.evidence.Steady(s.steadyFor, now)
	if v := evaluate(s, w.options, now); v.outcome == readiness.Ready && (steady || !known) {
		return w.end(s, v)
	}
	w.read(waiting, s)
	return w.wait(ctx, waiting, s)
}

// observe takes in what is observed next, and what came at the same moment, or
// returns when nothing comes for a while. It reports whether a watch brought any.
func (w *waiter) observe(waiting context.Context, observations <-chan observation, s *state, news *news, while time.Duration) (watched bool) {
	timer := time.NewTimer(while)
	defer timer.Stop()
	take := func(o observation) {
		now := time.Now()
		s.observe(o, now)
		news.observe(o.watch, now)
		watched = watched || o.watch > 0
	}
	select {
	case o := <-observations:
		take(o)
	case <-timer.C:
	case <-waiting.Done():
	}
	for {
		select {
		case o := <-observations:
			take(o)
		default:
			return watched
		}
	}
}

// evaluate reports what the state means. A verdict that no watch has just brought
// but time, or a list, is proved by reading everything once more: a watch that is
// open and silent looks like an object that does not change, and like a pod that
// goes on.
func (w *waiter) evaluate(ctx context.Context, s *state, watched bool) verdict {
	now := time.Now()
	v := evaluate(s, w.options, now)
	if v.outcome == readiness.Ready && s.steadyFor == 0 && w.relapsed(ctx, s) {
		s.steadyFor = steadyAfter
		v = evaluate(s, w.options, now)
	}
	byTime := v.outcome == readiness.Ready && s.hasToGoOn() || v.outcome == readiness.Failed && !watched
	if byTime && !v.external {
		w.read(ctx, s)
		now = time.Now()
		v = evaluate(s, w.options, now)
	}
	w.report.report(v, now)
	return v
}

// last is the verdict when there is no time left, or nobody wants to know.
func (w *waiter) last(ctx, waiting context.Context, s *state) verdict {
	why := context.Cause(waiting)
	if ctx.Err() == nil && (errors.Is(why, context.DeadlineExceeded) || errors.Is(why, errAlone) && s.exposes != nil) {
		w.read(ctx, s)
	}
	now := time.Now()
	v := evaluate(s, w.options, now)
	if v.final() {
		w.report.report(v, now)
	}
	return v
}

// read reads the object, and what shows its pods, as they are now. What cannot be
// read leaves what is known as it is.
func (w *waiter) read(ctx context.Context, s *state) {
	w.board.reading(ctx, func() { w.readAll(ctx, s) })
}

func (w *waiter) readAll(ctx context.Context, s *state) {
	ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	var (
		group sync.WaitGroup
		now   *kube.Update
	)
	group.Go(func() {
		defer fault.Catch(ctx)
		live, err := w.client.Objects(s.change.Resource, s.change.Namespace).Get(ctx, s.change.Name, metav1.GetOptions{})
		switch {
		case err == nil:
			now = &kube.Update{Object: live}
		case apierrors.IsNotFound(err) && !kube.IsUnserved(err):
			now = &kube.Update{Deleted: true}
		}
	})
	var endpoints *kube.ListUpdate
	if s.exposes != nil {
		group.Go(func() {
			defer fault.Catch(ctx)
			if list, err := w.client.List(ctx, s.exposes.selection()); err == nil {
				endpoints = &kube.ListUpdate{Listed: true, All: list.Items}
			}
		})
	}
	_ = diagnosis.Read(ctx, w.client, s.evidence)
	group.Wait()
	s.observe(observation{object: now}, time.Now())
	if endpoints != nil {
		s.exposes.observe(*endpoints)
		for _, id := range s.exposes.selected {
			if p, over := w.board.published(id); over {
				s.exposes.observePublished(id, p, time.Now())
			}
		}
	}
}

// readPods reads only the pods, where there is a list of them.
func (w *waiter) readPods(ctx context.Context, s *state) {
	if len(s.evidence.Sources()) == 0 {
		w.read(ctx, s)
		return
	}
	w.board.reading(ctx, func() {
		ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
		defer cancel()
		for _, source := range s.evidence.Sources() {
			if source.Resource != kube.Pods {
				continue
			}
			if list, err := w.client.List(ctx, source.Selection); err == nil {
				s.evidence.Observe(source, kube.ListUpdate{Listed: true, All: list.Items}, time.Now())
			}
		}
	})
}

func (w *waiter) end(s *state, v verdict) end {
	w.board.publish(s, v.outcome != readiness.Ready && v.outcome != readiness.NotWaitedFor)
	return end{
		Status: Status{
			Change: s.change, Live: s.live, Message: v.message, Failure: v.failure, Began: s.began, Ended: time.Now(), known: s,
			Ready: v.outcome == readiness.Ready || v.outcome == readiness.NotWaitedFor, Waited: v.outcome != readiness.NotWaitedFor,
		},
		verdict: v, state: s, report: w.report,
	}
}

// pause is how long to wait when nothing is observed.
func (w *waiter) pause(s *state, v verdict) time.Duration {
	left := w.report.due(v, time.Now())
	if v.recheckAfter > 0 {
		left = min(left, v.recheckAfter)
	}
	if s.evidence.HasPods() {
		left = min(left, explainPause)
	}
	return max(left, soonest)
}

// silence is how long a watch may bring nothing until everything is read again: one
// that a middlebox forgot stays open and silent, and looks like an object that does
// not change. Where reading takes long, as of large lists, it is longer, so that no
// more than a twentieth of the time is spent on it.
const (
	silence      = 12 * time.Second
	silenceShare = 20
)

// news is when each watch of an object brought something last.
type news struct {
	last     []time.Time
	patience time.Duration
}

func newNews(watches int, now time.Time) *news {
	return &news{last: slices.Repeat([]time.Time{now}, watches), patience: silence}
}

// observe takes in that a watch, from 1, brought something; 0 is none.
func (n *news) observe(watch int, now time.Time) {
	if watch > 0 {
		n.last[watch-1] = now
	}
}

// read takes in that everything was read.
func (n *news) read(began, ended time.Time) {
	for i := range n.last {
		n.last[i] = ended
	}
	n.patience = max(silence, silenceShare*ended.Sub(began))
}

// due is how long nothing has to be read yet; soonest if it has to be.
func (n *news) due(now time.Time) time.Duration {
	oldest := slices.MinFunc(n.last, time.Time.Compare)
	return max(oldest.Add(n.patience).Sub(now), soonest)
}
