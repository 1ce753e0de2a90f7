package rollout

import (
	"context"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/object"
)

// published is what the wait for one object says of its pods when it is over.
type published struct {
	pods     map[types.UID]bool // of the live revision; nil if they are not known
	prefixes []string           // of the names of its pods
	wanted   int64
	unready  bool      // it was waited for, and did not become ready
	ready    time.Time // since when the object is, by its own status; zero if it is not
}

// holds reports whether a pod is one of them.
func (p published) holds(name string, uid types.UID) bool {
	if p.pods == nil || p.pods[uid] {
		return true
	}
	for _, prefix := range p.prefixes { // one that was made since
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// board is what the waits for many objects share: what those for workloads leave
// for those for Services, and the feeds.
type board struct {
	mu      sync.Mutex
	over    map[object.ID]chan struct{}
	notes   map[object.ID]published
	feeds   []*feed
	readers chan struct{} // one for each object that is being read
	// listeners has one for each log that is being followed.
	listeners chan struct{}
}

// readers is how many objects may be read at the same time: each with its lists.
const readers = 6

// newBoard is for objects of which some are going to be followed.
func newBoard(states, followed []*state) *board {
	b := &board{readers: make(chan struct{}, readers), listeners: make(chan struct{}, listeners), over: map[object.ID]chan struct{}{}, notes: map[object.ID]published{}, feeds: newFeeds(followed)}
	for _, s := range states {
		b.over[s.change.ID()] = make(chan struct{})
	}
	return b
}

// reading calls f when there is a place for one more that reads.
func (b *board) reading(ctx context.Context, f func()) {
	select {
	case b.readers <- struct{}{}:
		defer func() { <-b.readers }()
		f()
	case <-ctx.Done():
	}
}

// publish leaves what is known of an object's pods; its wait is over.
func (b *board) publish(s *state, unready bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := s.change.ID()
	if _, there := b.notes[id]; !there {
		note := s.publication()
		note.unready = unready
		b.notes[id] = note
		close(b.over[id])
	}
}

// await returns what was published of an object, and false if ctx ends before.
func (b *board) await(ctx context.Context, id object.ID) (published, bool) {
	select {
	case <-b.over[id]:
	case <-ctx.Done():
		return published{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.notes[id], true
}

// published returns what was published of an object by now; false if nothing was.
func (b *board) published(id object.ID) (published, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, there := b.notes[id]
	return p, there
}

// publication is what is known of the object's pods by now.
func (s *state) publication() published {
	p := published{wanted: s.evidence.Wanted(), ready: s.readySince}
	if s.followed {
		p.pods, p.prefixes = s.evidence.Serving()
	}
	return p
}
