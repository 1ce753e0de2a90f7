package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// process deploys a commit as deploy does: two objects, of which the second is
// the same for every two commits, each written at the version that was read.
type process struct {
	run     Run
	commit  int
	fails   bool // the model crashes
	noFence bool // leaves alone what an unfinished run may still write

	client *kube.Client
	record *Record
	wrote  map[string]string // versions that it has written
	undo   []kube.Change
	// What became of it: an outcome, "" if it was killed.
	outcome  string
	verified bool // it was about to say so when it was killed, at least
	err      error
}

// wanted is what a commit makes of the objects.
func wanted(commit int) map[string]string {
	return map[string]string{"a": strconv.Itoa(commit), "b": strconv.Itoa(commit / 2)}
}

var objectNames = []string{"a", "b"}

// deploy runs the process to its end. Its err is for the test: what no run may meet.
func (p *process) deploy(ctx context.Context) {
	err := p.steps(ctx)
	superseded, ok := errors.AsType[*SupersededError](err)
	switch {
	case err == nil || errors.Is(err, errKilled):
	case ok:
		p.outcome = Superseded
		if p.record != nil {
			err := p.record.Finish(ctx, FinishOptions{Outcome: Superseded})
			if _, ok := errors.AsType[*SupersededError](err); err != nil && !ok && !errors.Is(err, errKilled) {
				p.err = err
			}
		}
		_ = superseded
	default:
		p.err = err
	}
}

func (p *process) steps(ctx context.Context) (err error) {
	p.run.Commit = fmt.Sprintf("%040x", p.commit)
	if p.record, err = Open(ctx, p.client, space, "model"); err != nil {
		return err
	}
	if err := p.record.Check(p.run); err != nil {
		return err
	}
	p.wrote = map[string]string{}
	live, err := p.read(ctx)
	if err != nil {
		return err
	}
	p.undo = p.different(live)
	claimed, err := p.record.Claim(ctx, ClaimOptions{Run: p.run, Undo: p.undo})
	if err != nil {
		return err
	}
	if claimed.Takeover {
		if live, err = p.read(ctx); err != nil {
			return err
		}
		p.undo = p.different(live)
		if _, err := p.record.KeepLog(ctx, p.undo); err != nil {
			return err
		}
		p.undo = oldest(claimed.Inherited, p.undo)
	}
	write := p.different(live)
	if !p.noFence {
		// What an unfinished run has read and not yet written, it could write later.
		write = oldest(write, claimed.Inherited)
	}
	for _, c := range write {
		if err := p.write(ctx, c.Name, live[c.Name], wanted(p.commit)[c.Name]); err != nil {
			return err
		}
	}
	if p.fails {
		return p.restore(ctx)
	}
	p.verified = true
	outcome := Deployed
	if len(write) == 0 {
		outcome = Unchanged
	}
	if err := p.record.Finish(ctx, FinishOptions{Outcome: outcome}); err != nil {
		return err
	}
	p.outcome = outcome
	return nil
}

// restore puts back what is still as this process left it.
func (p *process) restore(ctx context.Context) error {
	live, err := p.read(ctx)
	if err != nil {
		return err
	}
	for _, c := range p.undo {
		before := object.Text(c.Before, "data", "value")
		switch now := live[c.Name]; {
		case object.Text(now, "data", "value") == before:
			continue
		case p.wrote[c.Name] != "" && now.GetResourceVersion() != p.wrote[c.Name]:
			if err := p.record.Held(ctx); err != nil {
				return err
			}
			return fmt.Errorf("%s was changed by nobody", c.Name)
		default:
			if err := p.write(ctx, c.Name, now, before); err != nil {
				return err
			}
		}
	}
	if err := p.record.Finish(ctx, FinishOptions{Outcome: RolledBack}); err != nil {
		return err
	}
	p.outcome = RolledBack
	return nil
}

func (p *process) read(ctx context.Context) (map[string]*unstructured.Unstructured, error) {
	live := map[string]*unstructured.Unstructured{}
	for _, name := range objectNames {
		u, err := p.client.Get(ctx, change(name, "").Ref, kube.Patience{})
		if err != nil {
			return nil, err
		}
		live[name] = u
	}
	return live, nil
}

// different are the objects that are to be written, as they are.
func (p *process) different(live map[string]*unstructured.Unstructured) []kube.Change {
	var all []kube.Change
	for _, name := range objectNames {
		if object.Text(live[name], "data", "value") != wanted(p.commit)[name] {
			all = append(all, kube.Change{Ref: change(name, "").Ref, Before: live[name]})
		}
	}
	return all
}

