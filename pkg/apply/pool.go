package apply

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"sync"
)

// each calls f for every item, at most Concurrency at once, and joins what they
// return in the order of the set. It starts nothing more when ctx ends or the
// server turns out not to work.
func (r *run) each(ctx context.Context, items []*item, f func(*item) error) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		errs  []error
		queue = make(chan *item)
	)
	for range min(r.Concurrency, len(items)) {
		wg.Go(func() {
			for it := range queue {
				if ctx.Err() != nil || r.broken.Load() {
					continue
				}
				if err := f(it); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, it := range items {
		queue <- it
	}
	close(queue)
	wg.Wait()
	return flat(ctx, errs...)
}

// flat joins errors into one list in the order of the set, so that a caller
// finds each object's at the top. That ctx ended is said once, not by each object that it stopped.
func flat(ctx context.Context, errs ...error) error {
	var out []error
	var add func(err error)
	add = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				add(e)
			}
			return
		}
		var own *ObjectError
		if errors.As(err, &own) || err != nil && !errors.Is(err, ctx.Err()) {
			out = append(out, err)
		}
	}
	for _, err := range errs {
		add(err)
	}
	slices.SortStableFunc(out, func(a, b error) int { return cmp.Compare(place(a), place(b)) })
	if ctx.Err() != nil {
		out = append(out, ctx.Err())
	}
	return errors.Join(out...)
}

// place is where an error belongs in the order of the set; the end, if nowhere.
func place(err error) int {
	var own *ObjectError
	if errors.As(err, &own) {
		return own.Index
	}
	return math.MaxInt
}

// results collects outcomes and reports them in the order of application.
type results struct {
	mu      sync.Mutex
	report  func(Change)
	changes []*Change // by order
	next    int       // the first that was not reported
}

// add takes an outcome and reports all those that are now next in line.
func (s *results) add(order int, change Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes[order] = &change
	for s.next < len(s.changes) && s.changes[s.next] != nil {
		s.report(*s.changes[s.next])
		s.next++
	}
}

// finish reports what an error left unreported, and returns everything that has
// an outcome.
func (s *results) finish() []Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var done []Change
	for i, change := range s.changes {
		if change == nil {
			continue
		}
		if i >= s.next {
			s.report(*change)
		}
		done = append(done, *change)
	}
	s.next = len(s.changes)
	return done
}
