// Package apply brings a whole set of objects to a cluster by server-side
// apply, so that the second run of the same set changes nothing and says so, and
// takes back what it brought.
//
// Every object is read and dry-run before the first write: a set with one wrong
// object changes nothing, and all mistakes are reported at once. Writes then go
// by stage, in parallel within a stage; the way back goes in the same order. How
// one object is written, and what is made of other owners, is kube's.
//
// What objects mean, whether they become ready and what to do if they do not is
// left to others; so is everything before there are objects and a client.
package apply

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

const defaultNamespace = "default"

// Options say where and how to apply. Client is required.
type Options struct {
	Client *kube.Client
	// Namespace is for namespaced objects that name none. The default is "default".
	Namespace string
	// ForceConflicts takes fields over from other tools and controllers. The
	// default is to fail with a *kube.ConflictError.
	ForceConflicts bool
	// Mark says which run writes, on what it changes. The default is no mark.
	Mark object.Mark
	// Ours reports whether what another run wrote is this run's to take back: it
	// took over from that run. The default is that nothing is.
	Ours func(run string) bool
	// Held reports, as an error, that this run may not write any more. It is asked
	// whenever an object has changed since it was read. Its error ends everything,
	// as a *kube.StoppedError. The default is that the run may.
	Held func(context.Context) error
	// HeldByStage asks Held also before each stage but the first that creates
	// something: of an object that does not exist yet no version tells that another
	// run has taken over. The default is not to spend the request.
	HeldByStage bool
	// Verified returns an object as it was before a run that this one took over from
	// wrote it, and whether that is known. The default is that there was no such run.
	Verified func(object.ID) (before *unstructured.Unstructured, known bool)
	// Await waits for the Jobs that have to succeed before the workloads are written,
	// as they were written or found. Its error ends the writing. The default is not
	// to wait.
	Await func(context.Context, []kube.Change) error
	// Report is told of each object once, in the order of application, as soon
	// as its outcome is known. It is never called concurrently. The default is
	// to tell nobody.
	Report func(kube.Change)
}

func (o Options) withDefaults() Options {
	if o.Namespace == "" {
		o.Namespace = defaultNamespace
	}
	if o.Report == nil {
		o.Report = func(kube.Change) {}
	}
	return o
}

func (o Options) write() kube.WriteOptions {
	return kube.WriteOptions{Force: o.ForceConflicts, Mark: o.Mark, Ours: o.Ours, Held: o.Held}
}

// Plan is a set of objects that were read and dry-run, and what each needs. It is
// not for concurrent use.
type Plan struct {
	o       Options
	items   []*item
	late    []*item // that can be checked only after stage 0 was written
	set     map[object.ID]bool
	seed    string // of the stamps of this run
	fence   bool
	unmet   error // of Options.Await
	after   bool  // what WriteAfter is for may be written
	results *results
	stop    stop
	holding *holding // asked beside the stage before; nil if not
}

// stop ends what is done for many objects at once.
type stop struct {
	all  atomic.Bool // start nothing more
	down atomic.Bool // the server does not work, and that was said
	held atomic.Bool // this run may not write any more, and that was said
}

// NewPlan reads and dry-runs every object, and writes nothing. The given objects
// are not modified. The error joins a *kube.ObjectError for each mistake, or holds
// a *kube.UnavailableError if the cluster did not work.
func NewPlan(ctx context.Context, objects []*unstructured.Unstructured, o Options) (*Plan, error) {
	p := &Plan{o: o.withDefaults(), set: make(map[object.ID]bool, len(objects))}
	p.results = &results{report: p.o.Report, changes: make([]*kube.Change, len(objects)), told: make([]bool, len(objects))}
	wrong := p.place(ctx, objects)
	p.reading()
	// What could not be placed does not keep the mistakes of the rest hidden.
	if err := flat(ctx, append(wrong, p.check(ctx)...)); err != nil {
		return nil, err
	}
	return p, nil
}

// Refresh reads and dry-runs every object again that is not written yet. With
// fence, what would be unchanged is written all the same when its time comes: a
// run before this one has not finished, and a write of it that is still on its way
// must find another version than it expects.
func (p *Plan) Refresh(ctx context.Context, fence bool) error {
	p.fence = p.fence || fence
	return flat(ctx, p.check(ctx))
}

// Undo is every object to which a write is to be sent, as it is now: what a way
// back needs to know, before the first write.
func (p *Plan) Undo() []kube.Change {
	var all []kube.Change
	for _, it := range p.ordered() {
		if it.written || it.write != nil && !it.write.Pending() && !it.unsettled() {
			continue
		}
		all = append(all, kube.Change{Ref: it.ref(), Before: it.live()})
	}
	return all
}

// Inventory is every object of the set as it was read, with its UID if it is there,
// in the order in which they were given. What has a name of its own with every deploy
// (metadata.generateName) is not among it: it is a history, which nothing replaces.
func (p *Plan) Inventory() []Listed {
	all := make([]Listed, 0, len(p.items))
	for _, it := range p.items {
		if it.object.GetGenerateName() != "" {
			continue
		}
		l := Listed{ID: it.ref().ID(), Version: it.resource.Version}
		if live := it.live(); live != nil {
			l.UID = string(live.GetUID())
			ours, _ := kube.AppliedBy(live)
			l.Found = !ours
		}
		all = append(all, l)
	}
	return all
}

// Holds reports whether an object is of the set.
func (p *Plan) Holds(id object.ID) bool { return p.set[id] }

