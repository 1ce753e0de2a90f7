package kube

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/stored"
)

// state is all that a decision about one object rests on, read at one
// resourceVersion.
type state struct {
	live   *unstructured.Unstructured // nil: it does not exist
	asked  question
	answer *unstructured.Unstructured // of the dry run; nil if it was refused
	refuse error                      // why
	scaler string                     // the autoscaler of a workload that was scaled to zero; "" for none

	// What the server would make of the object as it was written, and as it is
	// written now, if there were none; nil if that was not asked, or not answered.
	was, will *unstructured.Unstructured
}

// question is what a dry run is of.
type question struct {
	terms
	// merged asks for the object as migration and apply together will leave it,
	// instead of the apply.
	merged *unstructured.Unstructured
	tools  bool // merged takes all tools of persons over
	// config asks for the apply of something else than the manifest; lenient lets
	// fields pass that its kind does not have any more.
	config  *unstructured.Unstructured
	lenient bool
	// anew asks for the creation of an object that is there and has to go for it, and
	// why says why.
	anew bool
	why  string
	// defaults asks beside that what the server makes of what was written before, and
	// of what is now.
	defaults bool
	// accepted is the answer to the apply, if merged is asked for another reason than
	// that it was refused.
	accepted *unstructured.Unstructured
}

// terms are on what an object is written that others write, too.
type terms struct {
	yield   map[string]string // fields that are not sent, and to whom they are left
	migrate []tool            // whose fields become ours first
	take    []conflict        // fields that become ours by force
	claim   claim             // fields that become ours first, so that the apply takes them away
	force   bool              // the dry run has to override what the write will find settled
	kept    []string          // marks of the templates of its pods, as it has them: to leave one out replaces the pods
}

// decision is what to send; its zero value is: nothing.
type decision struct {
	before   *unstructured.Unstructured // the object that it was decided on; nil: there is none
	managers []byte                     // a patch of managedFields, which goes first
	body     *unstructured.Unstructured // what to apply
	whole    *unstructured.Unstructured // what to apply if it has to be for another reason
	force    bool                       // take is all that it conflicts with
	lenient  bool                       // let pass fields that the kind does not have any more
	replace  bool                       // body replaces the object, which an apply could not do
	recreate bool                       // the object is deleted, and body creates it anew
	own      *fieldpath.Set             // what is ours after a replace
	fallback *unstructured.Unstructured // what to apply where a replace is not allowed
	fence    bool                       // body changes nothing but its version and mark
	expected *unstructured.Unstructured // what the server says that it will be; nil if it was not asked
	mark     func(string) bool          // annotations that do not count in a comparison
	moved    []string                   // for the log, once managers is done
	notes    []string                   // for the log, once all is done
	restarts []string                   // of what the pods read, what is new to them
	migrate  []tool                     // whose fields managers makes ours
}

// pending reports whether there is something to send.
func (d decision) pending() bool { return d.managers != nil || d.body != nil }

func (d *decision) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

// applying decides what a manifest's object needs. It is pure.
type applying struct {
	subject // body is what the manifest holds
	WriteOptions
}

func (a applying) first() (question, bool) { return question{}, true }

// decide says what to send, or what has to be asked before that can be said.
func (a applying) decide(s state) (decision, *question, error) {
	if s.live != nil && s.live.GetDeletionTimestamp() != nil && a.Kind == "Namespace" {
		// Nothing can be created in it, and what is there is deleted soon.
		return decision{}, nil, a.errorf("is being deleted: wait until it is gone and run again, or deploy to another namespace")
	}
	t, err := a.agree(s)
	if err != nil {
		return decision{}, nil, err
	}
	if len(conflictsOf(s.refuse)) > 0 || len(t.yield) != len(s.asked.yield) || !slices.Equal(t.kept, s.asked.kept) {
		return decision{}, &question{terms: t}, nil
	}
	if d, next, asked, err := a.recreating(s, t); asked {
		return d, next, err
	}
	if next, err := a.claiming(&s, &t); next != nil || err != nil {
		return decision{}, next, err
	}
	if s.refuse != nil {
		switch next, ok := a.asMigrated(s, t); {
		case a.inconclusive(s.refuse):
			// Only the write itself can tell.
		case ok:
			return decision{}, next, nil
		default:
			return decision{}, nil, s.refuse
		}
	}
	if err := a.stuck(s, t); err != nil {
		return decision{}, nil, err
	}
	notes := a.otherwise(s, t)
	if s.asked.merged != nil {
		s.answer = nil // of another request than the one that will be sent
	}
	d, err := a.settled(s, t)
	d.notes = append(d.notes, notes...)
	return d, nil, err
}

