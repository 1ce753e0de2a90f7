package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/retry"
	"github.com/org/deploy-model-action/pkg/stored"
	"github.com/org/deploy-model-action/pkg/wire"
)

const (
	// goneLimit bounds the wait until a Job that has ended is gone, with its pods:
	// they have ended, too, so that only who keeps them by a finalizer takes long.
	goneLimit = time.Minute
	gonePoll  = 50 * time.Millisecond
	slowPoll  = time.Second
	// maxQuoted bounds a value in a line of the log, in runes.
	maxQuoted = 100
)

// recreating decides about a Job whose template is another one, which no write can
// change: one that has ended gives its place to the new one. asked is false for
// everything else.
func (a applying) recreating(s state, t terms) (d decision, next *question, asked bool, err error) {
	if s.live == nil || !isJob(a.Ref) {
		return d, nil, false, nil
	}
	why := "its template is another one, and that of a Job cannot be changed"
	switch {
	case s.asked.anew && s.refuse != nil:
		return d, nil, true, s.refuse
	case s.asked.anew:
		return a.anew(s, t), nil, true, nil
	case isImmutable(s.refuse):
	case a.Rerun && s.refuse == nil && jobEnd(s.live) == "failed":
		why = "it failed, and has to succeed"
	default:
		return d, nil, false, nil
	}
	if jobEnd(s.live) == "" && s.live.GetDeletionTimestamp() == nil {
		return d, nil, true, a.errorf("is still running, and its template cannot be changed: %s", a.waysOut())
	}
	return d, &question{terms: t, anew: true, why: why}, true, nil
}

// waysOut is what to do about a Job that runs.
func (a applying) waysOut() string {
	return fmt.Sprintf("wait until it has ended and run again; or end what it does (kubectl delete job %s -n %s); or give it metadata.generateName in place of metadata.name, so that each deploy makes one of its own", a.Name, a.Namespace)
}

// anew is the decision that the new Job takes the place of the one that has ended.
func (a applying) anew(s state, t terms) decision {
	d := decision{before: s.live, recreate: true, mark: marksBeside(a.body)}
	d.body = pinned(t.body(a.body), nil)
	a.mark(d.body, nil)
	how := jobEnd(s.live)
	if how == "" {
		how = "is being deleted"
	}
	d.note("the one that was there (%s) is deleted with its pods, and created anew: %s", how, s.asked.why)
	return d
}

func isJob(r Ref) bool { return r.Group == "batch" && r.Kind == "Job" }

// jobEnd is how a Job ended; "" if it has not.
func jobEnd(u *unstructured.Unstructured) string {
	for kind, how := range map[string]string{"Complete": "complete", "Failed": "failed"} {
		if c, ok := object.ConditionOf(u, kind); ok && c.Status == "True" {
			return how
		}
	}
	return ""
}

// isImmutable reports whether a write was refused for changing what nobody can change.
func isImmutable(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || !apierrors.IsInvalid(err) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool {
		return strings.Contains(c.Message, "field is immutable")
	})
}

// askAnew makes a dry run of the creation under another name: that of the object is taken.
func (w *Write) askAnew(ctx context.Context, q question) (*unstructured.Unstructured, error) {
	return w.askCreate(wire.About(ctx, w.about.ID()), q.body(w.about.body), metav1.FieldValidationStrict)
}

func (w *Write) askCreate(ctx context.Context, body *unstructured.Unstructured, validation string) (*unstructured.Unstructured, error) {
	body = &unstructured.Unstructured{Object: shallowAt(body.Object, "metadata")}
	body.SetGenerateName(w.about.Name[:min(len(w.about.Name), 50)] + "-")
	body.SetName("")
	return call(ctx, w.client, w.options.patience(w.about.Ref, true, false), func(ctx context.Context) (*unstructured.Unstructured, error) {
		return w.client.Objects(w.about.Resource, w.about.Namespace).Create(ctx, body, metav1.CreateOptions{
			FieldManager: object.FieldManager, FieldValidation: validation, DryRun: []string{metav1.DryRunAll},
		})
	})
}

