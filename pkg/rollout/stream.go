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

// Pauses of a stream: after a list or watch went wrong, and when a right is
// missing, which an administrator may be granting just now.
const (
	streamPause     = 500 * time.Millisecond
	streamMaxPause  = 8 * time.Second
	streamPoll      = 3 * time.Second
	streamForbidden = 30 * time.Second
)

// stream keeps up with the objects that a selector selects: it lists them,
// watches from there, and lists again when the server no longer knows the
// place. It ends with its context only.
type stream struct {
	resource dynamic.ResourceInterface
	only     metav1.ListOptions
	replace  func(all []unstructured.Unstructured)
	change   func(watch.EventType, *unstructured.Unstructured)
	// denied is told the verb that is not allowed, and nil when it is allowed again.
	denied func(verb string, err error)
}

func (s *stream) run(ctx context.Context) {
	pause := streamPause
	for ctx.Err() == nil {
		version, err := s.list(ctx)
		if err != nil {
			if apierrors.IsForbidden(err) {
				s.denied("list", err)
				pauseFor(ctx, streamForbidden)
				continue
			}
			pauseFor(ctx, spread(pause))
			pause = min(2*pause, streamMaxPause)
			continue
		}
		pause = streamPause
		s.denied("list", nil)
		s.watch(ctx, version)
	}
}

func (s *stream) list(ctx context.Context) (version string, err error) {
	list, err := s.resource.List(ctx, s.only)
	if err != nil {
		return "", err
	}
	s.replace(list.Items)
	return list.GetResourceVersion(), nil
}

// watch returns when a new list is needed.
func (s *stream) watch(ctx context.Context, version string) {
	pause := streamPause
	for ctx.Err() == nil {
		options := s.only
		options.ResourceVersion = version
		options.AllowWatchBookmarks = true
		w, err := s.resource.Watch(ctx, options)
		switch {
		case err == nil:
		case apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err):
			// Whoever may list but not watch is served by polling.
			pauseFor(ctx, spread(streamPoll))
			return
		case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
			return
		default:
			pauseFor(ctx, spread(pause))
			pause = min(2*pause, streamMaxPause)
			continue
		}
		last, again := s.read(ctx, w, version)
		if again {
			return
		}
		if last != version {
			pause = streamPause
		} else {
			// A proxy that closes every watch at once must not be hammered.
			pauseFor(ctx, spread(pause))
			pause = min(2*pause, streamMaxPause)
		}
		version = last
	}
}

// read hands on the events of one watch until it is cut. It returns the place
// to go on from, or again if the place is lost.
func (s *stream) read(ctx context.Context, w watch.Interface, version string) (last string, again bool) {
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
				pauseFor(ctx, spread(streamPause))
				return version, true
			case event.Type == watch.Bookmark:
				version = o.GetResourceVersion()
			default:
				version = o.GetResourceVersion()
				s.change(event.Type, o)
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