// agree settles who has which field: by what is recorded on the object, and by
// the conflicts that the server named. What has no right answer is an error for
// each field.
func (a applying) agree(s state) (terms, error) {
	t := terms{yield: maps.Clone(s.asked.yield), migrate: slices.Clone(s.asked.migrate), take: slices.Clone(s.asked.take), claim: s.asked.claim, force: s.asked.force, kept: templateMarks(a.body, s.live)}
	if t.yield == nil {
		t.yield = map[string]string{}
	}
	all := ownersOf(s.live)
	migrate := func(m tool) {
		if !slices.Contains(t.migrate, m) {
			t.migrate = append(t.migrate, m)
		}
	}
	for _, o := range all {
		// What is ours twice is only in the way when the manifest lets it go.
		twice := o.oursByUpdate() && o.fields().Difference(held(all, owner.ours)).Empty() && a.writes(o.fields())
		if o.isMigrated() && !twice {
			migrate(o.tool())
		}
	}
	for path, by := range scaledPaths(all) {
		if _, sent := fieldAt(a.body, path); sent {
			t.yield[path] = by
		}
	}
	if _, sent := fieldAt(a.body, replicasPath); sent && s.scaler != "" {
		t.yield[replicasPath] = s.scaler
	}
	conflicts := conflictsOf(s.refuse)
	if s.asked.force && s.answer != nil && s.asked.merged == nil && !s.asked.anew {
		// What others lose by it is known exactly now, whoever wrote meanwhile.
		conflicts, t.take = lost(s.live, s.answer), nil
	}
	var open []error
	for _, c := range conflicts {
		_, sent := fieldAt(a.body, c.path)
		whose := tool{c.manager, c.operation()}
		switch {
		case sent && scaler(c.path, c.manager, c.subresource):
			t.yield[c.path] = c.manager
		case c.subresource == "" && (slices.Contains(t.migrate, whose) || whose == tool{object.FieldManager, updates}):
			t.force = true
		case c.subresource == "" && a.Force && deploys(c.manager):
			migrate(whose)
			t.force = true
		case c.byPerson(), a.Force:
			t.take, t.force = append(t.take, c), true
		default:
			open = append(open, a.at(fieldIn(a.body.Object, c.path), &ConflictError{Manager: c.manager, Subresource: c.subresource}))
		}
	}
	return t, errors.Join(open...)
}

// writes reports whether a manifest holds all fields of a set.
func (a applying) writes(set *fieldpath.Set) bool {
	for path := range set.All() {
		if _, ok := stored.At(a.body.Object, path); !ok {
			return false
		}
	}
	return true
}

// settled makes the decision when all is known.
func (a applying) settled(s state, t terms) (decision, error) {
	body := t.body(a.body)
	beside := marksBeside(a.body)
	d := decision{before: s.live, expected: a.expected(s), mark: beside, migrate: t.migrate}
	for _, path := range slices.Sorted(maps.Keys(t.yield)) {
		d.note("%s is left to %q, which scales it", strings.TrimPrefix(path, "."), t.yield[path])
	}
	if s.live != nil {
		kept := keeps(ownersOf(s.live), t.migrate, body, s.live)
		patch, err := managersPatch(s.live, t.migrate, t.claim.all(), func(mine *fieldpath.Set) *fieldpath.Set {
			if kept {
				mine = mine.Difference(fieldpath.NewSet(fieldpath.MakePathOrDie("spec", "replicas")))
			}
			return mine
		})
		if err != nil {
			return decision{}, a.errorf("managedFields: %w", err)
		}
		d.managers = patch
		if kept {
			d.moved = append(d.moved, "spec.replicas stays as it is: the manifest does not hold it any more")
		}
		if names := migrated(ownersOf(s.live), t.migrate); len(names) > 0 {
			d.moved = append(d.moved, fmt.Sprintf("fields that %s set are now managed by %s", strings.Join(names, ", "), object.FieldManager))
		}
	}
	for _, c := range t.take {
		d.note("%s", c.taken(a.body.Object))
	}
	d.notes = append(d.notes, t.claim.notes...)
	unchanged := s.live != nil && d.managers == nil && s.answer != nil && len(t.take) == 0 && a.unchanged(s.live, s.answer, beside)
	d.whole = pinned(body, s.live)
	d.force = a.mark(d.whole, s.live) || len(t.take) > 0 || slices.ContainsFunc(ownersOf(s.live), owner.oursByUpdate)
	a.stamp(&d, s, t)
	if d.fence = unchanged && a.Fence; !unchanged || a.Fence {
		d.body = d.whole
	}
	return d, nil
}