// askDefaults asks what the server makes of what was written of the object before,
// and of what is now, if there were none. What it does not answer is not known.
func (w *Write) askDefaults(ctx context.Context, s *state) {
	s.was, s.will = nil, nil
	before := earlier(s.live, s.live, s.asked.mine(s.live))
	ctx = wire.Quiet(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		defer fault.Catch(ctx)
		s.was, _ = w.askCreate(ctx, unallocated(before), metav1.FieldValidationIgnore)
	})
	s.will, _ = w.askCreate(ctx, unallocated(s.asked.body(w.about.body)), metav1.FieldValidationIgnore)
	group.Wait()
}

// unallocated is a Service without what only one Service can have, and any other
// object as it is.
func unallocated(u *unstructured.Unstructured) *unstructured.Unstructured {
	spec := object.Map(u.Object, "spec")
	if u.GroupVersionKind().GroupKind() != (schema.GroupKind{Kind: "Service"}) || spec == nil {
		return u
	}
	spec = maps.Clone(spec)
	if spec["clusterIP"] != "None" {
		delete(spec, "clusterIP")
		delete(spec, "clusterIPs")
	}
	delete(spec, "healthCheckNodePort")
	ports, _ := spec["ports"].([]any)
	ports = slices.Clone(ports)
	for i, p := range ports {
		if port, ok := p.(map[string]any); ok {
			port = maps.Clone(port)
			delete(port, "nodePort")
			ports[i] = port
		}
	}
	if ports != nil {
		spec["ports"] = ports
	}
	out := &unstructured.Unstructured{Object: maps.Clone(u.Object)}
	out.Object["spec"] = spec
	return out
}

// leaving is what was held and is not in the manifest any more.
func (a applying) leaving(s state, t terms) *fieldpath.Set {
	left, body := &fieldpath.Set{}, t.body(a.body).Object
	for path := range t.mine(s.live).All() {
		last := path[len(path)-1].FieldName
		if _, ok := stored.At(body, path); !ok && (last == nil || !object.IsMark(*last)) && path.String() != replicasPath {
			left.Insert(path)
		}
	}
	return left
}

// rederives reports whether it has to be asked what the server makes of the manifest
// by itself: of what it makes of a field that nobody writes it keeps no account, and
// goes on with it when the manifest is another one.
func (a applying) rederives(s state, t terms, left *fieldpath.Set) bool {
	switch s.live.GetKind() {
	case "ConfigMap", "Secret", "Namespace", "CustomResourceDefinition", "APIService": // they have none, or cannot have another name
		return false
	}
	if s.answer != nil && equalBut(s.live.Object, s.answer.Object, "metadata", "status") && left.Empty() {
		return false
	}
	mine := t.mine(s.live)
	return !mine.Empty() && rewritten("", trimmed(earlier(s.live, s.live, mine)), trimmed(t.body(a.body)))
}

// trimmed is an object without that on which no default depends.
func trimmed(u *unstructured.Unstructured) any {
	out := maps.Clone(u.Object)
	delete(out, "metadata")
	delete(out, "status")
	if spec, ok := out["spec"].(map[string]any); ok {
		spec = maps.Clone(spec)
		delete(spec, "replicas")
		out["spec"] = spec
	}
	return out
}

// rewritten reports whether two manifests differ in what a default may depend on. Of
// an image that is only whether it is called latest.
func rewritten(name string, a, b any) bool {
	x, isMap := a.(map[string]any)
	y, both := b.(map[string]any)
	if isMap && both {
		if len(x) != len(y) {
			return true
		}
		for key, v := range x {
			other, ok := y[key]
			if !ok || rewritten(key, v, other) {
				return true
			}
		}
		return false
	}
	list, isList := a.([]any)
	second, both := b.([]any)
	if isList && both {
		return !slices.EqualFunc(list, second, func(v, other any) bool { return !rewritten("", v, other) })
	}
	was, isText := a.(string)
	is, both := b.(string)
	if name == "image" && isText && both {
		return latest(was) != latest(is)
	}
	return !equality.Semantic.DeepEqual(a, b)
}

// latest reports whether an image is named without a tag, or as latest, which has a
// default of its own: it is pulled whenever a pod starts.
func latest(image string) bool {
	name, _, pinned := strings.Cut(image, "@")
	_, tag, tagged := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	return tag == "latest" || !tagged && !pinned
}

// stale are the defaults of what was written before. Who creates an object with a
// tool of a person's is recorded as the owner of its defaults, too.
func (a applying) stale(s state, t terms) *fieldpath.Set {
	return stored.Defaults{
		Before: s.was.Object, Now: s.will.Object, Manifest: t.body(a.body).Object,
		Owned: held(ownersOf(s.live), func(o owner) bool { return !makes(o.manager()) }),
	}.Stale(s.live.Object)
}

