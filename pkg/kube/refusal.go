package kube

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/retry"
)

// subject is the object that a refusal is about, as it was to be.
type subject struct {
	Ref
	body *unstructured.Unstructured
}

// errorf makes an ObjectError of the whole object.
func (s subject) errorf(format string, args ...any) error {
	return s.at("", fmt.Errorf(format, args...))
}

// at makes an ObjectError of one field.
func (s subject) at(field string, err error) error {
	if values := s.values(); len(values) > 0 {
		field = redact.Values(field, values)
		if text := err.Error(); redact.Values(text, values) != text {
			err = errors.New(redact.Values(text, values))
		}
	}
	return &ObjectError{ID: s.ID(), Field: field, Err: err}
}

// values are what a Secret holds, as the server may quote it: a name that it gives,
// of a field or a webhook, may be one too.
func (s subject) values() []string {
	if !s.secret() {
		return nil
	}
	var all []string
	for _, field := range []string{"data", "stringData"} {
		for _, v := range object.Map(s.body.Object, field) {
			text, ok := v.(string)
			if !ok {
				continue
			}
			all = append(all, text)
			if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
				all = append(all, string(plain))
			}
		}
	}
	return all
}

// Explain turns the error of a request about an object into what a user can act
// on: an *ObjectError, or an *UnavailableError. It asks nothing.
func (c *Client) Explain(ctx context.Context, ref Ref, err error) error {
	about := subject{ref, &unstructured.Unstructured{Object: map[string]any{}}}
	if unfit(err) {
		return about.explain(err)
	}
	return c.refused(ctx, about, err)
}

// refused turns the error of a request into what a user can act on: one
// *ObjectError, several if the server named several fields, or an
// *UnavailableError. What ended with ctx stays as it is.
func (c *Client) refused(ctx context.Context, s subject, err error) error {
	var (
		own     *ObjectError
		stopped *StoppedError
		left    *LeftError
		ended   *retry.EndedError
	)
	down := unavailable(err)
	switch {
	case errors.As(err, &own), errors.As(err, &stopped), errors.As(err, &left):
		return err
	case errors.Is(err, ErrUncertain):
		return s.at("", err)
	case ctx.Err() != nil && errors.As(err, &ended), errors.Is(err, ctx.Err()):
		return ctx.Err()
	case down != nil:
		if s.secret() {
			down.Err = withheld(down.Err)
		}
		return down
	case unfit(err):
		if fields := c.unknownFields(ctx, s); len(fields) > 0 {
			return errors.Join(fields...)
		}
	}
	return s.explain(err)
}

// explain explains an error without asking the server anything more.
func (s subject) explain(err error) error {
	var (
		status    apierrors.APIStatus
		exhausted *retry.ExhaustedError
	)
	if !errors.As(err, &status) {
		return s.at("", err)
	}
	suffix := ""
	if errors.As(err, &exhausted) {
		suffix = fmt.Sprintf(" (gave up after %d attempts)", exhausted.Attempts)
	}
	answer := status.Status()
	if answer.Code == http.StatusUnprocessableEntity && answer.Details != nil {
		var errs []error
		for _, cause := range answer.Details.Causes {
			if cause.Field != "" {
				errs = append(errs, s.at(fieldIn(s.body.Object, cause.Field), s.invalid(cause)))
			}
		}
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
	}
	if denied := deniedBy(answer); denied != nil {
		return s.at("", denied)
	}
	if path, detail := misfit(answer.Message); path != "" {
		if m := duplicateKey.FindStringSubmatch(detail); m != nil {
			return s.twice(path, m[1])
		}
		return s.at(fieldIn(s.body.Object, path), errors.New(detail))
	}
	if fields := strictFields(answer.Message); len(fields) > 0 {
		errs := make([]error, len(fields))
		for i, f := range fields {
			errs[i] = s.at(f.path, errors.New(f.problem))
		}
		return errors.Join(errs...)
	}
	return s.errorf("%s%s", s.sentence(answer, err), suffix)
}

// secret reports whether the server may quote what must not be seen.
func (s subject) secret() bool { return s.Kind == "Secret" }

var (
	quotaMessage     = regexp.MustCompile(`exceeded quota: ([^,]+), (requested: .*)`)
	webhookDenied    = regexp.MustCompile(`(?s)admission webhook "([^"]+)" denied the request(?:: (.*)|.*)`)
	webhookCall      = regexp.MustCompile(`(?s)failed calling webhook "([^"]+)"(?:: (.*))?`)
	policyDenied     = regexp.MustCompile(`(?s)ValidatingAdmissionPolicy '([^']+)' .*?denied request: (.*)`)
	podSecurity      = regexp.MustCompile(`(?s)violates PodSecurity "([^"]+)": (.*)`)
	missingNamespace = regexp.MustCompile(`namespaces "([^"]+)" not found`)
)

