// Package rollout finds out whether what was applied serves: it waits for the
// generation that the apply returned, explains why an object does not become
// ready, gives objects their earlier fields back, finds the address that the
// workload answers on, and asks it whether it is well.
//
// It changes nothing in the cluster except in Restore. What is applied, in which
// order, and how a verdict is shown to people is left to others.
package rollout

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

const (
	defaultTimeout = 10 * time.Minute
	defaultPersist = 60 * time.Second
	defaultEvery   = 30 * time.Second
)

// Target is one object that was applied.
type Target struct {
	// Object is as the apply returned it: its resourceVersion is where the watch
	// begins, and only its generation, or a later one, counts. It may come without
	// managedFields.
	Object *unstructured.Unstructured
	// Before is the object as it was; nil if it did not exist.
	Before *unstructured.Unstructured
	// Resource is where the API server serves it.
	Resource   schema.GroupVersionResource
	Namespaced bool
	// Changed tells that the apply wrote something.
	Changed bool
}

// Options say how to reach the cluster and how long to be patient. Dynamic is required.
type Options struct {
	// Dynamic reads objects, pods and events. Its own rate limit should be off.
	Dynamic dynamic.Interface
	// REST reads logs and reaches the API server's service proxy. The default is
	// not to show logs, and not to ask through the proxy.
	REST rest.Interface
	// HTTP carries the health check to a load balancer's address. It must not add
	// credentials. The default is http.DefaultTransport.
	HTTP http.RoundTripper
	// Timeout bounds the wait. The default is 10 minutes.
	Timeout time.Duration
	// FailFast ends the wait as soon as a failure is certain. The default is to
	// wait for the timeout, as what failed may still heal; only what no time can
	// heal, such as an object that was deleted, is not waited for.
	FailFast bool
	// Persist is how long a state has to last until it proves a failure. The default is 60 seconds.
	Persist time.Duration
	// Progress takes a line about an object when something changes, and every
	// Every. It is never called concurrently. The default is to tell nobody.
	Progress func(line string)
	// Warn takes what a user should know of at once; each is given a single time.
	// It is never called concurrently. The default is Progress.
	Warn func(line string)
	// Every is the longest silence about an object that is waited for. The default is 30 seconds.
	Every time.Duration
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if o.HTTP == nil {
		o.HTTP = http.DefaultTransport
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Persist <= 0 {
		o.Persist = defaultPersist
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Warn == nil {
		o.Warn = o.Progress
	}
	if o.Every <= 0 {
		o.Every = defaultEvery
	}
	return o
}

// Status is what became of one target.
type Status struct {
	Target
	// Live is the object as it was last seen.
	Live *unstructured.Unstructured
	// Ready tells that nothing is left to wait for. It is true also for what is
	// not waited for.
	Ready bool
	// Waited tells that readiness was looked for. It is false for kinds that know
	// none, such as ConfigMap, and for what cannot be waited for, such as a paused
	// Deployment; Message then says why.
	Waited bool
	// Message is the state in a few words, e.g. "3 of 3 updated, 3 ready, 3 available".
	Message string
	// Started and Finished are when the wait for it began and ended.
	Started, Finished time.Time
	// Failure is why it is not ready; nil if it is, or if nobody asked since
	// another object had failed.
	Failure *Failure
}

// String is the progress line of the object, e.g. "deployment.apps/x: 1 of 3 updated".
func (s Status) String() string {
	if s.Message == "" {
		return resourceName(s.Object)
	}
	return resourceName(s.Object) + ": " + s.Message
}

// resourceName is kubectl's name of an object: "service/x", "deployment.apps/x".
func resourceName(o *unstructured.Unstructured) string {
	gvk := o.GroupVersionKind()
	name := strings.ToLower(gvk.Kind)
	if gvk.Group != "" {
		name += "." + gvk.Group
	}
	return name + "/" + o.GetName()
}

// kindAndName is an object's kind, namespace and name.
func kindAndName(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return fmt.Sprintf("%s %s/%s", o.GetKind(), o.GetNamespace(), o.GetName())
}

// FailedError tells that objects cannot become ready.
type FailedError struct{ Failures []Failure }

func (e *FailedError) Error() string {
	lines := make([]string, len(e.Failures))
	for i, f := range e.Failures {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Superseded tells that a newer run has taken over, so that nothing is left to
// do for this one, least of all to restore what was there before it.
func (e *FailedError) Superseded() bool {
	return slices.ContainsFunc(e.Failures, func(f Failure) bool { return f.Reason == ReasonSuperseded })
}

// TimeoutError tells that time ran out. What each object waited for is in its Failure.
type TimeoutError struct {
	After   time.Duration
	Waiting []Status
}

func (e *TimeoutError) Error() string {
	lines := make([]string, len(e.Waiting))
	for i, s := range e.Waiting {
		lines[i] = s.String()
		if s.Failure != nil {
			lines[i] = s.Failure.String()
		}
	}
	return fmt.Sprintf("not ready within %s:\n%s", e.After, strings.Join(lines, "\n"))
}
