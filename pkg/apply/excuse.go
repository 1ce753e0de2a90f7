package apply

import (
	"errors"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// missingPart finds in a refusal what the server looked for and did not find.
var missingPart = regexp.MustCompile(`(?i)(serviceaccount|priorityclass|runtimeclass|role\.rbac\.authorization\.k8s\.io|clusterrole\.rbac\.authorization\.k8s\.io)\S*(?: with name)? "?([a-z0-9.:-]+)"? (?:was )?not found`)

// excused reports whether a dry run failed for a reason that lies not in the
// object: it needs something that this set brings, or a webhook cannot do dry
// runs. Such an object is judged by its write.
func (r *run) excused(it *item, err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	text := status.Status().Message
	if status.Status().Code == http.StatusBadRequest && strings.Contains(text, "does not support dry run") {
		r.Log("%s: not checked before the first write: %s", it, short(text))
		return true
	}
	return r.brings(missing(status))
}

// missing is the object that the server looked for and did not find, as
// "kind/name"; "" if the refusal is about something else.
func missing(status apierrors.APIStatus) string {
	s := status.Status()
	if s.Code != http.StatusNotFound && s.Code != http.StatusForbidden {
		return ""
	}
	m := missingPart.FindStringSubmatch(s.Message)
	if m == nil {
		return ""
	}
	kind, _, _ := strings.Cut(m[1], ".")
	return setKey(kind, m[2])
}

// brings reports whether this set holds an object.
func (r *run) brings(key string) bool { return key != "" && r.set[key] }

// defaultAccount is what every new namespace gets by itself, a moment later.
const defaultAccount = "serviceaccount/default"

// patience says what the item's requests may wait for.
func (r *run) patience(it *item, dry bool) patience {
	p := patience{write: !dry, pinned: it.pinned()}
	p.young = func(err error) bool {
		var status apierrors.APIStatus
		if !errors.As(err, &status) {
			return false
		}
		switch {
		case it.waits() && status.Status().Code == http.StatusNotFound:
			return true
		case it.crd != nil && it.crd.before != nil && it.waits() && unfit(err):
			// The server may still judge by the definition as it was.
			return true
		}
		part := missing(status)
		return it.waits() && part == defaultAccount || !dry && r.brings(part)
	}
	return p
}

// pinned reports whether the object itself says which version it replaces.
func (it *item) pinned() bool {
	return it.object.GetResourceVersion() != "" || it.object.GetUID() != ""
}