// Write writes what needs it, by stages. It returns what it did, in the order of
// application, also with an error: an object that is not among the changes was
// not touched, and one whose Action is kube.Uncertain may have been.
func (p *Plan) Write(ctx context.Context) ([]kube.Change, error) {
	err := flat(ctx, p.writeAll(ctx))
	changes := p.results.finish()
	if p.unmet != nil && ctx.Err() == nil {
		return changes, p.unmet // as it came: it may say more than the errors that it joins
	}
	if err != nil && ctx.Err() != nil {
		return changes, fmt.Errorf("stopped: %d of %d objects were applied: %w", certain(changes), len(p.items), err)
	}
	return changes, err
}

// WriteAfter writes the Jobs that begin when all the rest serves, and returns what it
// did, as Write does. It is called after Write, if HasAfter reports that there are any.
func (p *Plan) WriteAfter(ctx context.Context) ([]kube.Change, error) {
	items := p.inStage(stageAfter)
	p.after = true
	p.settle(items)
	mistakes := p.writeStage(ctx, stageAfter, items)
	p.results.finish()
	return p.results.of(items), flat(ctx, mistakes)
}

// HasAfter reports whether there are Jobs that begin when all the rest serves.
func (p *Plan) HasAfter() bool { return len(p.inStage(stageAfter)) > 0 }

func certain(changes []kube.Change) int {
	n := 0
	for _, c := range changes {
		if c.Action != kube.Uncertain {
			n++
		}
	}
	return n
}

func (p *Plan) writeAll(ctx context.Context) []mistake {
	p.settle(p.items)
	for stage := range lastStage + 1 {
		if stage == 1 && len(p.late) > 0 {
			if mistakes := p.checkLate(ctx); len(mistakes) > 0 || ctx.Err() != nil {
				return mistakes
			}
			p.settle(p.late)
		}
		items := p.inStage(stage)
		if stage >= stageWorkloads {
			p.configure(items)
			p.warnStale(items)
			p.settle(items)
		}
		if mistakes := p.writeStage(ctx, stage, items); len(mistakes) > 0 || ctx.Err() != nil {
			return mistakes
		}
	}
	return nil
}

// writeStage writes the items of one stage, and waits for them if the next one needs them to end.
func (p *Plan) writeStage(ctx context.Context, stage int, items []*item) []mistake {
	if err := p.stillHeld(ctx, items); err != nil {
		return []mistake{{index: len(p.items), err: err}}
	}
	p.askBeside(ctx, stage)
	if mistakes := p.send(ctx, items); len(mistakes) > 0 || ctx.Err() != nil {
		return mistakes
	}
	if stage == stageBefore && len(items) > 0 && p.o.Await != nil {
		if p.unmet = p.o.Await(ctx, p.results.of(items)); p.unmet != nil {
			return []mistake{{index: len(p.items), err: p.unmet}}
		}
	}
	return nil
}

// heldFor is how long an answer counts that this run may write: hardly longer than
// the request that it allows is on its way, during which the answer may change as well.
const heldFor = time.Second

// holding is a question whether this run may still write.
type holding struct {
	since time.Time
	done  chan struct{}
	err   error
}

// askBeside asks while a stage is written whether the next one may be, so that
// nothing waits for the answer.
func (p *Plan) askBeside(ctx context.Context, stage int) {
	for next := stage + 1; next <= lastStage && len(p.inStage(stage)) > 0; next++ {
		if items := p.inStage(next); p.mayCreate(items) {
			h := &holding{since: time.Now(), done: make(chan struct{})}
			p.holding = h
			go func() {
				defer close(h.done)
				defer fault.Catch(ctx)
				h.err = p.o.Held(ctx)
			}()
			return
		} else if len(items) > 0 {
			return
		}
	}
}

// mayCreate reports whether Held is asked before the items are written.
func (p *Plan) mayCreate(items []*item) bool {
	creates := slices.ContainsFunc(items, func(it *item) bool { return !it.written && it.live() == nil })
	return p.o.HeldByStage && p.o.Held != nil && creates && items[0].order > 0
}

// stillHeld asks, before objects are created, whether this run may still write.
func (p *Plan) stillHeld(ctx context.Context, items []*item) error {
	if !p.mayCreate(items) {
		return nil
	}
	h := p.holding
	if h != nil {
		<-h.done
	}
	if h == nil || h.err == nil && time.Since(h.since) > heldFor {
		h = &holding{err: p.o.Held(ctx)}
	}
	if h.err != nil {
		return &kube.StoppedError{Err: h.err}
	}
	return nil
}

// settle records the objects that need no write.
func (p *Plan) settle(items []*item) {
	for _, it := range items {
		if it.write == nil || it.write.Pending() || it.written || it.unsettled() || it.stage == stageAfter && !p.after {
			continue
		}
		change, _ := it.write.Send(context.Background()) // nothing is sent
		it.written, it.after = true, change.After
		p.results.add(it.order, change)
	}
}

// send writes those items that need it. After the first failure nothing more is started.
func (p *Plan) send(ctx context.Context, items []*item) []mistake {
	var pending []*item
	for _, it := range items {
		if it.write != nil && !it.written {
			pending = append(pending, it)
		}
	}
	return each(ctx, p, pending, func(it *item) error {
		change, err := it.write.Send(ctx)
		if err == nil || change.Action == kube.Uncertain {
			it.written, it.after = true, change.After
			p.results.add(it.order, change)
		}
		if err != nil {
			p.stop.all.Store(true)
		}
		return err
	})
}
