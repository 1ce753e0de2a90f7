package rollout

import (
	"context"
	"slices"
	"strings"
	"sync"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// published is what the wait for one object says of its pods when it is over.
type published struct {
	pods     map[types.UID]bool // of the live revision; nil if they are not known
	prefixes []string           // of the names of its pods
	wanted   int64
}

// holds reports whether a pod is one of them.
func (p published) holds(name string, uid types.UID) bool {
	if p.pods == nil || p.pods[uid] {
		return true
	}
	for _, prefix := range p.prefixes { // one that was made since
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// board is where the waits for workloads leave what those for Services need, and
// where the endpoints of all Services of a namespace come from one watch.
type board struct {
	mu        sync.Mutex
	over      map[object.ID]chan struct{}
	notes     map[object.ID]published
	endpoints map[object.ID]chan kube.ListUpdate // of each Service
	readers   chan struct{}                      // one for each object that is being read
}

// readers is how many objects may be read at the same time: each with its lists.
const readers = 8

func newBoard(states []*state) *board {
	b := &board{readers: make(chan struct{}, readers), over: map[object.ID]chan struct{}{}, notes: map[object.ID]published{}, endpoints: map[object.ID]chan kube.ListUpdate{}}
	for _, s := range states {
		b.over[s.change.ID()] = make(chan struct{})
		if s.exposes != nil && s.exposes.fault == nil {
			b.endpoints[s.change.ID()] = make(chan kube.ListUpdate, backlog)
		}
	}
	return b
}

// selectorLimit is how many Services a watch names; of more it is about all.
const selectorLimit = 30

// feed brings the endpoints of all Services, until ctx ends.
func (b *board) feed(ctx context.Context, client *kube.Client) {
	names := map[string][]string{} // by namespace
	for id := range b.endpoints {
		names[id.Namespace] = append(names[id.Namespace], id.Name)
	}
	var group sync.WaitGroup
	defer group.Wait()
	for namespace, of := range names {
		slices.Sort(of)
		selector := discoveryv1.LabelServiceName
		if len(of) <= selectorLimit {
			selector += " in (" + strings.Join(of, ",") + ")"
		}
		group.Go(func() {
			for u := range client.WatchAll(ctx, kube.Selection{Resource: kube.EndpointSlices, Namespace: namespace, Labels: selector}) {
				b.spread(ctx, namespace, u)
			}
		})
	}
}

// spread hands an update to the Services that it is about.
func (b *board) spread(ctx context.Context, namespace string, u kube.ListUpdate) {
	for id, to := range b.endpoints {
		mine := func(o *unstructured.Unstructured) bool { return o.GetLabels()[discoveryv1.LabelServiceName] == id.Name }
		if id.Namespace != namespace || u.Object != nil && !mine(u.Object) {
			continue
		}
		own := u
		own.All = slices.DeleteFunc(slices.Clone(u.All), func(o unstructured.Unstructured) bool { return !mine(&o) })
		select {
		case to <- own:
		case <-b.over[id]: // nobody waits for it any more
		case <-ctx.Done():
		}
	}
}

// publish leaves what is known of an object's pods; its wait is over.
func (b *board) publish(s *state) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := s.change.ID()
	if _, there := b.notes[id]; !there {
		b.notes[id] = s.publication()
		close(b.over[id])
	}
}

// await returns what was published of an object, and false if ctx ends before.
func (b *board) await(ctx context.Context, id object.ID) (published, bool) {
	select {
	case <-b.over[id]:
	case <-ctx.Done():
		return published{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.notes[id], true
}

// publication is what is known of the object's pods by now.
func (s *state) publication() published {
	p := published{wanted: s.evidence.Wanted()}
	if s.followed {
		p.pods, p.prefixes = s.evidence.Serving()
	}
	return p
}