// expected is what the object is recognised by if nobody says whether the write
// was done; nil if its mark says it, which is of many objects a lot of memory.
func (a applying) expected(s state) *unstructured.Unstructured {
	if s.answer == nil || a.Mark.Run != "" && runOf(s.live) != a.Mark.Run {
		return nil
	}
	out := &unstructured.Unstructured{Object: shallowAt(s.answer.Object, "metadata")}
	delete(object.Map(out.Object, "metadata"), "managedFields")
	return out
}

// unchanged reports whether the apply would change nothing. A status that others
// write all the time can keep live and answer from being of one version.
func (a applying) unchanged(live, answer *unstructured.Unstructured, beside func(string) bool) bool {
	if live.GetResourceVersion() == answer.GetResourceVersion() {
		return same(live.Object, answer.Object, beside)
	}
	return live.GetUID() == answer.GetUID() && sameButStatus(live.Object, answer.Object, beside)
}

// mark writes the run's marks on what is sent, and reports whether force is
// needed for it. What the manifest says itself is not replaced, nor what another
// tool keeps there.
func (a applying) mark(body, live *unstructured.Unstructured) (force bool) {
	marks := a.Mark.Annotations()
	annotations := maps.Clone(object.Map(body.Object, "metadata", "annotations"))
	if annotations == nil {
		annotations = map[string]any{}
	}
	for key, v := range marks {
		if _, own := annotations[key]; own {
			continue
		}
		holder := markedBy(live, key)
		if holder != "" && !personal(holder) && !a.Force {
			continue
		}
		force = force || holder != ""
		annotations[key] = v
	}
	if len(annotations) > 0 {
		object.Map(body.Object, "metadata")["annotations"] = annotations
	}
	return force
}

// markedBy is who else holds an annotation; "" for nobody.
func markedBy(live *unstructured.Unstructured, annotation string) string {
	for _, o := range ownersOf(live) {
		_, holds := object.Map(o.entry, "fieldsV1", "f:metadata", "f:annotations")["f:"+annotation]
		if holds && o.manager() != object.FieldManager {
			return o.manager()
		}
	}
	return ""
}

// inconclusive reports whether a dry run was refused for a reason that lies not
// in the object: it needs something that the set brings, or a webhook cannot do
// dry runs. The write will tell.
func (a applying) inconclusive(err error) bool {
	if undryable(err) {
		return true
	}
	var status apierrors.APIStatus
	return errors.As(err, &status) && a.inSet(missing(status.Status(), a.Namespace))
}

// asMigrated is what to ask about an object that the dry run refused. What tools
// of persons own goes with the migration, which only a write can do, so until
// then the server judges the manifest's fields beside theirs: a port whose number
// changes and whose name does not is there twice. Such an object is asked for once
// more, as it will be; only if that is refused too, it is the manifest that is wrong.
func (a applying) asMigrated(s state, t terms) (*question, bool) {
	if s.live == nil || !isAdmission(s.refuse) || s.asked.tools {
		return nil, false
	}
	q := question{terms: t, tools: s.asked.merged != nil}
	if len(t.migrate) == 0 {
		q.tools = true
	}
	if q.tools {
		before := len(q.migrate)
		for _, o := range ownersOf(s.live) {
			if o.isTool() && !slices.Contains(q.migrate, o.tool()) {
				q.migrate = append(q.migrate, o.tool())
			}
		}
		if len(q.migrate) == before {
			return nil, false
		}
	}
	q.merged = t.asMigrated(s.live, a.body, q.migrate)
	return &q, true
}

// isAdmission reports whether a refusal is about what the object would be, and
// not about the patch's form, the user or the server.
func isAdmission(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	return s.Code == http.StatusUnprocessableEntity ||
		s.Code == http.StatusForbidden && deniedBy(s) == nil ||
		webhookDenied.MatchString(s.Message) || portTaken(err)
}
