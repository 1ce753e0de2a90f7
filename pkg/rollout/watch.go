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

// Pauses of a sight: between watches that were cut before they showed anything,
// and between GETs where watching is not allowed. The verdict has to come within
// a second of the status that proves it.
const (
	sightPause    = 100 * time.Millisecond
	sightMaxPause = time.Second
	pollPause     = time.Second
	pollMaxPause  = 5 * time.Second

	getTimeout = 10 * time.Second
	// watchSeconds is when the server ends a watch, so that one that a middlebox
	// forgot does not stay silent for ever.
	watchSeconds = 300
)

// sight keeps one object in sight, from the version that a write returned. It
// needs no list and no right beyond the object's own name.
type sight struct {
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

// follow returns when the object is gone or ctx ends.
func (s *sight) follow(ctx context.Context) {
	pause := sightPause
	for ctx.Err() == nil {
		before := s.version
		todo := s.watch(ctx)
		if todo == nextGet {
			todo = s.get(ctx)
		}
		switch todo {
		case nextPoll:
			s.poll(ctx)
			return
		case nextStop:
			return
		case nextWatch, nextGet:
			if s.version != before {
				pause = sightPause
			}
			// A proxy that cuts every watch at once must not be hammered.
			pauseFor(ctx, spread(pause))
			pause = min(2*pause, sightMaxPause)
		}
	}
}

// watch reads one watch until it ends.
func (s *sight) watch(ctx context.Context) next {
	seconds := int64(watchSeconds)
	w, err := s.resource.Watch(ctx, metav1.ListOptions{
		FieldSelector:       fields.OneTermEqualSelector("metadata.name", s.name).String(),
		ResourceVersion:     s.version,
		AllowWatchBookmarks: true,
		TimeoutSeconds:      &seconds,
	})
	if err != nil {
		return s.refused(ctx, err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return nextStop
		case event, ok := <-w.ResultChan():
			if !ok {
				return nextWatch
			}
			o, isObject := event.Object.(*unstructured.Unstructured)
			switch {
			case event.Type == watch.Error || !isObject:
				// 410 among others; what is there now is right for each of them.
				return nextGet
			case event.Type == watch.Bookmark:
				s.version = o.GetResourceVersion()
			case event.Type == watch.Deleted:
				s.gone(o)
				return nextStop
			default:
				s.saw(o)
			}
		}
	}
}

// refused decides what follows a watch that did not begin.
func (s *sight) refused(ctx context.Context, err error) next {
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
	s.blind(err)
	return nextWatch
}

// get reads the object as it is now.
func (s *sight) get(ctx context.Context) next {
	bounded, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	o, err := s.resource.Get(bounded, s.name, metav1.GetOptions{})
	switch {
	case err == nil:
		s.saw(o)
		return nextWatch
	case ctx.Err() != nil:
		return nextStop
	case apierrors.IsNotFound(err):
		s.gone(nil)
		return nextStop
	}
	s.blind(err)
	return nextGet
}

// poll reads the object again and again, for whoever may not watch it.
func (s *sight) poll(ctx context.Context) {
	pause := pollPause
	for ctx.Err() == nil {
		before := s.version
		if s.get(ctx) == nextStop {
			return
		}
		if s.version != before {
			pause = pollPause
		}
		pauseFor(ctx, pause)
		pause = min(pause+pause/2, pollMaxPause)
	}
}

func (s *sight) saw(o *unstructured.Unstructured) {
	s.version = o.GetResourceVersion()
	s.blind(nil)
	s.see(o)
}