// write writes one object at the version that was read; on a conflict it reads
// again, if this process still has the record.
func (p *process) write(ctx context.Context, name string, live *unstructured.Unstructured, value string) error {
	for {
		u := live.DeepCopy()
		_ = unstructured.SetNestedField(u.Object, value, "data", "value")
		after, err := p.client.Update(ctx, change(name, "").Ref, u)
		if err == nil {
			p.wrote[name] = after.GetResourceVersion()
			return nil
		}
		if !apierrors.IsConflict(err) {
			return err
		}
		if err := p.record.Held(ctx); err != nil {
			return err
		}
		if live, err = p.client.Get(ctx, change(name, "").Ref, kube.Patience{}); err != nil {
			return err
		}
	}
}

// world is a cluster in which commit 0 serves.
func world(t *testing.T) *apiServer {
	t.Helper()
	s := newServer(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, value := range wanted(0) {
		s.store("/api/v1/namespaces/"+space+"/configmaps/"+name, change(name, value).Before.DeepCopy().Object)
	}
	return s
}

// holds is the commit that the objects are of; -1 if they are of several.
func (s *apiServer) holds(last int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	value := func(name string) string {
		return field(s.objects["/api/v1/namespaces/"+space+"/configmaps/"+name], "data", "value")
	}
	for commit := range last + 1 {
		if w := wanted(commit); w["a"] == value("a") && w["b"] == value("b") {
			return commit
		}
	}
	return -1
}

// watchNewest reports when the newest run falls.
func (s *apiServer) watchNewest(t *testing.T) {
	t.Helper()
	newest := Run{}
	s.stored = func(path string, u map[string]any) {
		if path != "/api/v1/namespaces/"+space+"/configmaps/"+prefix+"model" {
			return
		}
		var now Run
		if err := json.Unmarshal([]byte(field(u, "data", keyNewest)), &now); err != nil || now.olderThan(newest) {
			t.Errorf("the newest run fell from %s to %s (%v)", newest, now, err)
		}
		newest = now
	}
}

// scheduler lets one request of all processes through at a time, in an order
// that a seed decides.
type scheduler struct {
	random *rand.Rand
	mu     sync.Mutex
	turn   *sync.Cond
	live   []int // processes that run
	queue  []*ticket
}

type ticket struct {
	process int
	request string
	pass    chan struct{}
	over    chan struct{}
}

// gate is one process's way to the server.
type gate struct {
	*scheduler
	process int
	base    http.RoundTripper
}

func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	t := &ticket{process: g.process, request: describeRequest(r), pass: make(chan struct{}), over: make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, t)
	g.turn.Broadcast()
	g.mu.Unlock()
	<-t.pass
	defer close(t.over)
	return g.base.RoundTrip(r)
}

// interleave runs the processes until all have ended.
func interleave(t *testing.T, s *apiServer, seed uint64, processes []*process, lives []int) {
	t.Helper()
	sched := &scheduler{random: rand.New(rand.NewPCG(seed, 1))}
	sched.turn = sync.NewCond(&sched.mu)
	for i, p := range processes {
		sched.live = append(sched.live, i)
		p.client = s.client(t, func(base http.RoundTripper) http.RoundTripper {
			over := http.RoundTripper(&gate{sched, i, base})
			if lives[i] >= 0 {
				over = killedAfter(lives[i])(over)
			}
			return over
		})
	}
	for i, p := range processes {
		go func() {
			p.deploy(context.Background())
			sched.mu.Lock()
			defer sched.mu.Unlock()
			sched.live = slices.DeleteFunc(sched.live, func(j int) bool { return j == i })
			sched.turn.Broadcast()
		}()
	}
	for {
		next := sched.next()
		if next == nil {
			return
		}
		close(next.pass)
		<-next.over
	}
}

// next waits until every process wants something, and chooses; nil when all have ended.
func (s *scheduler) next() *ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.live) > 0 {
		waiting := map[int]bool{}
		for _, t := range s.queue {
			waiting[t.process] = true
		}
		if !slices.ContainsFunc(s.live, func(i int) bool { return !waiting[i] }) {
			slices.SortStableFunc(s.queue, func(a, b *ticket) int {
				return strings.Compare(fmt.Sprint(a.process, a.request), fmt.Sprint(b.process, b.request))
			})
			i := s.random.IntN(len(s.queue))
			t := s.queue[i]
			s.queue = slices.Delete(s.queue, i, i+1)
			return t
		}
		s.turn.Wait()
	}
	return nil
}
