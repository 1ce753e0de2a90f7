package rollout

import (
	"context"
	"iter"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
	"github.com/org/deploy-model-action/pkg/workload"
)

const (
	// explainPause is how often pods that are not ready are looked for, and
	// explainEvery how often the events of each are read, of explainLimit at a time.
	explainPause = time.Second
	explainEvery = 5 * time.Second
	explainLimit = 3
	// explainFirst is when they are read first: most pods need no more than a moment.
	explainFirst = 2 * time.Second

	// firstWarnings and nextWarnings are when the events of an object are read that
	// has no pods.
	firstWarnings = 2 * time.Second
	nextWarnings  = 10 * time.Second
)

// follower observes one object, its pods and its events, until it is stopped.
type follower struct {
	client       *kube.Client
	change       kube.Change
	version      string      // of the state that is known
	ahead        *kube.Ahead // of the object; nil if there is none
	sources      []diagnosis.Source
	plain        bool      // the object is ready by itself: a Service that waits for its pods
	exposes      *exposure // of a Service; only what never changes of it is read here
	board        *board
	hasPods      bool
	observations chan observation
	pods         chan diagnosis.PodRef   // whose events are to be read
	requested    map[types.UID]time.Time // when they were last
	logs         chan loading            // whose newest line is to be read
	tailed       time.Time               // when one was last
	running      chan diagnosis.Running  // whose logs are to be followed
	heard        map[string]bool         // those that are, or were, by their run
}

func newFollower(client *kube.Client, s *state, b *board, ahead Ahead) *follower {
	return &follower{
		ahead:   ahead[s.change.ID()],
		exposes: s.exposes, board: b, plain: s.exposes != nil && !s.readySince.IsZero(),
		client: client, change: s.change, version: s.live.GetResourceVersion(), sources: s.evidence.Sources(), hasPods: s.evidence.HasPods(),
		observations: make(chan observation, backlog),
		pods:         make(chan diagnosis.PodRef, explainLimit), requested: map[types.UID]time.Time{},
		running: make(chan diagnosis.Running), heard: map[string]bool{},
		logs: make(chan loading), tailed: time.Now().Add(tailFirst - tailEvery),
	}
}

// watches is how many of them it has.
func (f *follower) watches() int {
	n := 1 + len(f.sources)
	if f.exposes != nil {
		n++
	}
	return n
}

// follow returns when ctx ends.
func (f *follower) follow(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	if !f.plain {
		group.Go(func() {
			defer fault.Catch(ctx)
			for u := range f.states(ctx) {
				f.send(ctx, observation{object: &u, watch: 1})
			}
		})
	}
	for i, source := range f.sources {
		group.Go(func() {
			defer fault.Catch(ctx)
			for u := range f.lists(ctx, source.Selection) {
				f.send(ctx, observation{watch: i + 2, evidence: func(e *diagnosis.Evidence, now time.Time) { e.Observe(source, u, now) }})
			}
		})
	}
	if f.exposes != nil {
		f.followEndpoints(ctx, &group)
	}
	if f.hasPods {
		group.Go(fault.Func(ctx, func() { f.readPodEvents(ctx) }))
		group.Go(fault.Func(ctx, func() { f.readLogs(ctx) }))
		group.Go(fault.Func(ctx, func() { f.followLogs(ctx) }))
	}
	// A custom resource's controller says about the object itself why it makes no pods.
	if !f.plain && (!f.hasPods || workload.Pods(f.change.After).Custom) {
		group.Go(fault.Func(ctx, func() { f.readWarnings(ctx) }))
	}
	if f.change.ID().GroupKind().String() == "PersistentVolumeClaim" {
		group.Go(func() {
			defer fault.Catch(ctx)
			f.send(ctx, observation{skip: bindsLater(ctx, f.client, object.Text(f.change.After, "spec", "storageClassName"))})
		})
	}
}

