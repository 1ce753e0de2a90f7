package kube

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"

	"github.com/org/deploy-model-action/pkg/retry"
	"github.com/org/deploy-model-action/pkg/wire"
)

// Pauses of a WatchList: after a list or watch went wrong, and when a right is
// missing, which an administrator may be granting just now.
const (
	listPause     = 300 * time.Millisecond
	listMaxPause  = 2 * time.Second
	listForbidden = 30 * time.Second
	listTimeout   = 15 * time.Second
	// listPage is how many objects one answer brings, and listPages bounds the answers.
	listPage, listPages = 500, 40
)

// Selection says which objects of one kind a list or watch is about.
type Selection struct {
	Resource
	Namespace string
	// Labels and Fields are selectors; "" selects all.
	Labels, Fields string
	// Limit bounds what one list brings; 0 does not.
	Limit int64
}

func (s Selection) options() metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: s.Labels, FieldSelector: s.Fields, Limit: s.Limit}
}

// List reads what is selected, once, within 15 s: page by page, as thousands of
// pods in one answer would be in memory twice, as text and decoded.
func (c *Client) List(ctx context.Context, s Selection) (*unstructured.UnstructuredList, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	options, all := s.options(), &unstructured.UnstructuredList{}
	if s.Limit == 0 {
		options.Limit = listPage
	}
	for range listPages {
		page, err := c.Objects(s.Resource, s.Namespace).List(ctx, options)
		if err != nil {
			return nil, err
		}
		// The version is of the first page, and all are of that moment.
		all.Object, all.Items = page.Object, append(all.Items, page.Items...)
		if options.Continue = page.GetContinue(); options.Continue == "" || s.Limit > 0 {
			return all, nil
		}
	}
	return nil, fmt.Errorf("list %s: there are more than %d", s.GroupResource(), listPage*listPages)
}

// ListUpdate is what a WatchList brought.
type ListUpdate struct {
	// Listed says that All is everything that there is, and nothing else.
	Listed bool
	All    []unstructured.Unstructured
	// Update is about one object, if All is not given; its Err is that listing is
	// not allowed, or that the list is longer than any may be.
	Update
}

// WatchList yields everything that is selected, and from there every change; it
// lists again when the server no longer knows the place. It ends with ctx only.
func (c *Client) WatchList(ctx context.Context, s Selection) iter.Seq[ListUpdate] {
	return func(yield func(ListUpdate) bool) {
		l := &listWatch{client: c, selection: s, objects: c.Objects(s.Resource, s.Namespace), yield: yield}
		l.run(ctx)
	}
}

// WatchAll is WatchList with one request less: a watch that names no version begins
// with everything that there is. That this is all is not said: an empty list comes
// first, and then each object.
func (c *Client) WatchAll(ctx context.Context, s Selection) iter.Seq[ListUpdate] {
	return func(yield func(ListUpdate) bool) {
		l := &listWatch{client: c, selection: s, objects: c.Objects(s.Resource, s.Namespace), yield: yield, watchOnly: true}
		l.run(ctx)
	}
}

// listWatch is one call of WatchList.
type listWatch struct {
	client    *Client
	selection Selection
	objects   dynamic.ResourceInterface
	yield     func(ListUpdate) bool
	ended     bool // the caller wants no more
	watchOnly bool // as long as watching is allowed
}

func (l *listWatch) run(ctx context.Context) {
	failure, success := listPause, watchPause
	for ctx.Err() == nil && !l.ended {
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
			l.pause(ctx, spread(success))
			success = min(2*success, watchMaxPause)
		case apierrors.IsForbidden(err), tooLong(err):
			l.pause(ctx, listForbidden)
		default:
			l.pause(ctx, spread(failure))
			failure = min(2*failure, listMaxPause)
		}
	}
}

// tooLong reports an answer that would be so again.
func tooLong(err error) bool {
	var long *wire.LongError
	return errors.As(err, &long)
}

func (l *listWatch) pause(ctx context.Context, d time.Duration) {
	if !l.ended {
		_ = retry.Sleep(ctx, d)
	}
}

func (l *listWatch) update(u ListUpdate) { l.ended = l.ended || !l.yield(u) }

func (l *listWatch) list(ctx context.Context) (version string, err error) {
	if l.watchOnly {
		l.update(ListUpdate{Listed: true})
		return "", nil
	}
	list, err := l.client.List(ctx, l.selection)
	var long *wire.LongError
	switch {
	case errors.As(err, &long):
		l.update(ListUpdate{Update: Update{Err: long}})
	case apierrors.IsForbidden(err):
		l.update(ListUpdate{Update: Update{Err: err}})
	}
	if err != nil {
		return "", err
	}
	l.update(ListUpdate{Listed: true, All: list.Items})
	return list.GetResourceVersion(), nil
}

// watch returns when a new list is needed.
func (l *listWatch) watch(ctx context.Context, version string) {
	pause := watchPause
	seconds := int64(watchSeconds)
	for ctx.Err() == nil && !l.ended {
		options := l.selection.options()
		options.Limit = 0
		options.ResourceVersion = version
		options.AllowWatchBookmarks = true
		options.TimeoutSeconds = &seconds
		w, err := l.objects.Watch(ctx, options)
		var none *wire.NoWatchError
		switch {
		case err == nil:
		case errors.As(err, &none), apierrors.IsForbidden(err), apierrors.IsMethodNotSupported(err):
			// Whoever may list but not watch is served by polling.
			if l.watchOnly {
				l.watchOnly = false
				return
			}
			l.pause(ctx, pollPause-watchPause)
			return
		case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
			return
		default:
			l.pause(ctx, spread(pause))
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
		l.pause(ctx, spread(pause))
		pause = min(2*pause, watchMaxPause)
		version = last
	}
}

// read hands on the events of one watch until it is cut. It returns the place
// to go on from, or again if the place is lost or nothing came for too long.
func (l *listWatch) read(ctx context.Context, w watch.Interface, version string) (last string, again bool) {
	defer w.Stop()
	silence := time.NewTimer(watchSilence)
	defer silence.Stop()
	for !l.ended {
		select {
		case <-ctx.Done():
			return version, true
		case <-silence.C:
			return version, true
		case event, ok := <-w.ResultChan():
			if !ok {
				return version, false
			}
			silence.Reset(watchSilence)
			o, isObject := event.Object.(*unstructured.Unstructured)
			switch {
			case event.Type == watch.Error || !isObject:
				// 410 among others; a new list is right for each of them.
				return version, true
			case event.Type == watch.Bookmark:
				version = o.GetResourceVersion()
			default:
				version = o.GetResourceVersion()
				l.update(ListUpdate{Update: Update{Object: o, Deleted: event.Type == watch.Deleted}})
			}
		}
	}
	return version, true
}
