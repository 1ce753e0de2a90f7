package kube

import (
	"context"
	"iter"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
)

// Ahead is a watch of one object that begins before the object is written, so that
// what follows the write is known a round trip earlier.
type Ahead struct {
	client  *Client
	ref     Ref
	stop    context.CancelFunc
	opened  chan struct{}
	watcher watch.Interface // nil if it could not be opened
}

// WatchAhead begins to watch an object that is about to be written, and does not
// wait for it. It ends with Stop, or with ctx.
func (c *Client) WatchAhead(ctx context.Context, ref Ref) *Ahead {
	ctx, stop := context.WithCancel(ctx)
	a := &Ahead{client: c, ref: ref, stop: stop, opened: make(chan struct{})}
	w := c.objectWatch(ref, "")
	go func() {
		defer close(a.opened)
		if watcher, err := w.open(ctx); err == nil {
			a.watcher = watcher // nobody reads it yet: what comes stays in the connection
			context.AfterFunc(ctx, watcher.Stop)
		}
	}()
	return a
}

// Stop ends it, whether it was used or not.
func (a *Ahead) Stop() { a.stop() }

// From is Client.Watch, on the watch that is there already. What was true before the
// version is left out. A watch that could not be opened is opened anew.
func (a *Ahead) From(ctx context.Context, version string) iter.Seq[Update] {
	return func(yield func(Update) bool) {
		w := a.client.objectWatch(a.ref, version)
		w.ahead, w.yield = a, yield
		w.run(ctx)
	}
}

// take returns the watch; nil if there is none.
func (a *Ahead) take(ctx context.Context) watch.Interface {
	select {
	case <-a.opened:
		return a.watcher
	case <-ctx.Done():
		return nil
	}
}

// older reports whether a state is no newer than the version that is known, and an
// error where the server's versions have no order.
func older(o metav1.Object, version string) (bool, error) {
	order, err := resourceversion.CompareResourceVersion(o.GetResourceVersion(), version)
	return order <= 0, err
}
