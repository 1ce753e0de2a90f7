// Package apply brings a whole set of objects to a cluster by server-side
// apply, so that the second run of the same set changes nothing and says so.
//
// Every object is read and dry-run before the first write: a set with one wrong
// object changes nothing, and all mistakes are reported at once. Writes then go
// by stage, in parallel within a stage, and are repeated at the call when the
// network or the server falters, which is safe because an apply by one field
// manager is idempotent.
//
// What objects mean, whether they become ready and what to do if they do not is
// left to others; so is everything before there are objects and a client.
package apply

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// FieldManager is the name under which the cluster records which fields are
// ours. It never varies by run: a second name would conflict with the first.
const FieldManager = "deploy-model-action"

const (
	defaultNamespace   = "default"
	defaultConcurrency = 32
	defaultBudget      = 2 * time.Minute
)

// Options say where and how to apply. Dynamic and REST are required.
type Options struct {
	// Dynamic reads and writes objects. It should not follow redirects, and its
	// own rate limit should be off.
	Dynamic dynamic.Interface
	// REST asks for the resources of API groups that are not built in.
	REST rest.Interface
	// Namespace is for namespaced objects that name none. The default is "default".
	Namespace string
	// ForceConflicts takes fields over from other managers. The default is to
	// fail with a ConflictError.
	ForceConflicts bool
	// Concurrency bounds the requests in flight. The default is 32.
	Concurrency int
	// Budget bounds the time that may be spent, in all, while requests keep
	// failing for a reason that can pass. The default is 2 minutes.
	Budget time.Duration
	// Report is told of each object once, in the order of application, as soon
	// as its outcome is known. It is never called concurrently. The default is
	// to tell nobody.
	Report func(Change)
	// Log takes one line about a decision that a user should know of, such as
	// fields taken over from kubectl. It may be called concurrently. The default
	// is to drop it.
	Log func(format string, args ...any)
}

// Action says what an apply did to an object, in kubectl's words.
type Action string

// The actions.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
)

// A Change is the outcome for one object.
type Change struct {
	// Index is the object's place in the slice that was applied.
	Index      int
	Resource   schema.GroupVersionResource
	Namespaced bool
	// Before is the object as it was; nil if it did not exist.
	Before *unstructured.Unstructured
	// After is the object as the server answered, with its resourceVersion and
	// generation, without managedFields if it was written. For an unchanged object
	// it may be the same pointer as Before.
	After  *unstructured.Unstructured
	Action Action
	// Started and Took tell when the write began and how long it took, retries
	// included; for an object that needed no write, the same of its check.
	Started time.Time
	Took    time.Duration
}

// String is the line that kubectl apply prints, for example
// "deployment.apps/classifier configured".
func (c Change) String() string {
	return resourceName(c.After) + " " + string(c.Action)
}

// resourceName is kubectl's name of an object: "service/x", "deployment.apps/x".
func resourceName(object *unstructured.Unstructured) string {
	kind := object.GroupVersionKind()
	name := strings.ToLower(kind.Kind)
	if kind.Group != "" {
		name += "." + kind.Group
	}
	return name + "/" + object.GetName()
}

// Objects applies the whole set. It returns what it did, in the order of
// application, together with the error, which joins an *ObjectError for each
// mistake, or holds an *UnavailableError if the cluster did not work. The given objects are not modified.
func Objects(ctx context.Context, objects []*unstructured.Unstructured, o Options) ([]Change, error) {
	r := newRun(o, len(objects))
	err := r.apply(ctx, objects)
	changes := r.results.finish()
	if err != nil && ctx.Err() != nil {
		return changes, fmt.Errorf("stopped: %d of %d objects were applied: %w", len(changes), len(objects), err)
	}
	return changes, err
}

// run is one call of Objects.
type run struct {
	Options
	slots   chan struct{} // one for each request in flight
	budget  *budget
	mapper  *mapper
	results *results
	set     map[string]bool // "kind/name" in lower case of everything in the set
	scaled  map[string]bool // workloads that an autoscaler of the set scales
	broken  atomic.Bool     // start nothing more
	down    atomic.Bool     // the server does not work, and that was said
	reached atomic.Bool     // the server has answered
}

func newRun(o Options, n int) *run {
	if o.Namespace == "" {
		o.Namespace = defaultNamespace
	}
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.Budget <= 0 {
		o.Budget = defaultBudget
	}
	if o.Report == nil {
		o.Report = func(Change) {}
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	r := &run{
		Options: o,
		slots:   make(chan struct{}, o.Concurrency),
		budget:  &budget{limit: o.Budget},
		results: &results{report: o.Report, changes: make([]*Change, n)},
		set:     make(map[string]bool, n),
	}
	r.mapper = &mapper{run: r, answers: map[schema.GroupVersion]*answer{}}
	return r
}

func (r *run) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	items, wrong := r.plan(ctx, objects)
	// What could not be planned does not keep the mistakes of the rest hidden.
	late, err := r.check(ctx, items)
	if err := flat(ctx, wrong, err); err != nil {
		return err
	}
	r.settle(items)
	for stage := range lastStage + 1 {
		if stage == 1 && len(late) > 0 {
			if err := r.checkLate(ctx, late); err != nil {
				return err
			}
			r.settle(late)
		}
		if err := r.write(ctx, inStage(items, stage)); err != nil {
			return err
		}
	}
	return nil
}
