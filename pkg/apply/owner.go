package apply

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
)

const (
	kubectlApply   = "kubectl-client-side-apply"
	lastApplied    = "f:kubectl.kubernetes.io/last-applied-configuration"
	scale          = "scale"
	maxManagedRead = 5 // re-reads of an object whose managers are being changed by others too
)

// conflict is a field that another manager holds.
type conflict struct {
	path        string // as the server writes it: .spec.template.spec.containers[name="c"].image
	manager     string
	subresource string // "scale" if the manager wrote through it
	update      bool   // false if the manager applies, as we do
}

// conflictsOf reads the conflicts out of a 409; nil for any other error.
func conflictsOf(err error) []conflict {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	var conflicts []conflict
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == metav1.CauseTypeFieldManagerConflict {
			c := parseConflict(cause.Message)
			c.path = cause.Field
			conflicts = append(conflicts, c)
		}
	}
	return conflicts
}

// conflictMessage is written by structured-merge-diff's conflict printer in
// apimachinery: conflict with "M" [with subresource "S"] [using V [at T]].
// Only managers that update have a "using".
var conflictMessage = regexp.MustCompile(`^conflict with ("(?:[^"\\]|\\.)*")(?: with subresource ("(?:[^"\\]|\\.)*"))?( using )?`)

func parseConflict(message string) conflict {
	m := conflictMessage.FindStringSubmatch(message)
	if m == nil {
		return conflict{manager: "another manager"}
	}
	return conflict{manager: unquoted(m[1]), subresource: unquoted(m[2]), update: m[3] != ""}
}

func unquoted(quoted string) string {
	var s string
	if json.Unmarshal([]byte(quoted), &s) != nil {
		return strings.Trim(quoted, `"`)
	}
	return s
}

// clientSide reports whether a manager is a person's tool that updates objects,
// as opposed to a controller, whose fields are never taken over unasked. Our own
// name is among them: a rollback may have updated as us.
func clientSide(manager string) bool {
	switch manager {
	case "kubectl", "before-first-apply", "helm", "Helm", "GoogleCloudConsole", FieldManager:
		return true
	}
	return strings.HasPrefix(manager, "kubectl-")
}

// autoscales reports whether a conflict is about a number of replicas that
// something else sets while the workload runs.
func (c conflict) autoscales() bool {
	if c.subresource == scale {
		return true
	}
	manager := strings.ToLower(c.manager)
	return c.path == ".spec.replicas" && (strings.Contains(manager, "autoscaler") || strings.Contains(manager, "keda"))
}

// resolve settles the conflicts that have one right answer, and returns the
// others, each as an *ObjectError.
func (r *run) resolve(it *item, conflicts []conflict) error {
	var open []error
	for _, c := range conflicts {
		switch {
		case c.autoscales() && it.drop(c.path):
			r.Log("%s: %s is left to %q, which scales it", it, strings.TrimPrefix(c.path, "."), c.manager)
		case c.update && c.subresource == "" && clientSide(c.manager):
			it.adopt(c.manager)
		default:
			open = append(open, it.at(fieldIn(it.object.Object, c.path), &ConflictError{Manager: c.manager, Subresource: c.subresource}))
		}
	}
	return errors.Join(open...)
}

func (it *item) adopt(manager string) {
	if !slices.Contains(it.csa, manager) {
		it.csa = append(it.csa, manager)
		slices.Sort(it.csa)
	}
}

