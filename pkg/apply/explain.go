package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxForeign bounds how much of a server's text is passed on, in runes.
const maxForeign = 500

// failed turns the error of a request into what a user can act on: one
// *ObjectError, several if the server named several fields, or the one
// *UnavailableError of the run.
func (r *run) failed(ctx context.Context, it *item, err error) error {
	var own *ObjectError
	switch down := unavailable(err); {
	case errors.As(err, &own), errors.Is(err, ctx.Err()):
		return err
	case down != nil:
		// Every other object would wait for the same in vain, so one speaks for all.
		if !r.down.CompareAndSwap(false, true) {
			return nil
		}
		r.broken.Store(true)
		return down
	case unfit(err):
		if fields := r.unknownFields(ctx, it); len(fields) > 0 {
			return errors.Join(fields...)
		}
	}
	return it.fail(err)
}

// unavailable recognises an error that every other request would meet too, unlike
// one webhook, one quota or one object that is not there yet; nil if it is not one.
func unavailable(err error) *UnavailableError {
	down := &UnavailableError{Attempts: 1, Err: err}
	var exhausted *exhaustedError
	if errors.As(err, &exhausted) {
		down.Attempts, down.Err = exhausted.attempts, exhausted.err
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

// fail explains an error without asking the server anything more.
func (it *item) fail(err error) error {
	var (
		status    apierrors.APIStatus
		exhausted *exhaustedError
	)
	if !errors.As(err, &status) {
		return it.at("", err)
	}
	suffix := ""
	if errors.As(err, &exhausted) {
		suffix = fmt.Sprintf(" (gave up after %d attempts)", exhausted.attempts)
	}
	s := status.Status()
	if s.Code == http.StatusUnprocessableEntity && s.Details != nil {
		var errs []error
		for _, cause := range s.Details.Causes {
			if cause.Field != "" {
				errs = append(errs, it.at(fieldIn(it.object.Object, cause.Field), it.invalid(cause)))
			}
		}
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
	}
	if forbidden := forbiddenFrom(s); forbidden != nil {
		return it.at("", forbidden)
	}
	if path, detail := misfit(s.Message); path != "" {
		return it.at(fieldIn(it.object.Object, path), errors.New(detail))
	}
	if fields := strictFields(s.Message); len(fields) > 0 {
		errs := make([]error, len(fields))
		for i, f := range fields {
			errs[i] = it.at(f.path, errors.New(f.problem))
		}
		return errors.Join(errs...)
	}
	return it.errorf("%s%s", it.sentence(s, err), suffix)
}

// secret reports whether the server may quote what must not be seen.
func (it *item) secret() bool { return it.object.GetKind() == "Secret" }

var (
	quotaMessage     = regexp.MustCompile(`exceeded quota: ([^,]+), (requested: .*)`)
	webhookDenied    = regexp.MustCompile(`(?s)admission webhook "([^"]+)" denied the request(?:: (.*)|.*)`)
	webhookCall      = regexp.MustCompile(`(?s)failed calling webhook "([^"]+)"(?:: (.*))?`)
	policyDenied     = regexp.MustCompile(`(?s)ValidatingAdmissionPolicy '([^']+)' .*?denied request: (.*)`)
	podSecurity      = regexp.MustCompile(`(?s)violates PodSecurity "([^"]+)": (.*)`)
	missingNamespace = regexp.MustCompile(`namespaces "([^"]+)" not found`)
)

// sentence explains what has no field of its own.
func (it *item) sentence(s metav1.Status, err error) string {
	text := short(s.Message)
	said := func(s string) string { // foreign text, or nothing of it for a Secret
		if s = short(s); s == "" || it.secret() {
			return ""
		}
		return ": " + s
	}
	namespace := it.object.GetNamespace()
	switch {
	case apierrors.HasStatusCause(err, metav1.CauseType("NamespaceTerminating")), strings.Contains(text, "because it is being terminated"):
		return fmt.Sprintf("namespace %q is being deleted: wait until it is gone and run again, or deploy to another namespace", namespace)
	case s.Code == http.StatusNotFound && missingNamespace.MatchString(text):
		name := missingNamespace.FindStringSubmatch(text)[1]
		return fmt.Sprintf("namespace %q does not exist: create it with `kubectl create namespace %s`, or add a Namespace to the manifests", name, name)
	case isUnserved(err):
		if _, ok := builtin(it.object.GroupVersionKind()); ok {
			return fmt.Sprintf("the cluster does not serve %s in apiVersion %q: use a version that `kubectl api-resources` lists", it.object.GetKind(), it.GroupVersion())
		}
		return (&unservedError{version: it.GroupVersion()}).Error()
	case quotaMessage.MatchString(text):
		m := quotaMessage.FindStringSubmatch(text)
		return fmt.Sprintf("quota %q of namespace %q does not allow it (%s): free what is not needed, or have the quota raised", m[1], namespace, m[2])
	case webhookDenied.MatchString(s.Message):
		m := webhookDenied.FindStringSubmatch(s.Message)
		return fmt.Sprintf("admission webhook %q refused it%s; change the manifest, or ask whoever runs that webhook", m[1], said(m[2]))
	case webhookCall.MatchString(s.Message):
		m := webhookCall.FindStringSubmatch(s.Message)
		return fmt.Sprintf("admission webhook %q does not answer%s; see that its pods run, or remove its configuration", m[1], said(m[2]))
	case policyDenied.MatchString(s.Message):
		m := policyDenied.FindStringSubmatch(s.Message)
		return fmt.Sprintf("admission policy %q refused it%s; change the manifest, or ask whoever owns that policy", m[1], said(m[2]))
	case podSecurity.MatchString(s.Message):
		m := podSecurity.FindStringSubmatch(s.Message)
		return fmt.Sprintf("pod security level %q of namespace %q forbids it%s; set securityContext accordingly, or have the level changed", m[1], namespace, said(m[2]))
	case strings.Contains(text, "attempting to grant RBAC permissions not currently held"):
		return "it grants permissions that this user does not have itself, which RBAC forbids: have an administrator apply it, or grant this user roles/container.admin"
	case strings.Contains(text, "illegal base64 data"):
		return "data holds a value that is not base64: encode it, or write it under stringData as it is"
	case text == "metadata.managedFields must be nil":
		return "metadata.managedFields is the server's own: remove it, and the rest of what `kubectl get -o yaml` adds, from the manifest"
	case s.Code == http.StatusConflict && it.pinned():
		return "it is not at metadata.resourceVersion (or uid) of the manifest any more: remove those two fields from the manifest"
	}
	return fmt.Sprintf("the cluster refused it (%s)%s", reasonOf(s), said(s.Message))
}

// invalid explains one field of a 422.
func (it *item) invalid(cause metav1.StatusCause) error {
	detail, value := withoutValue(cause.Message)
	switch {
	case strings.Contains(detail, "immutable"), strings.Contains(detail, "may not change once set"), strings.Contains(detail, "updates to statefulset spec for fields other than"), strings.Contains(detail, "is forbidden after creation"), detail == "cannot change roleRef":
		return errors.New(it.immutable(detail))
	case it.secret():
		return errors.New("is not valid")
	case value != "":
		return fmt.Errorf("%s: %s", value, detail)
	}
	return errors.New(detail)
}

// immutable says what to do about a field that cannot change. Deleting is never
// done here: only a person knows what goes down with the object.
func (it *item) immutable(detail string) string {
	command := fmt.Sprintf("kubectl delete %s", strings.Replace(resourceName(it.object), "/", " ", 1))
	if it.namespaced {
		command += " --namespace " + it.object.GetNamespace()
	}
	why, way := "cannot be changed once the object exists", "restore its value, or delete the object first"
	switch it.object.GetKind() {
	case "Job":
		why, way = "of a Job cannot be changed", "give the Job another name (for example with the commit in it), set ttlSecondsAfterFinished, or delete the old Job first"
	case "StatefulSet":
		if strings.Contains(detail, "updates to statefulset") {
			why = "may change only in replicas, ordinals, template, updateStrategy, persistentVolumeClaimRetentionPolicy and minReadySeconds"
			command += " --cascade=orphan"
		}
	case "Deployment", "DaemonSet", "ReplicaSet":
		way = "restore it, give the object another name, or delete the object first (its pods stop)"
	}
	return fmt.Sprintf("%s: %s: %s", why, way, command)
}

// withoutValue splits a field error of the API ("Invalid value: V: detail") and
// drops V when it is more than a short scalar: V can be a whole pod template.
func withoutValue(message string) (detail, value string) {
	message, _, _ = strings.Cut(message, "\n") // what follows is a diff of bodies
	kind, rest, ok := strings.Cut(message, ": ")
	switch {
	case message == "Required value":
		return "is required: add it", ""
	case !ok:
		return short(message), ""
	case kind != "Invalid value" && kind != "Unsupported value" && kind != "Duplicate value" && kind != "Not found" && kind != "Too long" && kind != "Too many":
		return short(message), "" // "Required value: detail", "Forbidden: detail"
	}
	if quoted, err := strconv.QuotedPrefix(rest); err == nil {
		detail = strings.TrimPrefix(strings.TrimPrefix(rest, quoted), ": ")
		value = quoted
	} else if strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, "[") {
		decoder := json.NewDecoder(strings.NewReader(rest))
		var body json.RawMessage
		if decoder.Decode(&body) != nil {
			return strings.ToLower(kind), ""
		}
		detail = strings.TrimPrefix(rest[decoder.InputOffset():], ": ")
	} else if scalar, after, ok := strings.Cut(rest, ": "); ok && !strings.ContainsAny(scalar, "{}&") {
		value, detail = scalar, after
	} else if end := strings.LastIndex(rest, "}: "); end >= 0 { // a Go value
		detail = rest[end+len("}: "):]
	}
	if len(value) > 64 {
		value = ""
	}
	if detail == "" {
		return strings.ToLower(kind), value
	}
	return short(detail), value
}

// forbiddenMessage is RBAC's: X is forbidden: User "U" cannot V resource "R"
// [in API group "G"] [in the namespace "N"] [at the cluster scope]…
var forbiddenMessage = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]*)"(?: in API group "([^"]*)")?(?: in the namespace "([^"]*)")?`)

func forbiddenFrom(s metav1.Status) *ForbiddenError {
	m := forbiddenMessage.FindStringSubmatch(s.Message)
	if s.Code != http.StatusForbidden || m == nil {
		return nil
	}
	resource := m[3]
	if m[4] != "" {
		resource += "." + m[4]
	}
	return &ForbiddenError{User: m[1], Verb: m[2], Resource: resource, Namespace: m[5]}
}

func reasonOf(s metav1.Status) string {
	if s.Reason != "" {
		return string(s.Reason)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", s.Code, http.StatusText(int(s.Code))))
}

// short makes foreign text one line of bounded length.
func short(text string) string {
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > maxForeign {
		return string(runes[:maxForeign]) + "…"
	}
	return string(runes)
}
