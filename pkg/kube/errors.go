package kube

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
)

// maxForeign bounds how much of a server's text is passed on, in runes.
const maxForeign = 500

// ObjectError is a mistake in one object, or a refusal of it. Its text holds
// neither the object's body nor, for a Secret, what the server said about it.
type ObjectError struct {
	ID    object.ID
	Field string // as in the manifest, "spec.replica"; "" if no field was named
	Err   error
}

func (e *ObjectError) Error() string {
	if e.Field != "" {
		return fmt.Sprintf("%s: %s: %v", e.ID, e.Field, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.ID, e.Err)
}

// Unwrap returns the cause: a *ConflictError, a *DeniedError, or plain text.
func (e *ObjectError) Unwrap() error { return e.Err }

// Title says in a few words what kind of mistake it is.
func (e *ObjectError) Title() string { return "Refused by the cluster" }

// About returns the object, and the field as its manifest writes it; "" for none.
func (e *ObjectError) About() (object.ID, string) { return e.ID, e.Field }

// ConflictError is a field that another manager holds, and nobody has said that
// it may be taken over. Object and field are those of the *ObjectError around it.
type ConflictError struct {
	Manager     string // as in managedFields
	Subresource string // through which the manager wrote; "" for the object itself
	Extra       bool   // the manifest does not hold it, and it would stay beside what the manifest holds
}

func (e *ConflictError) Error() string {
	by := fmt.Sprintf("%q", e.Manager)
	if e.Subresource != "" {
		by += fmt.Sprintf(" (through %s)", e.Subresource)
	}
	if e.Extra {
		return fmt.Sprintf("managed by %s, and would stay beside what the manifest holds: add it to the manifest, or set force_conflicts: true to have it removed", by)
	}
	return fmt.Sprintf("managed by %s, which gave it another value: remove the field from the manifest, or set force_conflicts: true to take it over", by)
}

// Title says in a few words what is wrong.
func (e *ConflictError) Title() string { return "Managed by another tool" }

// DuplicateError is an item of a list whose key another item has: of the two a server
// keeps one account. Object and field are those of the *ObjectError around it.
type DuplicateError struct {
	Key   string // name="A"
	First string // the field of the other item; "" if it is not known
}

func (e *DuplicateError) Error() string {
	if e.First == "" {
		return fmt.Sprintf("holds two items with %s: remove one, or give it another key", e.Key)
	}
	return fmt.Sprintf("has %s, as %s has: remove one of them, or give it another key", e.Key, e.First)
}

// Title says in a few words what is wrong.
func (e *DuplicateError) Title() string { return "Twice in a list" }

// Other returns the field of the other item; "" if it is not known.
func (e *DuplicateError) Other() string { return e.First }

// DeniedError is a request that the cluster does not allow this user.
type DeniedError struct {
	Verb      string // "patch"; "" if the server did not say
	Resource  string // "deployments.apps"
	Namespace string // "" for a cluster-scoped object
	User      string // as the cluster knows it
}

func (e *DeniedError) Error() string {
	user, verb := "this user", "apply"
	if e.User != "" {
		user = fmt.Sprintf("user %q", e.User)
	}
	if e.Verb != "" {
		verb = e.Verb
	}
	where, rule := "", "ClusterRole"
	if e.Namespace != "" {
		where, rule = fmt.Sprintf(" in namespace %q", e.Namespace), "Role"
	}
	role := "roles/container.developer"
	if strings.HasSuffix(e.Resource, ".rbac.authorization.k8s.io") {
		role = "roles/container.admin"
	}
	verbs := "get, create and patch"
	if verb == "delete" { // which only prune and the replacing of a Job need
		verbs = "get, create, patch and delete"
	}
	return fmt.Sprintf("%s cannot %s %s%s: grant it %s on the project, or bind it to a %s with the verbs %s on %s",
		user, verb, e.Resource, where, role, rule, verbs, e.Resource)
}

// Title says in a few words what is wrong.
func (e *DeniedError) Title() string { return "Permission missing" }

// Denied returns what was denied, for whoever knows how to grant it.
func (e *DeniedError) Denied() (user, verb, resource, namespace string) {
	return e.User, e.Verb, e.Resource, e.Namespace
}

// UnavailableError says that the cluster could not be worked with, whatever was
// asked of it: not reached, not let in, or out of order for longer than the
// budget. No object is at fault.
type UnavailableError struct {
	Attempts int   // of the request that gave up first
	Err      error // of its last attempt
}

func (e *UnavailableError) Error() string {
	err := e.Err
	var request *url.Error
	if errors.As(err, &request) { // the URL says nothing that the user could use
		err = request.Err
	}
	if apierrors.IsUnauthorized(err) {
		return "the cluster's API server does not accept the credentials: check that they have not been revoked and belong to a user of this cluster"
	}
	var status apierrors.APIStatus
	switch answered := errors.As(err, &status); {
	case e.Attempts <= 1 && answered: // there was no time left for more
		return fmt.Sprintf("the cluster's API server does not work: %s; what is not reported as applied may have been: run again when it is back", line(err.Error()))
	case e.Attempts <= 1:
		return fmt.Sprintf("the cluster's API server cannot be reached: %s", line(err.Error()))
	}
	return fmt.Sprintf("the cluster's API server does not work: gave up after %d attempts: %s; what is not reported as applied may have been: run again when it is back", e.Attempts, line(err.Error()))
}

// Title says in a few words what is wrong.
func (e *UnavailableError) Title() string { return "Cluster unavailable" }

// Unwrap returns the error of the last attempt.
func (e *UnavailableError) Unwrap() error { return e.Err }

// unavailable recognises an error that every other request would meet too, unlike
// one webhook, one quota or one object that is not there yet; nil if it is not one.
func unavailable(err error) *UnavailableError {
	down := &UnavailableError{Attempts: 1, Err: err}
	var exhausted *retry.ExhaustedError
	if errors.As(err, &exhausted) {
		down.Attempts, down.Err = exhausted.Attempts, exhausted.Err
	}
	var status apierrors.APIStatus
	var request *url.Error
	if !errors.As(err, &status) {
		if exhausted != nil || errors.As(err, &request) {
			return down
		}
		return nil
	}
	s := status.Status()
	if s.Code == http.StatusUnauthorized || exhausted != nil && (s.Code == http.StatusTooManyRequests || s.Code >= 500 && !strings.Contains(s.Message, "webhook")) {
		return down
	}
	return nil
}

// withheld is an answer of the server without its text, which may quote a Secret.
func withheld(err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return err
	}
	s := status.Status()
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: s.Status, Code: s.Code, Reason: s.Reason,
		Message: "the server answered " + reasonOf(s),
	}}
}

// StoppedError is the end of a write because this run may not write any more:
// somebody who may has begun. Nothing is restored after it.
type StoppedError struct{ Err error }

func (e *StoppedError) Error() string { return e.Err.Error() }

// Title says in a few words what happened.
func (e *StoppedError) Title() string { return "Superseded" }

// Unwrap returns why.
func (e *StoppedError) Unwrap() error { return e.Err }

// LeftError says why the way back leaves an object as it is: it is not any more
// what this run made of it.
type LeftError struct {
	Why string
	// Replaced says that this run itself replaced it, and that it cannot be put back.
	Replaced bool
}

func (e *LeftError) Error() string { return e.Why }
