package apply

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// ObjectError is a mistake in one object, or a refusal of it. Its text holds
// neither the object's body nor, for a Secret, what the server said about it.
type ObjectError struct {
	Index  int    // in the slice that was applied
	Object string // "Deployment models/classifier"
	Field  string // as in the manifest, "spec.replica"; "" if no field was named
	Err    error
}

func (e *ObjectError) Error() string {
	if e.Field != "" {
		return fmt.Sprintf("%s: %s: %v", e.Object, e.Field, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Object, e.Err)
}

// Unwrap returns the cause: a *ConflictError, a *ForbiddenError, or plain text.
func (e *ObjectError) Unwrap() error { return e.Err }

// ConflictError is a field that another manager holds, and nobody has said that
// it may be taken over. Object and field are those of the *ObjectError around it.
type ConflictError struct {
	Manager     string // as in managedFields
	Subresource string // through which the manager wrote; "" for the object itself
}

func (e *ConflictError) Error() string {
	by := fmt.Sprintf("%q", e.Manager)
	if e.Subresource != "" {
		by += fmt.Sprintf(" (through %s)", e.Subresource)
	}
	return fmt.Sprintf("managed by %s, which gave it another value: remove the field from the manifest, or set force_conflicts: true to take it over", by)
}

// ForbiddenError is a request that the cluster does not allow this user.
type ForbiddenError struct {
	Verb      string // "patch"; "" if the server did not say
	Resource  string // "deployments.apps"
	Namespace string // "" for a cluster-scoped object
	User      string // as the cluster knows it
}

func (e *ForbiddenError) Error() string {
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
	return fmt.Sprintf("%s cannot %s %s%s: grant it %s on the project, or bind it to a %s with the verbs get, create and patch on %s",
		user, verb, e.Resource, where, role, rule, e.Resource)
}

// Denied returns what was refused, for callers that say how to allow it.
func (e *ForbiddenError) Denied() (user, verb, resource, namespace string) {
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
	if e.Attempts <= 1 {
		return fmt.Sprintf("the cluster's API server cannot be reached: %s", short(err.Error()))
	}
	return fmt.Sprintf("the cluster's API server does not work: gave up after %d attempts: %s; what is not reported as applied may have been: run again when it is back", e.Attempts, short(err.Error()))
}

// Unwrap returns the error of the last attempt.
func (e *UnavailableError) Unwrap() error { return e.Err }

// errorf makes an ObjectError of the item.
func (it *item) errorf(format string, args ...any) error {
	return it.at("", fmt.Errorf(format, args...))
}

// at makes an ObjectError of one field of the item.
func (it *item) at(field string, err error) error {
	return &ObjectError{Index: it.index, Object: it.String(), Field: field, Err: err}
}