// followEndpoints observes where a Service leads, and which of its pods are ready.
func (f *follower) followEndpoints(ctx context.Context, group *sync.WaitGroup) {
	group.Go(func() {
		defer fault.Catch(ctx)
		for u := range f.lists(ctx, f.exposes.selection()) {
			f.send(ctx, observation{watch: len(f.sources) + 2, exposure: func(e *exposure, _ time.Time) { e.observe(u) }})
		}
	})
	for _, id := range f.exposes.selected {
		group.Go(func() {
			defer fault.Catch(ctx)
			if p, ok := f.board.await(ctx, id); ok {
				f.send(ctx, observation{exposure: func(e *exposure, now time.Time) { e.observePublished(id, p, now) }})
			}
		})
	}
}

// states yields those of the object, from a feed if there is one that may be read.
func (f *follower) states(ctx context.Context) iter.Seq[kube.Update] {
	own := f.client.Watch(ctx, f.change.Ref, f.version)
	if f.ahead != nil {
		own = f.ahead.From(ctx, f.version)
	}
	feed := f.board.updates(f.change.ID(), kube.Selection{Resource: f.change.Resource, Namespace: f.change.Namespace})
	if feed == nil {
		return own
	}
	return func(yield func(kube.Update) bool) {
		for {
			select {
			case u := <-feed:
				if u.Err != nil { // who may read it by its name need not be allowed to list
					own(yield)
					return
				}
				if !yield(toObject(u)) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// lists yields what is selected, from a feed if there is one.
func (f *follower) lists(ctx context.Context, s kube.Selection) iter.Seq[kube.ListUpdate] {
	feed := f.board.updates(f.change.ID(), s)
	if feed == nil {
		return f.client.WatchList(ctx, s)
	}
	return func(yield func(kube.ListUpdate) bool) {
		for {
			select {
			case u := <-feed:
				if !yield(u) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (f *follower) send(ctx context.Context, o observation) {
	select {
	case f.observations <- o:
	case <-ctx.Done():
	}
}

// explainPods has the events read of pods that are not ready, since only those
// say what a probe answered and why a volume is not mounted. It does not wait.
func (f *follower) explainPods(e *diagnosis.Evidence, now time.Time) {
	chosen := 0
	for _, pod := range e.Unready() {
		if chosen == explainLimit {
			return
		}
		if f.requested[pod.UID].IsZero() {
			f.requested[pod.UID] = now.Add(explainFirst - explainEvery)
		}
		if now.Sub(f.requested[pod.UID]) < explainEvery {
			continue
		}
		select {
		case f.pods <- pod:
			f.requested[pod.UID] = now
			chosen++
		default:
			return // those before are still being read
		}
	}
}

func (f *follower) readPodEvents(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case pod := <-f.pods:
			var events []diagnosis.Event
			var err error
			f.board.reading(ctx, func() { events, err = diagnosis.ListEvents(ctx, f.client, pod.Namespace, pod.UID, false) })
			f.send(ctx, observation{evidence: func(e *diagnosis.Evidence, now time.Time) {
				e.ObservePodEvents(pod.UID, events, err, now)
			}})
		}
	}
}

// readWarnings reads the Warnings about an object that has no pods: a load
// balancer that cannot be made says so nowhere else.
func (f *follower) readWarnings(ctx context.Context) {
	for pause := firstWarnings; ; pause = nextWarnings {
		if retry.Sleep(ctx, pause) != nil {
			return
		}
		var events []diagnosis.Event
		var err error
		f.board.reading(ctx, func() {
			events, err = diagnosis.ListEvents(ctx, f.client, f.change.Namespace, f.change.After.GetUID(), true)
		})
		if err == nil || apierrors.IsForbidden(err) { // said in the explanation, if it is a right
			f.send(ctx, observation{warnings: events, evidence: func(e *diagnosis.Evidence, _ time.Time) { e.ObserveEventsDenied(err) }})
		}
	}
}
