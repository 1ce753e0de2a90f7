package kube

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/pkg/object"
)

// missingReference finds in a refusal what the server looked for and did not find.
var missingReference = regexp.MustCompile(`(?i)(serviceaccount|priorityclass|runtimeclass|role\.rbac\.authorization\.k8s\.io|clusterrole\.rbac\.authorization\.k8s\.io)\S*(?: with name)? "?([a-z0-9.:-]+)"? (?:was )?(?:not )?found`)

// missing is the object that the server looked for and did not find, for an
// object of that namespace; the zero ID if the refusal is about something else.
func missing(s metav1.Status, namespace string) object.ID {
	if s.Code != http.StatusNotFound && s.Code != http.StatusForbidden {
		return object.ID{}
	}
	m := missingReference.FindStringSubmatch(s.Message)
	if m == nil {
		return object.ID{}
	}
	kind, _, _ := strings.Cut(strings.ToLower(m[1]), ".")
	switch id := (object.ID{Name: m[2]}); kind {
	case "serviceaccount":
		id.Kind, id.Namespace = "ServiceAccount", namespace
		return id
	case "priorityclass":
		id.Group, id.Kind = "scheduling.k8s.io", "PriorityClass"
		return id
	case "runtimeclass":
		id.Group, id.Kind = "node.k8s.io", "RuntimeClass"
		return id
	case "role":
		id.Group, id.Kind, id.Namespace = "rbac.authorization.k8s.io", "Role", namespace
		return id
	default:
		id.Group, id.Kind = "rbac.authorization.k8s.io", "ClusterRole"
		return id
	}
}

// undryable reports a webhook that cannot do dry runs: the write itself decides.
func undryable(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && status.Status().Code == http.StatusBadRequest &&
		strings.Contains(status.Status().Message, "does not support dry run")
}

// patience says what the requests about an object may wait for. pinned is a
// request that names the version, or the uid, that it is about.
func (o WriteOptions) patience(ref Ref, dry, pinned bool) Patience {
	return Patience{Write: !dry, Versioned: pinned, NotYet: func(err error) bool {
		var status apierrors.APIStatus
		if !errors.As(err, &status) {
			return false
		}
		s := status.Status()
		switch {
		case o.Fresh && s.Code == http.StatusNotFound:
			return true
		case o.Redefined && unfit(err):
			return true // the server may still judge by the definition as it was
		}
		reference := missing(s, ref.Namespace)
		// What every new namespace gets by itself, a moment later.
		account := reference.Kind == "ServiceAccount" && reference.Name == "default"
		return o.Fresh && account || !dry && o.inSet(reference)
	}}
}

func (o WriteOptions) inSet(id object.ID) bool {
	return id != (object.ID{}) && o.InSet != nil && o.InSet(id)
}
