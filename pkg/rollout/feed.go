package rollout

import (
	"context"
	"slices"
	"strings"
	"sync"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

const (
	// sharedFrom is how many objects of a kind and namespace have one list and watch
	// together. Fewer have one each, which needs no more than their own names.
	sharedFrom = 5
	// namesLimit is how many Services a watch of their endpoints names; of more it is
	// about all of the namespace.
	namesLimit = 30
)

// aheadLimit is how many objects are watched beside their writes; more would be many
// requests for what is hardly a round trip of a long wait.
const aheadLimit = 4

// Ahead is watches that began beside the writes that they are about.
type Ahead map[object.ID]*kube.Ahead

// WatchAhead begins to watch what is about to be written and, being a workload, will
// not be ready at once.
func WatchAhead(ctx context.Context, client *kube.Client, pending []kube.Change) Ahead {
	ahead, kinds := Ahead{}, map[kube.Selection]int{}
	for _, c := range pending {
		kinds[kube.Selection{Resource: c.Resource, Namespace: c.Namespace}]++
	}
	for _, c := range pending {
		switch c.ID().GroupKind().String() {
		case "Deployment.apps", "StatefulSet.apps", "DaemonSet.apps", "Job.batch":
			if kinds[kube.Selection{Resource: c.Resource, Namespace: c.Namespace}] < sharedFrom && len(ahead) < aheadLimit {
				ahead[c.ID()] = client.WatchAhead(ctx, c.Ref)
			}
		}
	}
	return ahead
}

// Stop ends them, whether they were used or not.
func (a Ahead) Stop() {
	for _, w := range a {
		w.Stop()
	}
}

// feed is one list and watch for many objects.
type feed struct {
	kube.Selection
	all  bool // without a list before it
	subs []subscription
}

// subscription is what one object wants of a feed.
type subscription struct {
	id    object.ID
	match func(*unstructured.Unstructured) bool
	to    chan kube.ListUpdate
}

// newFeeds makes the feeds for objects that are going to be followed.
func newFeeds(states []*state) []*feed {
	byBase, order := map[kube.Selection]*feed{}, []*feed(nil)
	subscribe := func(base kube.Selection, s subscription) {
		if byBase[base] == nil {
			byBase[base] = &feed{Selection: base}
			order = append(order, byBase[base])
		}
		s.to = make(chan kube.ListUpdate, backlog)
		byBase[base].subs = append(byBase[base].subs, s)
	}
	names := map[kube.Selection][]string{}
	for _, s := range states {
		id := s.change.ID()
		subscribe(kube.Selection{Resource: s.change.Resource, Namespace: s.change.Namespace}, subscription{
			id: id, match: func(u *unstructured.Unstructured) bool { return u.GetName() == id.Name },
		})
		for _, source := range s.evidence.Sources() {
			subscribe(baseOf(source.Selection), subscription{id: id, match: matches(source.Selection, s)})
		}
		if s.exposes != nil {
			base := kube.Selection{Resource: kube.EndpointSlices, Namespace: id.Namespace}
			names[base] = append(names[base], id.Name)
			subscribe(base, subscription{
				id: id, match: func(u *unstructured.Unstructured) bool { return u.GetLabels()[discoveryv1.LabelServiceName] == id.Name },
			})
		}
	}
	return slices.DeleteFunc(order, func(f *feed) bool {
		if of := names[f.Selection]; of != nil {
			f.all, f.Labels = true, discoveryv1.LabelServiceName
			if len(of) <= namesLimit {
				f.Labels += " in (" + strings.Join(of, ",") + ")"
			}
			return false
		}
		return len(f.subs) < sharedFrom
	})
}

// baseOf is what is selected for all objects of a namespace at once.
func baseOf(s kube.Selection) kube.Selection {
	base := kube.Selection{Resource: s.Resource, Namespace: s.Namespace}
	if s.Resource == kube.Events {
		base.Fields = "type=Warning"
	}
	return base
}

// matches is what a selection of an object selects.
func matches(s kube.Selection, of *state) func(*unstructured.Unstructured) bool {
	if s.Resource == kube.Events {
		uid := string(of.live.GetUID())
		return func(u *unstructured.Unstructured) bool { return object.Text(u, "involvedObject", "uid") == uid }
	}
	selector, err := labels.Parse(s.Labels)
	if err != nil {
		selector = labels.Nothing()
	}
	return func(u *unstructured.Unstructured) bool { return selector.Matches(labels.Set(u.GetLabels())) }
}

// run brings what it is for until ctx ends.
func (f *feed) run(ctx context.Context, client *kube.Client, b *board) {
	updates := client.WatchList
	if f.all {
		updates = client.WatchAll
	}
	for u := range updates(ctx, f.Selection) {
		for _, s := range f.subs {
			if u.Object != nil && !s.match(u.Object) {
				continue
			}
			own := u
			own.All = nil
			for i := range u.All {
				if s.match(&u.All[i]) {
					own.All = append(own.All, u.All[i])
				}
			}
			select {
			case s.to <- own:
			case <-b.over[s.id]: // nobody waits for it any more
			case <-ctx.Done():
			}
		}
	}
}

// feed runs all feeds until ctx ends.
func (b *board) feed(ctx context.Context, client *kube.Client) {
	var group sync.WaitGroup
	defer group.Wait()
	for _, f := range b.feeds {
		group.Go(fault.Func(ctx, func() { f.run(ctx, client, b) }))
	}
}

// updates yields what a feed brings an object of one resource; nil if there is none.
func (b *board) updates(id object.ID, base kube.Selection) <-chan kube.ListUpdate {
	for _, f := range b.feeds {
		if f.Resource != base.Resource || f.Namespace != base.Namespace {
			continue
		}
		for _, s := range f.subs {
			if s.id == id {
				return s.to
			}
		}
	}
	return nil
}

// toObject is what a feed's update says of the one object that it is about.
func toObject(u kube.ListUpdate) kube.Update {
	switch {
	case u.Listed && len(u.All) == 0:
		return kube.Update{Deleted: true}
	case u.Listed:
		return kube.Update{Object: &u.All[0]}
	}
	return u.Update
}
