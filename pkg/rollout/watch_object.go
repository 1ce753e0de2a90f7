package rollout

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// Pauses: between watches that were cut before they showed anything, and between
// reads where watching is not allowed. The verdict has to come within a second of
// the status that proves it.
const (
	watchPause    = 100 * time.Millisecond
	watchMaxPause = 600 * time.Millisecond
	pollPause     = 900 * time.Millisecond
	getTimeout    = 10 * time.Second
	// watchSeconds is when the server ends a watch, so that one that a middlebox
	// forgot does not stay silent for ever.
	watchSeconds = 300
)

// objectWatch keeps one object in sight, from the version that a write returned.
// It needs no list and no right beyond the object's own name.
type objectWatch struct {
	resource dynamic.ResourceInterface
	name     string
	version  string
	// see takes each state of the object.
	see func(*unstructured.Unstructured)
	// gone takes its last state when it is deleted; nil if nobody saw that.
	gone func(last *unstructured.Unstructured)
	// blind is told why the object cannot be read, and nil when it can be again.
	blind func(error)
}

// next is what has to be done after a watch.
type next int

const (
	nextWatch next = iota // go on from the version that was seen last
	nextGet               // the place is lost
	nextPoll              // watching is not possible
	nextStop              // the object is gone, or the context ended
)

// run returns when the object is gone or ctx ends.
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
			pauseFor(ctx, spread(pause))
			pause = min(2*pause, watchMaxPause)
		}
	}
}

// watch reads one watch until it ends.
func (w *objectWatch) watch(ctx context.Context) next {
	seconds := int64(watchSeconds)
	watcher, err := w.resource.Watch(ctx, metav1.ListOptions{
		FieldSelector:       fields.OneTermEqualSelector("metadata.name", w.name).String(),
		ResourceVersion:     w.version,
		AllowWatchBookmarks: true,
		TimeoutSeconds:      &seconds,
	})
	if err != nil {
		return w.refused(ctx, err)
	}
	w.blind(nil)
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return nextStop
		case event, ok := <-watcher.ResultChan():
			if !ok {
				return nextWatch
			}
			o, isObject := event.Object.(*unstructured.Unstructured)
			switch {
			case event.Type == watch.Error || !isObject:
				// 410 among others; what is there now is right for each of them.
				return nextGet
			case event.Type == watch.Bookmark:
				w.version = o.GetResourceVersion()
			case event.Type == watch.Deleted:
				w.gone(o)
				return nextStop
			default:
				w.saw(o)
			}
		}
	}
}

// refused decides what follows a watch that did not begin.
func (w *objectWatch) refused(ctx context.Context, err error) next {
	switch {
	case ctx.Err() != nil:
		return nextStop
	case apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err),
		apierrors.IsBadRequest(err), apierrors.IsInvalid(err): // aggregated APIs know fewer verbs and selectors
		return nextPoll
	case apierrors.IsResourceExpired(err), apierrors.IsGone(err), apierrors.IsNotFound(err):
		return nextGet
	}
	// Overload, a token that is being renewed, a network that comes back.
	w.blind(err)
	return nextWatch
}

// get reads the object as it is now.
func (w *objectWatch) get(ctx context.Context) next {
	bounded, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	o, err := w.resource.Get(bounded, w.name, metav1.GetOptions{})
	switch {
	case err == nil:
		w.saw(o)
		return nextWatch
	case ctx.Err() != nil:
		return nextStop
	case apierrors.IsNotFound(err):
		w.gone(nil)
		return nextStop
	}
	w.blind(err)
	return nextGet
}

// poll reads the object again and again, for whoever may not watch it.
func (w *objectWatch) poll(ctx context.Context) {
	for ctx.Err() == nil && w.get(ctx) != nextStop {
		pauseFor(ctx, pollPause)
	}
}

func (w *objectWatch) saw(o *unstructured.Unstructured) {
	w.version = o.GetResourceVersion()
	w.blind(nil)
	w.see(o)
}