// drop removes a field from what is sent. Its value stays: another manager has it.
func (it *item) drop(path string) bool {
	fields := strings.Split(strings.TrimPrefix(path, "."), ".")
	if strings.ContainsAny(path, `[]"\`) || len(fields) < 2 {
		return false
	}
	parents, last := fields[:len(fields)-1], fields[len(fields)-1]
	object := shallowAt(it.object.Object, parents...)
	parent := mapAt(object, parents...)
	if _, ok := parent[last]; !ok {
		return false
	}
	delete(parent, last)
	it.object = &unstructured.Unstructured{Object: object}
	return true
}

// inherit decides from the snapshot alone what must become ours, or stop being
// ours, although nothing conflicts.
func (r *run) inherit(it *item) {
	if it.before == nil {
		return
	}
	for _, entry := range managers(it.before) {
		name, _ := entry["manager"].(string)
		owned := mapAt(entry, "fieldsV1")
		if entry["subresource"] != nil {
			continue
		}
		switch entry["operation"] {
		case string(metav1.ManagedFieldsOperationUpdate):
			// What kubectl apply wrote, and the manifest no longer holds, would
			// stay for ever with its co-owner (kubernetes/kubernetes#99003).
			_, annotated := mapAt(owned, "f:metadata", "f:annotations")[lastApplied]
			if name == kubectlApply || name == FieldManager || annotated && clientSide(name) {
				it.adopt(name)
			}
		case string(metav1.ManagedFieldsOperationApply):
			// Replicas that were in the manifest and are now an autoscaler's must
			// not fall back to 1 because their only owner lets go of them.
			_, ours := mapAt(owned, "f:spec")["f:replicas"]
			_, still := mapAt(it.object.Object, "spec")["replicas"]
			if name == FieldManager && ours && !still && r.scaled[scaledKey(it.object.GetKind(), it.object.GetNamespace(), it.object.GetName())] {
				it.handover = true
			}
		}
	}
}

// scaled finds the workloads that something in the set scales, such as a
// HorizontalPodAutoscaler or KEDA's ScaledObject.
func scaled(items []*item) map[string]bool {
	targets := map[string]bool{}
	for _, it := range items {
		target := mapAt(it.object.Object, "spec", "scaleTargetRef")
		kind, _ := target["kind"].(string)
		if name, _ := target["name"].(string); name != "" {
			targets[scaledKey(cmp.Or(kind, "Deployment"), it.object.GetNamespace(), name)] = true
		}
	}
	return targets
}

func scaledKey(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

func managers(object *unstructured.Unstructured) []map[string]any {
	list, _ := mapAt(object.Object, "metadata")["managedFields"].([]any)
	entries := make([]map[string]any, 0, len(list))
	for _, e := range list {
		if entry, ok := e.(map[string]any); ok {
			entries = append(entries, entry)
		}
	}
	return entries
}

// ownershipPatch is the JSON patch that moves the fields of the item's
// client-side managers to us, and takes replicas from us on a handover. It is
// nil if there is nothing to move. It holds for one resourceVersion only.
func (it *item) ownershipPatch(live *unstructured.Unstructured) ([]byte, error) {
	metadata := &unstructured.Unstructured{Object: map[string]any{"metadata": mapAt(live.Object, "metadata")}}
	metadata = metadata.DeepCopy()
	before := metadata.GetManagedFields()
	if len(it.csa) > 0 {
		if err := csaupgrade.UpgradeManagedFields(metadata, sets.New(it.csa...), FieldManager); err != nil {
			return nil, fmt.Errorf("take over the fields of %s: %w", strings.Join(it.csa, ", "), err)
		}
	}
	if it.handover {
		for _, entry := range managers(metadata) {
			if entry["manager"] == FieldManager && entry["operation"] == string(metav1.ManagedFieldsOperationApply) {
				delete(mapAt(entry, "fieldsV1", "f:spec"), "f:replicas")
			}
		}
	}
	after := metadata.GetManagedFields()
	if equalManagers(before, after) {
		return nil, nil
	}
	return json.Marshal([]map[string]any{
		{"op": "replace", "path": "/metadata/managedFields", "value": after},
		// "replace" and not "test": a race then is a 409, which says what it is.
		{"op": "replace", "path": "/metadata/resourceVersion", "value": live.GetResourceVersion()},
	})
}

func equalManagers(a, b []metav1.ManagedFieldsEntry) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
