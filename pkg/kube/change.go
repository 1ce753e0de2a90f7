package kube

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Action says what a write did to an object, in kubectl's words.
type Action string

// The actions.
const (
	Created    Action = "created"
	Configured Action = "configured"
	Unchanged  Action = "unchanged"
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
	After  *unstructured.Unstructured
	Action Action
	// Started and Took say when the write began and how long it took, retries
	// included; for an object that needed no write, the same of its dry run.
	Started time.Time
	Took    time.Duration
}

// String is the line that kubectl apply prints, for example
// "deployment.apps/classifier configured".
func (c Change) String() string { return c.ID().Resource() + " " + string(c.Action) }

// Changed reports whether the cluster holds, or may hold, something else than before.
func (c Change) Changed() bool { return c.Action != Unchanged }
