package rollout

import (
	"context"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// Pauses of a listWatch: after a list or watch went wrong, between lists where
// watching is not allowed, and when a right is missing, which an administrator
// may be granting just now.
const (
	listPause     = 300 * time.Millisecond
	listMaxPause  = 2 * time.Second
	listForbidden = 30 * time.Second
	listTimeout   = 15 * time.Second
)

// listWatch keeps up with the objects that a selector selects: it lists them,
// watches from there, and lists again when the server no longer knows the
// place. It ends with its context only.
type listWatch struct {
	resource dynamic.ResourceInterface
	only     metav1.ListOptions
	replace  func(all []unstructured.Unstructured)
	change   func(watch.EventType, *unstructured.Unstructured)
	// denied is told that listing is not allowed, and with nil that it is again.
	denied func(error)
}

func (l *listWatch) run(ctx context.Context) {
	failure, success := listPause, watchPause
	for ctx.Err() == nil {
		listed := time.Now()
		version, err := l.list(ctx)
		switch {
		case err == nil:
			failure = listPause
			l.watch(ctx, version)
			if time.Since(listed) > watchMaxPause {
				success = watchPause
			}
			// A server that loses every place at once must not be hammered.
			pauseFor(ctx, spread(success))
			success = min(2*success, watchMaxPause)
		case apierrors.IsForbidden(err):
			pauseFor(ctx, listForbidden)
		default:
			pauseFor(ctx, spread(failure))
			failure = min(2*failure, listMaxPause)
		}
	}
}

func (l *listWatch) list(ctx context.Context) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	list, err := l.resource.List(ctx, l.only)
	if apierrors.IsForbidden(err) {
		l.denied(err)
	}
	if err != nil {
		return "", err
	}
	l.denied(nil)
	l.replace(list.Items)
	return list.GetResourceVersion(), nil
}

// watch returns when a new list is needed.
func (l *listWatch) watch(ctx context.Context, version string) {
	pause := watchPause
	seconds := int64(watchSeconds)
	for ctx.Err() == nil {
		options := l.only
		options.ResourceVersion = version
		options.AllowWatchBookmarks = true
		options.TimeoutSeconds = &seconds
		w, err := l.resource.Watch(ctx, options)
		switch {
		case err == nil:
		case apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err):
			// Whoever may list but not watch is served by polling.
			pauseFor(ctx, pollPause-watchPause)
			return
		case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
			return
		default:
			pauseFor(ctx, spread(pause))
			pause = min(2*pause, watchMaxPause)
			continue
		}
		last, again := l.read(ctx, w, version)
		if again {
			return
		}
		if last != version {
			pause = watchPause
		}
		// A proxy that cuts every watch at once must not be hammered.
		pauseFor(ctx, spread(pause))
		pause = min(2*pause, watchMaxPause)
		version = last
	}
}

// read hands on the events of one watch until it is cut. It returns the place
// to go on from, or again if the place is lost.
func (l *listWatch) read(ctx context.Context, w watch.Interface, version string) (last string, again bool) {
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return version, true
		case event, ok := <-w.ResultChan():
			if !ok {
				return version, false
			}
			o, isObject := event.Object.(*unstructured.Unstructured)
			switch {
			case event.Type == watch.Error || !isObject:
				// 410 among others; a new list is right for each of them.
				return version, true
			case event.Type == watch.Bookmark:
				version = o.GetResourceVersion()
			default:
				version = o.GetResourceVersion()
				l.change(event.Type, o)
			}
		}
	}
}

// pauseFor waits, or returns early when ctx ends.
func pauseFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// spread varies d by half of it up and down, so that many do not come at once.
func spread(d time.Duration) time.Duration {
	return d/2 + rand.N(d)
}