// stuck are the fields that the manifest does not hold any more and that would stay
// as they are, though an object made anew would have them otherwise. The server keeps
// what it once gave away, such as an address: that does no harm.
func (a applying) stuck(s state, t terms) error {
	if s.live == nil || s.will == nil || s.answer == nil || s.asked.merged == nil && len(t.migrate) > 0 {
		return nil // what is migrated goes with the write
	}
	var all []error
	others := held(ownersOf(s.live), func(o owner) bool { return !o.ours() && !o.isOf(t.migrate) })
	for path := range a.leaving(s, t).Leaves().All() {
		was, _ := stored.At(s.live.Object, path)
		is, _ := stored.At(s.answer.Object, path)
		will, _ := stored.At(s.will.Object, path)
		if path[0].FieldName != nil && *path[0].FieldName == "metadata" {
			continue
		}
		if stored.IsValue(is) && is == was && is != will && !others.Has(path) && !allocated(path, is) {
			all = append(all, a.at(strings.TrimPrefix(path.String(), "."), errors.New("is not in the manifest any more, and "+a.immutable(""))))
		}
	}
	return errors.Join(all...)
}

// allocated reports whether a field has what the server gives away, and keeps.
func allocated(path fieldpath.Path, v any) bool {
	for _, pe := range path {
		if pe.FieldName == nil {
			continue
		}
		switch *pe.FieldName {
		case "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "nodePort", "healthCheckNodePort", "volumeName", "storageClassName":
			return v != "None"
		}
	}
	return false
}

// otherwise are the fields that would not be stored as the manifest has them: the
// server, or who is asked for admission, wants them otherwise, as Autopilot does.
func (a applying) otherwise(s state, t terms) []string {
	if s.answer == nil {
		return nil
	}
	var notes []string
	for _, d := range stored.Written(t.body(a.body).Object, s.answer.Object) {
		switch {
		case a.secret():
			notes = append(notes, d.Path+" is not stored as the manifest has it: the server, or an admission webhook, changes it")
		case d.Absent:
			notes = append(notes, d.Path+" is not stored: the server, or an admission webhook, leaves it out")
		default:
			notes = append(notes, fmt.Sprintf("%s is stored as %s, and not as %s: the server, or an admission webhook, changes it", d.Path, quoted(d.Got), quoted(d.Want)))
		}
	}
	return notes
}

// quoted is a value as a line of the log shows it.
func quoted(v any) string { return redact.Line(literal(v), maxQuoted) }

// lostError is what kept an object from being created anew that is deleted.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }

// recreate deletes the object with its pods, waits until they are gone, and creates
// it anew. Whoever dies in between leaves nothing, of which the next run makes one.
func (w *Write) recreate(ctx context.Context, d decision) (*unstructured.Unstructured, error) {
	uid, version, policy := d.before.GetUID(), d.before.GetResourceVersion(), metav1.DeletePropagationForeground
	err := w.client.Delete(ctx, w.about.Ref, metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}})
	if err != nil {
		return nil, err
	}
	if err := w.gone(ctx, d.before); err != nil {
		return nil, err
	}
	d.recreate = false
	after, err := w.commit(ctx, d)
	if err != nil && !apierrors.IsConflict(err) && !errors.Is(err, ErrUncertain) {
		err = &lostError{err}
	}
	return after, err
}

// gone waits until an object is not there any more.
func (w *Write) gone(ctx context.Context, before *unstructured.Unstructured) error {
	deadline := time.Now().Add(goneLimit)
	for pause := gonePoll; ; pause = min(2*pause, slowPoll) {
		live, err := w.get(ctx, w.client)
		switch {
		case err != nil:
			return &uncertainError{err} // it is deleted, and nothing is in its place
		case live == nil || live.GetUID() != before.GetUID():
			return nil
		case time.Now().After(deadline):
			return &lostError{w.about.errorf("the one that has ended was deleted, and is still there after %s: find out what keeps its pods (kubectl get pods -n %s -l job-name=%s), and run again", goneLimit, w.about.Namespace, w.about.Name)}
		}
		if err := retry.Sleep(ctx, pause); err != nil {
			return &uncertainError{err}
		}
	}
}
