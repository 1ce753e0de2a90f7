// Package kube reads, watches and writes one object of a cluster at a time: with
// retries, within one budget for the whole run, and with the refusals of the API
// server as typed errors that say which right is missing or what to correct.
//
// Every write goes through here, so that preconditions, field ownership and what
// may be said of a Secret are decided in one place. Which objects belong together
// and in which order they are written is left to apply, what their states mean to
// readiness and diagnosis.
package kube

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
)

// defaultConcurrency bounds the requests in flight: more makes no deploy faster,
// and API servers answer 429 to clients that send hundreds at once.
const defaultConcurrency = 32

// Options say how to treat the cluster.
type Options struct {
	// Concurrency bounds the requests in flight. The default is 32.
	Concurrency int
	// Budget bounds the time that may be spent in trouble, in all. The default
	// is retry.DefaultBudget.
	Budget time.Duration
	// Log takes one line about a decision that a user should know of, such as
	// fields taken over from kubectl. It may be called concurrently. The default
	// is to drop it.
	Log func(format string, args ...any)
	// Webhook bounds how long an admission webhook may take that does not answer, and
	// that nobody may repair meanwhile. The default is the budget.
	Webhook time.Duration
	// Foresee lets a Write remember what the server said that its object will be,
	// which is much memory for many objects.
	Foresee bool
}

// Client reads and writes objects of one cluster. It may be used concurrently.
type Client struct {
	dynamic dynamic.Interface
	rest    rest.Interface
	log     func(format string, args ...any)
	slots   chan struct{} // one for each request in flight
	budget  *retry.Budget
	limit   time.Duration // of the budget
	webhook time.Duration // 0: the budget's
	mapper  *mapper
	foresee bool
}

// NewClient returns a client that works through two others: d for objects, r for
// everything that is none, such as logs. Neither should follow redirects, and
// their own rate limits should be off. It asks nothing.
func NewClient(d dynamic.Interface, r rest.Interface, o Options) *Client {
	if o.Concurrency <= 0 {
		o.Concurrency = defaultConcurrency
	}
	if o.Budget <= 0 {
		o.Budget = retry.DefaultBudget
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	c := &Client{
		dynamic: d, rest: r, log: o.Log,
		slots: make(chan struct{}, o.Concurrency), budget: retry.NewBudget(o.Budget), limit: o.Budget,
		webhook: o.Webhook, foresee: o.Foresee,
	}
	c.mapper = &mapper{client: c, answers: map[schema.GroupVersion]*answer{}}
	return c
}

// Concurrency is how many requests may be in flight.
func (c *Client) Concurrency() int { return cap(c.slots) }

// Log writes one line about a decision that a user should know of.
func (c *Client) Log(format string, args ...any) { c.log(format, args...) }

// Afresh is the same client with nothing spent of its budget: what is done after
// an outage that a run did not survive, such as a way back, has time of its own.
func (c *Client) Afresh() *Client {
	fresh := *c
	fresh.budget = retry.NewBudget(c.limit)
	return &fresh
}

// Ref is where one object is.
type Ref struct {
	Resource
	Kind            string // for people and for identities
	Namespace, Name string // Namespace is "" for a cluster-scoped object
}

// ID is the identity of the object.
func (r Ref) ID() object.ID {
	return object.ID{Group: r.Group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

// RefOf returns where an object is, given where those of its kind are.
func RefOf(u *unstructured.Unstructured, r Resource) Ref {
	ref := Ref{Resource: r, Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName()}
	if !r.Namespaced {
		ref.Namespace = ""
	}
	return ref
}

// Objects gives the requests of one resource as they are, without retries, for
// whoever lists and watches and has a loop of its own. Not for writing.
func (c *Client) Objects(r Resource, namespace string) dynamic.ResourceInterface {
	if r.Namespaced {
		return c.dynamic.Resource(r.GroupVersionResource).Namespace(namespace)
	}
	return c.dynamic.Resource(r.GroupVersionResource)
}

// REST gives requests for what is no object: logs, and the proxy to a Service.
// It is nil if the client was made without.
func (c *Client) REST() rest.Interface { return c.rest }

// Get reads an object; nil without an error if it does not exist.
func (c *Client) Get(ctx context.Context, ref Ref, p Patience) (*unstructured.Unstructured, error) {
	found, err := call(ctx, c, p, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return c.Objects(ref.Resource, ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	})
	if apierrors.IsNotFound(err) && !IsUnserved(err) {
		return nil, nil
	}
	return found, err
}

// Create creates an object; an error that apierrors.IsAlreadyExists says that
// somebody was faster, which may have been this call's own first try, if its
// answer was lost: the caller looks.
func (c *Client) Create(ctx context.Context, ref Ref, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return call(ctx, c, Patience{Write: true}, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return c.Objects(ref.Resource, ref.Namespace).Create(ctx, u, metav1.CreateOptions{FieldManager: object.FieldManager})
	})
}

// Update replaces an object as it is at the resourceVersion that u names; an
// error that apierrors.IsConflict says that it has changed since, which may have
// been this call's own first try, if its answer was lost: the caller looks.
func (c *Client) Update(ctx context.Context, ref Ref, u *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return call(ctx, c, Patience{Write: true, Versioned: true}, func(ctx context.Context) (*unstructured.Unstructured, error) {
		return c.Objects(ref.Resource, ref.Namespace).Update(ctx, u, metav1.UpdateOptions{FieldManager: object.FieldManager})
	})
}

// Delete deletes an object if the preconditions hold; that it does not exist is
// no error. Its dependents go as the options say; the default is the kind's.
func (c *Client) Delete(ctx context.Context, ref Ref, o metav1.DeleteOptions) error {
	_, err := call(ctx, c, Patience{Write: len(o.DryRun) == 0, Versioned: true}, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, c.Objects(ref.Resource, ref.Namespace).Delete(ctx, ref.Name, o)
	})
	if apierrors.IsNotFound(err) && !IsUnserved(err) {
		return nil
	}
	return err
}

// Action says what a write did to an object, in kubectl's words.
type Action string

// The actions.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
	// Replaced is a Job that had ended, and was created anew.
	Replaced Action = "replaced"
	// Pruned is an object that was deleted, as the manifests hold it no longer.
	Pruned Action = "pruned"
	// Uncertain is a write whose answer never came, and that could not be looked
	// at either: the object may be as it was before, or as it was to be.
	Uncertain Action = "uncertain"
)

// Change is what one write did to one object.
type Change struct {
	Ref
	// Before is the object as it was; nil if it did not exist.
	Before *unstructured.Unstructured
	// After is the object as the server answered, with its resourceVersion and
	// generation; for an uncertain write, as it was to be. For an unchanged
	// object it may be the same pointer as Before.
	After *unstructured.Unstructured
	// Manifest is the object as the manifest has it, of an apply: the server drops
	// a zero that is written out, and says nothing of who wrote a default. It is nil
	// for a way back.
	Manifest *unstructured.Unstructured
	Action   Action
	// Started and Took say when the write began and how long it took, retries
	// included; for an object that needed no write, the same of its dry run.
	Started time.Time
	Took    time.Duration
	// Notes are, of a write that is only planned, what its log will say of it, and
	// Restarts what its pods read that is new to them, so that they are replaced.
	Notes, Restarts []string
}

// String is the line that kubectl apply prints, for example
// "deployment.apps/classifier configured".
func (c Change) String() string { return c.ID().Resource() + " " + string(c.Action) }

// Changed reports whether the cluster holds, or may hold, something else than before.
func (c Change) Changed() bool { return c.Action != Unchanged }
