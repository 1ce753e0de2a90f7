package apply

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
)

// mistake is what went wrong with one item; index is its place in the set.
type mistake struct {
	index int
	err   error
}

// each calls f for every item, some at once, and returns what went wrong. It
// starts nothing more when ctx ends, when this run may not write any more, or
// when the server turns out not to work, which is said once for all items.
func each(ctx context.Context, p *Plan, items []*item, f func(*item) error) []mistake {
	var (
		wg       sync.WaitGroup
		mu       sync.Mutex
		mistakes []mistake
		queue    = make(chan *item)
	)
	for range min(p.o.Client.Concurrency(), len(items)) {
		wg.Go(func() {
			defer fault.Catch(ctx)
			for it := range queue {
				if ctx.Err() != nil || p.stop.all.Load() {
					continue
				}
				if err := p.stop.heed(f(it)); err != nil {
					mu.Lock()
					mistakes = append(mistakes, mistake{it.index, err})
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
	return mistakes
}

// heed stops all if an error is about all, of which it keeps the first of a kind.
func (s *stop) heed(err error) error {
	var (
		down    *kube.UnavailableError
		stopped *kube.StoppedError
	)
	switch {
	case errors.As(err, &stopped):
		s.all.Store(true)
		if s.held.Swap(true) {
			return nil
		}
	case errors.As(err, &down):
		s.all.Store(true)
		if s.down.Swap(true) {
			return nil
		}
	}
	return err
}

// flat joins errors into one list in the order of the set, so that a caller
// finds each object's at the top. That ctx ended is said once, not by each object
// that it stopped.
func flat(ctx context.Context, mistakes []mistake) error {
	slices.SortStableFunc(mistakes, func(a, b mistake) int { return a.index - b.index })
	var out []error
	var add func(err error)
	add = func(err error) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				add(e)
			}
			return
		}
		var own *kube.ObjectError
		if errors.As(err, &own) || err != nil && !errors.Is(err, ctx.Err()) {
			out = append(out, err)
		}
	}
	for _, f := range mistakes {
		add(f.err)
	}
	if ctx.Err() != nil {
		out = append(out, ctx.Err())
	}
	return errors.Join(out...)
}

// results collects outcomes and reports them in the order of application.
type results struct {
	mu      sync.Mutex
	report  func(kube.Change)
	changes []*kube.Change // by order
	told    []bool         // which of them were reported
}

// add takes an outcome and reports all those that are now next in line.
func (s *results) add(order int, change kube.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes[order] = &change
	for i := range s.changes {
		if s.changes[i] == nil {
			return
		}
		s.tell(i)
	}
}

// tell reports an outcome, once.
func (s *results) tell(order int) {
	if !s.told[order] {
		s.told[order] = true
		s.report(*s.changes[order])
	}
}

// of are the outcomes of items, as far as there are any.
func (s *results) of(items []*item) []kube.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []kube.Change
	for _, it := range items {
		if change := s.changes[it.order]; change != nil {
			all = append(all, *change)
		}
	}
	return all
}

// finish reports what an error left unreported, and returns everything that has
// an outcome.
func (s *results) finish() []kube.Change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var done []kube.Change
	for i, change := range s.changes {
		if change == nil {
			continue
		}
		s.tell(i)
		done = append(done, *change)
	}
	return done
}
