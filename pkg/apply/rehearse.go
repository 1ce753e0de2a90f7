package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// rehearse is the dry run, with the conflicts settled that can be. It returns
// nil when nothing can be learned before the write.
func (r *run) rehearse(ctx context.Context, it *item) (*unstructured.Unstructured, error) {
	dry, err := r.patch(ctx, it, true, false)
	if conflicts := conflictsOf(err); len(conflicts) > 0 {
		if err := r.resolve(it, conflicts); err != nil {
			return nil, err
		}
		// Managers are migrated by a write, which must not happen yet: forced,
		// the dry run judges everything else.
		dry, err = r.patch(ctx, it, true, len(it.csa) > 0)
	}
	if err != nil && r.excused(it, err) {
		it.unchecked = true
		return nil, nil
	}
	return dry, err
}

// reconsider is for an object that the dry run refused. What client-side tools
// own goes with the migration, which only a write can do, so until then the
// server judges the manifest's fields beside theirs: a port whose number changes
// and whose name does not is there twice. Such an object is judged once more, as
// it will be; only if that is refused too, it is the manifest that is wrong.
func (r *run) reconsider(ctx context.Context, it *item, refusal error) error {
	if it.before == nil || !judged(refusal) {
		return refusal
	}
	for _, all := range []bool{false, true} {
		if all && !it.adoptTools() {
			break
		}
		if len(it.csa) == 0 {
			continue
		}
		_, err := r.rehearseMigrated(ctx, it)
		if err == nil || r.excused(it, err) {
			return nil
		}
		if refusal = err; !judged(err) {
			break
		}
	}
	return refusal
}

// judged reports whether a refusal is about what the object would be, and not
// about the patch's form, the user or the server.
func judged(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	return s.Code == http.StatusUnprocessableEntity ||
		s.Code == http.StatusForbidden && forbiddenFrom(s) == nil ||
		webhookDenied.MatchString(s.Message) || portTaken(err)
}

// portTaken recognises the one judgement of a Service that comes as a 500.
func portTaken(err error) bool { return strings.Contains(err.Error(), "duplicate nodePort") }

// adoptTools adopts all client-side tools that own more than metadata, not only
// those whose leftovers would never go otherwise. It reports whether any is new.
func (it *item) adoptTools() bool {
	n := len(it.csa)
	for _, entry := range managers(it.before) {
		name, _ := entry["manager"].(string)
		if !clientSide(name) || entry["subresource"] != nil || entry["operation"] != string(metav1.ManagedFieldsOperationUpdate) {
			continue
		}
		for key := range mapAt(entry, "fieldsV1") {
			if key != "f:metadata" {
				it.adopt(name)
			}
		}
	}
	return len(it.csa) > n
}

// rehearseMigrated is the dry run of the object as migration and apply together
// will leave it. An apply cannot play that: it knows no owners but those stored.
// A merge patch is judged by the same defaults, admission and validation.
func (r *run) rehearseMigrated(ctx context.Context, it *item) (*unstructured.Unstructured, error) {
	options := metav1.PatchOptions{FieldManager: FieldManager, FieldValidation: metav1.FieldValidationStrict, DryRun: []string{metav1.DryRunAll}}
	return retry(ctx, r, r.patience(it, true), func(ctx context.Context) (*unstructured.Unstructured, error) {
		body, err := json.Marshal(it.migrated())
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		return r.at(it).Patch(ctx, it.object.GetName(), types.MergePatchType, body, options)
	})
}

// migrated is the manifest with null for each field that it does not hold and
// nobody owns but us and those whose fields become ours. Lists are whole in a
// merge patch: items that others added to one of the manifest's are not in it.
func (it *item) migrated() map[string]any {
	var ours, others []map[string]any
	for _, entry := range managers(it.before) {
		name, _ := entry["manager"].(string)
		owned := mapAt(entry, "fieldsV1")
		applied := entry["operation"] == string(metav1.ManagedFieldsOperationApply)
		switch {
		case entry["subresource"] == nil && (applied && name == FieldManager || !applied && slices.Contains(it.csa, name)):
			ours = append(ours, owned)
		default:
			others = append(others, owned)
		}
	}
	object := it.object.Object
	for _, owned := range ours {
		object = without(object, it.before.Object, owned, others)
	}
	return object
}

// without returns what is wanted, with null for what is owned beside it.
func without(wanted, live, owned map[string]any, others []map[string]any) map[string]any {
	out := make(map[string]any, len(wanted))
	maps.Copy(out, wanted)
	for key, below := range owned {
		name, field := strings.CutPrefix(key, "f:")
		value, exists := live[name]
		if !field || !exists {
			continue // an item of a list; or a field of another version of the kind
		}
		fields, shared := mapOf(below), sharedAt(others, key)
		child, isMap := value.(map[string]any)
		want, held := out[name]
		if held {
			switch want, ok := want.(map[string]any); {
			case !ok || !isMap:
			case len(fields) == 0 && len(shared) == 0:
				out[name] = instead(want, child) // atomic, such as a selector
			default:
				out[name] = without(want, child, fields, shared)
			}
			continue
		}
		_, whole := fields["."]
		switch {
		case len(shared) == 0 && (whole || !isMap || len(fields) == 0):
			out[name] = nil
		case isMap:
			out[name] = without(nil, child, fields, shared)
		}
	}
	return out
}

// instead returns what is wanted, with null for everything else that is there.
func instead(wanted, live map[string]any) map[string]any {
	out := maps.Clone(wanted)
	for name, value := range live {
		want, held := wanted[name]
		child, isMap := value.(map[string]any)
		if nested, ok := want.(map[string]any); ok && isMap {
			out[name] = instead(nested, child)
		} else if !held {
			out[name] = nil
		}
	}
	return out
}

// sharedAt is what other managers own at and below a field.
func sharedAt(others []map[string]any, key string) []map[string]any {
	var shared []map[string]any
	for _, fields := range others {
		if below, ok := fields[key]; ok {
			shared = append(shared, mapOf(below))
		}
	}
	return shared
}
