package release

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/redact"
)

// UnreadableError is a record that somebody has edited, or that is none.
type UnreadableError struct {
	Namespace, ConfigMap string
	Err                  error // names the key
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("release record: ConfigMap %s/%s: %v; correct it, or begin a new history: `kubectl delete configmap %s --namespace %s` (what serves stays as it is; the list of releases goes, which run is the newest, and what prune would know)",
		e.Namespace, e.ConfigMap, redact.Phrase(e.Err.Error()), e.ConfigMap, e.Namespace)
}

// Unwrap returns the cause.
func (e *UnreadableError) Unwrap() error { return e.Err }

// Title names the error in a few words.
func (e *UnreadableError) Title() string { return "Release record unreadable" }

// NamespaceError says that the namespace of the release does not exist yet:
// whoever is about to create it does so, and claims again.
type NamespaceError struct{ Namespace string }

func (e *NamespaceError) Error() string {
	return fmt.Sprintf("release record: namespace %q does not exist: create it, or add it to the manifests", e.Namespace)
}

// Title names the error in a few words.
func (e *NamespaceError) Title() string { return "Namespace not found" }

// ForbiddenError is a request about the record or a log that the cluster does
// not allow this user.
type ForbiddenError struct {
	User      string // as the cluster knows it; "" if it did not say
	Verb      string
	Resource  string // "configmaps" or "secrets"
	Namespace string
}

func (e *ForbiddenError) Error() string {
	user := "this user"
	if e.User != "" {
		user = fmt.Sprintf("user %q", redact.Line(e.User, 200))
	}
	what, role, rule := "the record of the release is kept in a ConfigMap", "roles/container.developer", "get, create and update on configmaps, and get, create, update and delete on secrets"
	switch {
	case e.Resource == "secrets":
		what = "what the objects were before a deploy is kept in a Secret until it has ended"
	case e.Verb == "list":
		what, role, rule = "the records of releases are ConfigMaps", "roles/container.viewer", "get and list on configmaps"
	}
	return fmt.Sprintf("release record: %s cannot %s %s in namespace %q, and %s: grant it %s on the project, or bind it to a Role with the verbs %s",
		user, e.Verb, e.Resource, e.Namespace, what, role, rule)
}

// Title names the error in a few words.
func (e *ForbiddenError) Title() string { return "Permission missing" }

// Denied returns what was refused, for callers that say how to allow it.
func (e *ForbiddenError) Denied() (user, verb, resource, namespace string) {
	return e.User, e.Verb, e.Resource, e.Namespace
}

// denialMessage is the authorizer's.
var denialMessage = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]*)"`)

// requestError is a request about an object of the record that met an error.
type requestError struct {
	act, said string
	err       error
}

func (e *requestError) Error() string { return "release record: " + e.act + ": " + e.said }
func (e *requestError) Unwrap() error { return e.err }

// explain words what a request about an object of the record met. The server's
// words about a Secret are left out: they may repeat what is in it.
func explain(err error, verb string, ref kube.Ref) error {
	if err == nil {
		return nil
	}
	e := &requestError{act: fmt.Sprintf("%s %s %s/%s", verb, ref.Kind, ref.Namespace, ref.Name), said: redact.Phrase(err.Error()), err: err}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || errors.Is(err, kube.ErrUncertain) {
		return e
	}
	answer := status.Status()
	if missingNamespace(answer, ref) {
		return &NamespaceError{Namespace: ref.Namespace}
	}
	if m := denialMessage.FindStringSubmatch(answer.Message); m != nil && answer.Code == http.StatusForbidden {
		return &ForbiddenError{User: m[1], Verb: m[2], Resource: m[3], Namespace: ref.Namespace}
	}
	if apierrors.HasStatusCause(err, metav1.CauseType("NamespaceTerminating")) {
		e.said = "the namespace is being deleted: wait until it is gone, or deploy to another"
	} else if ref.Kind == "Secret" {
		e.said = fmt.Sprintf("the cluster answers with status %d (%s); its words are left out, since they may repeat what is in the Secret", answer.Code, redact.Line(string(answer.Reason), 60))
	}
	return e
}

// missingNamespace recognises the 404 to a create that is about the namespace.
func missingNamespace(answer metav1.Status, ref kube.Ref) bool {
	return answer.Code == http.StatusNotFound && answer.Details != nil && answer.Details.Name == ref.Namespace && answer.Details.Kind == "namespaces"
}

// outdated reports whether somebody else may have been faster, or this process
// itself, if the answer to its own write was lost: then the object is read again.
func outdated(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || errors.Is(err, kube.ErrUncertain)
}
