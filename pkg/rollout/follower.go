package rollout

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
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
	version      string // of the state that is known
	sources      []diagnosis.Source
	hasPods      bool
	observations chan observation
	pods         chan diagnosis.PodRef   // whose events are to be read
	requested    map[types.UID]time.Time // when they were last
	logs         chan loading            // whose newest line is to be read
	tailed       time.Time               // when one was last
}

func newFollower(client *kube.Client, s *state) *follower {
	return &follower{
		client: client, change: s.change, version: s.live.GetResourceVersion(), sources: s.evidence.Sources(), hasPods: s.evidence.HasPods(),
		observations: make(chan observation, backlog),
		pods:         make(chan diagnosis.PodRef, explainLimit), requested: map[types.UID]time.Time{},
		logs: make(chan loading), tailed: time.Now().Add(tailFirst - tailEvery),
	}
}

// follow returns when ctx ends.
func (f *follower) follow(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() {
		for u := range f.client.Watch(ctx, f.change.Ref, f.version) {
			f.send(ctx, observation{object: &u, watch: 1})
		}
	})
	for i, source := range f.sources {
		group.Go(func() {
			for u := range f.client.WatchList(ctx, source.Selection) {
				f.send(ctx, observation{watch: i + 2, evidence: func(e *diagnosis.Evidence, now time.Time) { e.Observe(source, u, now) }})
			}
		})
	}
	if f.hasPods {
		group.Go(func() { f.readPodEvents(ctx) })
		group.Go(func() { f.readLogs(ctx) })
	} else {
		group.Go(func() { f.readWarnings(ctx) })
	}
	if f.change.ID().GroupKind().String() == "PersistentVolumeClaim" {
		group.Go(func() {
			f.send(ctx, observation{skip: bindsLater(ctx, f.client, object.Text(f.change.After, "spec", "storageClassName"))})
		})
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
			events, err := diagnosis.ListEvents(ctx, f.client, pod.Namespace, pod.UID, false)
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
		events, err := diagnosis.ListEvents(ctx, f.client, f.change.Namespace, f.change.After.GetUID(), true)
		if err == nil || apierrors.IsForbidden(err) { // said in the explanation, if it is a right
			f.send(ctx, observation{warnings: events, evidence: func(e *diagnosis.Evidence, _ time.Time) { e.ObserveEventsDenied(err) }})
		}
	}
}
