package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/org/deploy-model-action/pkg/object"
)

const (
	kubectlApply = "kubectl-client-side-apply"
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

// operation is that of the managedFields entry which the conflict is about.
func (c conflict) operation() string {
	if c.update {
		return updates
	}
	return applies
}

// personal reports whether a manager is a tool with which a person updates
// objects, as opposed to a controller or to another tool that deploys.
func personal(manager string) bool {
	switch manager {
	case "kubectl", "before-first-apply", "GoogleCloudConsole":
		return true
	}
	return strings.HasPrefix(manager, "kubectl-")
}

// makes reports whether a manager is a tool with which a person writes whole objects,
// so that a list of theirs was meant to be the list. The others amend.
func makes(manager string) bool {
	switch manager {
	case "kubectl-create", "kubectl-replace", "kubectl-run", "kubectl-expose", "kubectl-autoscale", "before-first-apply":
		return true
	}
	return false
}

// deploys reports whether a manager is another tool that deploys whole objects:
// who takes over from it takes over all that it left.
func deploys(manager string) bool {
	switch strings.ToLower(manager) {
	case "helm", "helm-controller", "kustomize-controller", "flux", "argocd-controller", "argocd-application-controller", "pulumi-kubernetes", "terraform":
		return true
	}
	return false
}

// byPerson reports whether a conflict is about what a person wrote by hand, so
// that the field becomes ours and nothing else.
func (c conflict) byPerson() bool {
	return c.update && personal(c.manager) && (c.subresource == "" || c.subresource == scaleSubresource)
}

// taken is what the log says when the field has become ours.
func (c conflict) taken(body map[string]any) string {
	field := fieldIn(body, c.path)
	if c.subresource == scaleSubresource && strings.HasPrefix(c.manager, "kubectl") {
		return field + " is set as the manifest says, and not any more as `kubectl scale` had set it"
	}
	return fmt.Sprintf("%s is taken over from %q, which had set it to something else", field, c.manager)
}

// lost are the fields that others hold and would not any more: those that a
// forced apply, of which answer is the dry run, takes from them.
func lost(live, answer *unstructured.Unstructured) []conflict {
	var all []conflict
	then := ownersOf(answer)
	for _, o := range ownersOf(live) {
		if o.ours() {
			continue
		}
		left := held(then, o.is)
		for path := range o.fields().Difference(left).All() {
			all = append(all, conflict{path: path.String(), manager: o.manager(), subresource: o.subresource(), update: o.operation() == updates})
		}
	}
	return all
}

// migrated names those of the tools that hold something of an object.
func migrated(all []owner, tools []tool) []string {
	var names []string
	for _, o := range all {
		if o.isOf(tools) && !slices.Contains(names, o.manager()) {
			names = append(names, o.manager())
		}
	}
	slices.Sort(names)
	return names
}

// isMigrated reports whether all that an owner holds becomes ours, conflict or
// not. What kubectl applied and the manifest no longer holds would stay for ever
// with its co-owner (kubernetes/kubernetes#99003).
func (o owner) isMigrated() bool {
	switch {
	case o.subresource() != "":
		return false
	case o.operation() == applies:
		return o.manager() == "kubectl"
	case o.manager() == kubectlApply, o.oursByUpdate():
		return true
	}
	if !personal(o.manager()) {
		return false
	}
	_, annotated := object.Map(o.entry, "fieldsV1", "f:metadata", "f:annotations")["f:"+"kubectl.kubernetes.io/last-applied-configuration"]
	return annotated
}

// isTool reports whether an owner is a person's tool that holds more than
// metadata: what it left can stand in the way of what is applied.
func (o owner) isTool() bool {
	if !personal(o.manager()) || o.subresource() != "" || o.operation() != updates {
		return false
	}
	for key := range object.Map(o.entry, "fieldsV1") {
		if key != "f:metadata" {
			return true
		}
	}
	return false
}

// tool names an owner whose fields become ours.
type tool struct{ manager, operation string }

func (o owner) tool() tool { return tool{o.manager(), o.operation()} }

// isOf reports whether an owner is one of the tools.
func (o owner) isOf(tools []tool) bool {
	return o.subresource() == "" && slices.Contains(tools, o.tool())
}

// managersPatch moves the fields of tools to us, and those of claim, whether a
// person's tool or nobody holds them; edit, which may be nil, then changes what is
// ours. It is nil if nothing changes, and holds for the resourceVersion of live only.
func managersPatch(live *unstructured.Unstructured, tools []tool, claim *fieldpath.Set, edit func(*fieldpath.Set) *fieldpath.Set) ([]byte, error) {
	all := ownersOf(live)
	at := slices.IndexFunc(all, owner.ours)
	if at < 0 {
		// Entries are in the order of their age; the newest one says best in which
		// version of the API the fields are named.
		at = slices.IndexFunc(all, func(o owner) bool { return o.isOf(tools) })
	}
	if at < 0 && !claim.Empty() {
		at = len(all)
		all = append(all, owner{map[string]any{"apiVersion": live.GetAPIVersion(), "fieldsType": "FieldsV1", "manager": object.FieldManager, "operation": applies}})
	}
	if at < 0 {
		return nil, nil
	}
	version := all[at].text("apiVersion")
	before := all[at].fields()
	// Fields of another version of the API cannot be named in ours; they are let go.
	mine := held(all, func(o owner) bool { return (o.ours() || o.isOf(tools)) && o.text("apiVersion") == version }).Union(claim)
	if edit != nil {
		mine = edit(mine)
	}
	var entries []any
	moved := !all[at].ours() || !mine.Equals(before)
	for i, o := range all {
		left := o.fields()
		switch {
		case i == at:
			left = mine
		case o.isOf(tools):
			left, moved = &fieldpath.Set{}, true
		case !claim.Empty() && claimable(o):
			left = left.Difference(claim)
		default:
			entries = append(entries, o.entry)
			continue
		}
		moved = moved || !left.Equals(o.fields())
		if left.Empty() {
			continue
		}
		entry, err := o.with(left)
		if err != nil {
			return nil, err
		}
		if i == at {
			entry["manager"], entry["operation"] = object.FieldManager, applies
		}
		entries = append(entries, entry)
	}
	if !moved {
		return nil, nil
	}
	if len(entries) == 0 {
		// An empty list means that the server is to begin anew; that it has no
		// owners any more is said by one empty entry.
		entries = []any{map[string]any{}}
	}
	return json.Marshal([]map[string]any{
		{"op": "replace", "path": "/metadata/managedFields", "value": entries},
		// "replace" and not "test": a race then is a 409, which says what it is.
		{"op": "replace", "path": "/metadata/resourceVersion", "value": live.GetResourceVersion()},
		{"op": "replace", "path": "/metadata/uid", "value": live.GetUID()},
	})
}

const (
	scaleSubresource = "scale"
	replicasPath     = ".spec.replicas"
	maxScalers       = 500 // of one namespace that are looked at
)

// scaler reports whether who wrote a field so sets it while the workload runs. A
// person who ran `kubectl scale` wrote through the same subresource, and is none.
func scaler(path, manager, subresource string) bool {
	if subresource == scaleSubresource {
		return !strings.HasPrefix(manager, "kubectl")
	}
	name := strings.ToLower(manager)
	return path == replicasPath && (strings.Contains(name, "autoscaler") || strings.Contains(name, "keda"))
}

// scaledPaths are the fields below spec that something scales, in the server's
// writing.
func scaledPaths(all []owner) map[string]string {
	paths := map[string]string{}
	for _, o := range all {
		if o.subresource() != scaleSubresource && !scaler(replicasPath, o.manager(), o.subresource()) {
			continue
		}
		for path := range o.fields().All() {
			if at := path.String(); scaler(at, o.manager(), o.subresource()) && strings.HasPrefix(at, ".spec.") {
				paths[at] = o.manager()
			}
		}
	}
	return paths
}

// keeps reports whether replicas must stay as they are although nobody wants them
// any more: those who held them let go, and the server would set them to 1.
func keeps(all []owner, tools []tool, body, live *unstructured.Unstructured) bool {
	if _, wanted := object.Map(body.Object, "spec")["replicas"]; wanted {
		return false
	}
	if _, set := object.Map(live.Object, "spec")["replicas"]; !set {
		return false
	}
	mine := func(o owner) bool { return o.ours() || o.isOf(tools) }
	path := fieldpath.MakePathOrDie("spec", "replicas")
	return held(all, mine).Has(path) && !held(all, func(o owner) bool { return !mine(o) }).Has(path)
}

// isZeroed reports whether a workload was scaled to zero, which leaves no owner of
// its replicas behind: the server does not record a number that is the zero value.
func isZeroed(live, manifest *unstructured.Unstructured) bool {
	if live == nil {
		return false
	}
	wanted, sent := fieldAt(manifest, replicasPath)
	if n, ok := fieldAt(live, replicasPath); !sent || !ok || n != int64(0) || wanted == int64(0) {
		return false
	}
	path := fieldpath.MakePathOrDie("spec", "replicas")
	return !held(ownersOf(live), func(owner) bool { return true }).Has(path)
}

// scalerOf finds the autoscaler of a workload that was scaled to zero. "" if there
// is none, or none that may be read: then a person did it, by kubectl scale.
func (w *Write) scalerOf(ctx context.Context) string {
	for _, resource := range []schema.GroupVersionResource{
		// KEDA, which scales to zero, makes one for all other numbers.
		{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
		{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"},
	} {
		list, err := call(ctx, w.client, Patience{}, func(ctx context.Context) (*unstructured.UnstructuredList, error) {
			return w.client.Objects(Resource{resource, true}, w.about.Namespace).List(ctx, metav1.ListOptions{Limit: maxScalers})
		})
		if err != nil {
			continue
		}
		for i := range list.Items {
			target := object.Map(list.Items[i].Object, "spec", "scaleTargetRef")
			kind, _ := target["kind"].(string)
			if cmp.Or(kind, "Deployment") == w.about.Kind && target["name"] == w.about.Name {
				return list.Items[i].GetKind() + " " + list.Items[i].GetName()
			}
		}
	}
	return ""
}