// sentence explains what has no field of its own.
func (s subject) sentence(answer metav1.Status, err error) string {
	text := line(answer.Message)
	quoted := func(text string) string { // foreign text, or nothing of it for a Secret
		if text = line(text); text == "" || s.secret() {
			return ""
		}
		return ": " + text
	}
	namespace := s.Namespace
	switch {
	case apierrors.HasStatusCause(err, metav1.CauseType("NamespaceTerminating")), strings.Contains(text, "because it is being terminated"):
		return fmt.Sprintf("namespace %q is being deleted: wait until it is gone and run again, or deploy to another namespace", namespace)
	case answer.Code == http.StatusNotFound && missingNamespace.MatchString(text):
		name := missingNamespace.FindStringSubmatch(text)[1]
		return fmt.Sprintf("namespace %q does not exist: create it with `kubectl create namespace %s`, or add a Namespace to the manifests", name, name)
	case IsUnserved(err):
		if _, ok := builtin(s.body.GroupVersionKind()); ok {
			return fmt.Sprintf("the cluster does not serve %s in apiVersion %q: use a version that `kubectl api-resources` lists", s.Kind, s.GroupVersion())
		}
		return (&unservedError{version: s.GroupVersion()}).Error()
	case quotaMessage.MatchString(text):
		m := quotaMessage.FindStringSubmatch(text)
		return fmt.Sprintf("quota %q of namespace %q does not allow it (%s): free what is not needed, or have the quota raised", m[1], namespace, m[2])
	case webhookDenied.MatchString(answer.Message):
		m := webhookDenied.FindStringSubmatch(answer.Message)
		return fmt.Sprintf("admission webhook %q refused it%s; change the manifest, or ask whoever runs that webhook", m[1], quoted(m[2]))
	case webhookCall.MatchString(answer.Message):
		m := webhookCall.FindStringSubmatch(answer.Message)
		return fmt.Sprintf("admission webhook %q does not answer%s; see that its pods run, or remove its configuration", m[1], quoted(m[2]))
	case policyDenied.MatchString(answer.Message):
		m := policyDenied.FindStringSubmatch(answer.Message)
		return fmt.Sprintf("admission policy %q refused it%s; change the manifest, or ask whoever owns that policy", m[1], quoted(m[2]))
	case podSecurity.MatchString(answer.Message):
		m := podSecurity.FindStringSubmatch(answer.Message)
		return fmt.Sprintf("pod security level %q of namespace %q forbids it%s; set securityContext accordingly, or have the level changed", m[1], namespace, quoted(m[2]))
	case strings.Contains(text, "attempting to grant RBAC permissions not currently held"):
		return "it grants permissions that this user does not have itself, which RBAC forbids: have an administrator apply it, or grant this user roles/container.admin"
	case strings.Contains(text, "illegal base64 data"):
		return "data holds a value that is not base64: encode it, or write it under stringData as it is"
	}
	return fmt.Sprintf("the cluster refused it (%s)%s", reasonOf(answer), quoted(answer.Message))
}

// invalid explains one field of a 422.
func (s subject) invalid(cause metav1.StatusCause) error {
	detail, value := withoutValue(cause.Message)
	switch {
	case strings.Contains(detail, "immutable"), strings.Contains(detail, "may not change once set"), strings.Contains(detail, "updates to statefulset spec for fields other than"), strings.Contains(detail, "is forbidden after creation"), detail == "cannot change roleRef":
		return errors.New(s.immutable(detail))
	case s.secret():
		return errors.New("is not valid")
	case value != "":
		return fmt.Errorf("%s: %s", value, detail)
	}
	return errors.New(detail)
}

// immutable says what to do about a field that cannot change. Deleting is never
// done here: only a person knows what goes down with the object.
func (s subject) immutable(detail string) string {
	command := fmt.Sprintf("kubectl delete %s", strings.Replace(s.ID().Resource(), "/", " ", 1))
	if s.Namespaced {
		command += " --namespace " + s.Namespace
	}
	why, way := "cannot be changed once the object exists", "restore its value, or delete the object first"
	switch s.Kind {
	case "Job":
		why, way = "of a Job cannot be changed", "give the Job another name (for example with the commit in it), set ttlSecondsAfterFinished, or delete the old Job first"
	case "StatefulSet":
		if strings.Contains(detail, "updates to statefulset") {
			why = "may change only in replicas, ordinals, template, updateStrategy, persistentVolumeClaimRetentionPolicy and minReadySeconds"
			command += " --cascade=orphan"
		}
	case "PersistentVolumeClaim", "PersistentVolume":
		return why + ": restore its value, or give the object another name and copy the data there; deleting it may delete the data with it"
	case "CustomResourceDefinition", "Namespace":
		return why + ": restore its value; deleting it deletes everything in it"
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
		return line(message), ""
	case kind != "Invalid value" && kind != "Unsupported value" && kind != "Duplicate value" && kind != "Not found" && kind != "Too long" && kind != "Too many":
		return line(message), "" // "Required value: detail", "Forbidden: detail"
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
	return line(detail), value
}

// deniedMessage is RBAC's: X is forbidden: User "U" cannot V resource "R"
// [in API group "G"] [in the namespace "N"] [at the cluster scope]…
var deniedMessage = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]*)"(?: in API group "([^"]*)")?(?: in the namespace "([^"]*)")?`)

func deniedBy(s metav1.Status) *DeniedError {
	m := deniedMessage.FindStringSubmatch(s.Message)
	if s.Code != http.StatusForbidden || m == nil {
		return nil
	}
	resource := m[3]
	if m[4] != "" {
		resource += "." + m[4]
	}
	return &DeniedError{User: m[1], Verb: m[2], Resource: resource, Namespace: m[5]}
}

// reasonForm is that of Kubernetes' reasons; else it may be a quotation as well.
var reasonForm = regexp.MustCompile(`^[A-Z][A-Za-z]{1,39}$`)

func reasonOf(s metav1.Status) string {
	if reasonForm.MatchString(string(s.Reason)) {
		return string(s.Reason)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", s.Code, http.StatusText(int(s.Code))))
}

// line makes foreign text one line of bounded length.
func line(text string) string { return redact.Line(text, maxForeign) }

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
