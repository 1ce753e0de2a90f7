package kube

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/org/deploy-model-action/pkg/retry"
	"github.com/org/deploy-model-action/pkg/wire"
)

// Pauses: between watches that were cut before they brought anything, and between
// reads where watching is not allowed. A verdict has to come within a second of
// the status that proves it.
const (
	watchPause    = 100 * time.Millisecond
	watchMaxPause = 600 * time.Millisecond
	pollPause     = 900 * time.Millisecond
	// ReadTimeout bounds one read of one object while it is watched.
	ReadTimeout = 10 * time.Second
	// watchSeconds is when the server ends a watch.
	watchSeconds = 300
	// watchSilence is how long a watch may bring nothing until what it is about is
	// read again. The server shows once a minute by a bookmark that it is there
	// (k8s.io/apiserver, storage/cacher); a connection that a middlebox forgot
	// stays silent for ever, and the server's own end of the watch is lost in it.
	watchSilence = 90 * time.Second
)

// Update is what a watch brought about an object. The zero value says that it can
// be read again.
type Update struct {
	// Object is its newest state; for a deleted one the last, or nil if nobody saw it.
	Object  *unstructured.Unstructured
	Deleted bool
	// Err says why the object cannot be read at the moment.
	Err error
}

// Watch yields the states of one object, from the version that a write returned.
// It needs no list, and no right beyond the object's own name; where watching is
// not allowed it reads the object again and again. It ends when the object is
// deleted or ctx ends.
func (c *Client) Watch(ctx context.Context, ref Ref, version string) iter.Seq[Update] {
	return func(yield func(Update) bool) {
		w := c.objectWatch(ref, version)
		w.yield = yield
		w.run(ctx)
	}
}

func (c *Client) objectWatch(ref Ref, version string) *objectWatch {
	return &objectWatch{objects: c.Objects(ref.Resource, ref.Namespace), name: ref.Name, version: version}
}

// objectWatch is one call of Watch.
type objectWatch struct {
	objects    dynamic.ResourceInterface
	name       string
	version    string
	unreadable bool
	ahead      *Ahead // the first watch, if it is there already
	yield      func(Update) bool
}

// next is what has to be done after a watch.
type next int

const (
	nextWatch next = iota // go on from the last version
	nextGet               // the place is lost
	nextPoll              // watching is not possible
	nextStop              // the object is deleted, or the context or the caller ended it
)

func (w *objectWatch) run(ctx context.Context) {
	pause := watchPause
	for ctx.Err() == nil {
		before := w.version
		todo := w.watch(ctx)
		if todo == nextGet {
			todo = w.get(ctx)
		}
		switch todo {
		case nextPoll:
			w.poll(ctx)
			return
		case nextStop:
			return
		case nextWatch, nextGet:
			if w.version != before {
				pause = watchPause
			}
			// A proxy that cuts every watch at once must not be hammered.
			_ = retry.Sleep(ctx, spread(pause))
			pause = min(2*pause, watchMaxPause)
		}
	}
}

// open begins a watch from the version that is known; without one, with what there is.
func (w *objectWatch) open(ctx context.Context) (watch.Interface, error) {
	seconds := int64(watchSeconds)
	return w.objects.Watch(ctx, metav1.ListOptions{
		FieldSelector:       fields.OneTermEqualSelector("metadata.name", w.name).String(),
		ResourceVersion:     w.version,
		AllowWatchBookmarks: true,
		TimeoutSeconds:      &seconds,
	})
}

// begin takes the watch that is there already, once, or opens one.
func (w *objectWatch) begin(ctx context.Context) (watcher watch.Interface, early bool, err error) {
	if a := w.ahead; a != nil {
		w.ahead = nil
		if watcher := a.take(ctx); watcher != nil {
			return watcher, true, nil
		}
	}
	watcher, err = w.open(ctx)
	return watcher, false, err
}

// watch reads one watch until it ends.
func (w *objectWatch) watch(ctx context.Context) next {
	watcher, early, err := w.begin(ctx)
	if err != nil {
		return w.refused(ctx, err)
	}
	defer watcher.Stop()
	if !w.readable() {
		return nextStop
	}
	silence := time.NewTimer(watchSilence)
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return nextStop
		case <-silence.C:
			return nextGet
		case event, ok := <-watcher.ResultChan():
			if !ok {
				return nextWatch
			}
			silence.Reset(watchSilence)
			o, isObject := event.Object.(*unstructured.Unstructured)
			if isObject && early && event.Type != watch.Error {
				if before, err := older(o, w.version); err != nil {
					return nextWatch
				} else if before {
					continue
				}
			}
			switch {
			case event.Type == watch.Error || !isObject:
				// 410 among others; what is there now is right for each of them.
				return nextGet
			case event.Type == watch.Bookmark:
				w.version = o.GetResourceVersion()
			case event.Type == watch.Deleted:
				w.yield(Update{Object: o, Deleted: true})
				return nextStop
			case !w.update(o):
				return nextStop
			}
		}
	}
}

// refused decides what follows a watch that did not begin.
func (w *objectWatch) refused(ctx context.Context, err error) next {
	var none *wire.NoWatchError
	switch {
	case ctx.Err() != nil:
		return nextStop
	case errors.As(err, &none), apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err),
		apierrors.IsBadRequest(err), apierrors.IsInvalid(err): // aggregated APIs know fewer verbs and selectors
		return nextPoll
	case apierrors.IsResourceExpired(err), apierrors.IsGone(err), apierrors.IsNotFound(err):
		return nextGet
	}
	// Overload, a token that is being renewed, a network that comes back.
	if !w.failed(err) {
		return nextStop
	}
	return nextWatch
}

// get reads the object as it is now.
func (w *objectWatch) get(ctx context.Context) next {
	bounded, cancel := context.WithTimeout(ctx, ReadTimeout)
	defer cancel()
	o, err := w.objects.Get(bounded, w.name, metav1.GetOptions{})
	switch {
	case err == nil && w.update(o):
		return nextWatch
	case err == nil, ctx.Err() != nil:
		return nextStop
	case apierrors.IsNotFound(err):
		w.yield(Update{Deleted: true})
		return nextStop
	case !w.failed(err):
		return nextStop
	}
	return nextGet
}

// poll reads the object again and again, for whoever may not watch it.
func (w *objectWatch) poll(ctx context.Context) {
	for ctx.Err() == nil && w.get(ctx) != nextStop {
		_ = retry.Sleep(ctx, pollPause)
	}
}

// update, failed and readable yield, and report whether the caller wants more.
func (w *objectWatch) update(o *unstructured.Unstructured) bool {
	w.version, w.unreadable = o.GetResourceVersion(), false
	return w.yield(Update{Object: o})
}

func (w *objectWatch) failed(err error) bool {
	w.unreadable = true
	return w.yield(Update{Err: err})
}

func (w *objectWatch) readable() bool {
	if !w.unreadable {
		return true
	}
	w.unreadable = false
	return w.yield(Update{})
}

// spread varies d by half of it up and down, so that many do not come at once.
func spread(d time.Duration) time.Duration {
	return d/2 + rand.N(d)
}

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
