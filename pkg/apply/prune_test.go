package apply

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// leftover is one that a run of this release applied, and that has not changed since.
func leftover(group, kind, name string, change ...func(*Leftover)) Leftover {
	ref := kube.Ref{Kind: kind, Namespace: "models", Name: name}
	ref.Group, ref.Namespaced = group, true
	live := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"managedFields": []any{
		map[string]any{"manager": "deploy-model-action", "operation": "Apply", "fieldsV1": map[string]any{}},
		map[string]any{"manager": "kube-controller-manager", "operation": "Update", "subresource": "status"},
	}}}}
	live.SetUID("1")
	live.SetAnnotations(map[string]string{object.RunAnnotation: "own"})
	l := Leftover{Listed: Listed{ID: ref.ID(), UID: "1"}, Ref: ref, Live: live}
	for _, f := range change {
		f(&l)
	}
	return l
}

func annotated(key, value string) func(*Leftover) {
	return func(l *Leftover) {
		all := l.Live.GetAnnotations()
		all[key] = value
		l.Live.SetAnnotations(all)
	}
}

func appliedBy(manager, operation string) func(*Leftover) {
	return func(l *Leftover) {
		l.Live.SetManagedFields(append(l.Live.GetManagedFields(), metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationType(operation)}))
	}
}

func TestPrunable(t *testing.T) {
	t.Parallel()
	rules := PruneRules{
		Kept:   map[types.UID]bool{"kept": true},
		Author: func(run string) (own, foreign bool) { return run == "own", run == "other" },
		Others: map[object.ID]string{{Kind: "Service", Namespace: "models", Name: "shared"}: "b"},
	}
	const stays, goes, forgotten = "stays", "goes", "is forgotten"
	for _, c := range []struct {
		name string
		of   Leftover
		want string
		why  string
	}{
		{"as it was applied", leftover("", "Service", "a"), goes, ""},
		{"a custom resource", leftover("serving.kserve.io", "InferenceService", "a"), goes, ""},
		{"a run that is forgotten", leftover("", "Service", "a", annotated(object.RunAnnotation, "old")), goes, ""},
		{"no mark", leftover("", "Service", "a", func(l *Leftover) { l.Live.SetAnnotations(nil) }), goes, ""},
		{"edited and scaled by hand", leftover("apps", "Deployment", "a", appliedBy("kubectl-edit", "Update"), appliedBy("kubectl", "Update")), goes, ""},
		{"touched by a controller", leftover("", "Service", "a", appliedBy("glbc", "Update"), appliedBy("operator", "Apply")), goes, ""},
		{"not there", leftover("", "Service", "a", func(l *Leftover) { l.Live = nil }), forgotten, ""},
		{"the same by another name", leftover("extensions", "Ingress", "a", func(l *Leftover) { l.Live.SetUID("kept"); l.UID = "kept" }), forgotten, ""},
		{"created anew", leftover("", "Service", "a", func(l *Leftover) { l.Live.SetUID("2") }), forgotten, "somebody has created it anew since a deploy applied it; delete it by hand if nobody needs it: kubectl delete service a -n models"},
		{"never applied", leftover("", "Service", "a", func(l *Leftover) { l.Live.SetManagedFields(nil) }), forgotten, "no deploy has applied it"},
		{"put back as it was before us", leftover("", "Service", "a", func(l *Leftover) { l.Found = true }), forgotten, "it was there before, and no deploy that applied it has been verified"},
		{"restored to what it was before us", leftover("", "Service", "a", func(l *Leftover) {
			l.Live.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "deploy-model-action", Operation: "Update"}})
		}), forgotten, "no deploy has applied it"},
		{"another's run", leftover("", "Service", "a", annotated(object.RunAnnotation, "other")), forgotten, "run other, which is none of this release"},
		{"of a run that was killed", leftover("", "Service", "a", func(l *Leftover) { l.UID = "" }), goes, ""},
		{"nobody knows whose", leftover("", "Service", "a", func(l *Leftover) { l.UID = "" }, annotated(object.RunAnnotation, "old")), forgotten, "whether a deploy of this release created it is not known"},
		{"nobody knows whose, without a mark", leftover("", "Service", "a", func(l *Leftover) { l.UID = "" }, annotated(object.RunAnnotation, "")), forgotten, "whether a deploy"},
		{"kubectl applies it since", leftover("", "Service", "a", appliedBy("kubectl-client-side-apply", "Update")), forgotten, `"kubectl-client-side-apply" applies it, too`},
		{"kubectl --server-side", leftover("", "Service", "a", appliedBy("kubectl", "Apply")), forgotten, `"kubectl" applies it, too`},
		{"Argo CD", leftover("", "Service", "a", appliedBy("argocd-controller", "Apply")), forgotten, `"argocd-controller" applies it, too`},
		{"Helm", leftover("", "Service", "a", appliedBy("helm", "Update")), forgotten, `"helm" applies it, too`},
		{"owned", leftover("apps", "Deployment", "a", func(l *Leftover) {
			l.Live.SetOwnerReferences([]metav1.OwnerReference{{Kind: "InferenceService", Name: "x"}})
		}), forgotten, "InferenceService x owns it"},
		{"being deleted", leftover("", "Service", "a", func(l *Leftover) { now := metav1.Now(); l.Live.SetDeletionTimestamp(&now) }), stays, "it is being deleted already"},
		{"another release's", leftover("", "Service", "shared"), stays, "release b holds it, too"},
		{"another release's, and named by hand", leftover("", "Service", "shared", annotated(object.PruneAnnotation, "true")), stays, "release b holds it, too"},
		{"annotated", leftover("", "Service", "a", annotated(object.PruneAnnotation, "false")), stays, "deploy-model-action/prune says so"},
		{"annotated wrongly", leftover("", "Service", "a", annotated(object.PruneAnnotation, "no")), stays, "deploy-model-action/prune says so"},
		{"annotated, and created anew", leftover("", "Service", "a", annotated(object.PruneAnnotation, "true"), func(l *Leftover) { l.Live.SetUID("2") }), forgotten, "somebody has created it anew"},
		{"a claim", leftover("", "PersistentVolumeClaim", "a"), stays, `a PersistentVolumeClaim is deleted only where deploy-model-action/prune: "true" names it`},
		{"a claim that is named", leftover("", "PersistentVolumeClaim", "a", annotated(object.PruneAnnotation, "true")), goes, ""},
		{"a namespace", leftover("", "Namespace", "a"), stays, "a Namespace is deleted only"},
		{"a volume", leftover("", "PersistentVolume", "a"), stays, "a PersistentVolume is deleted only"},
		{"a definition", leftover("apiextensions.k8s.io", "CustomResourceDefinition", "a"), stays, "a CustomResourceDefinition is deleted only"},
		{"a definition that is named", leftover("apiextensions.k8s.io", "CustomResourceDefinition", "a", annotated(object.PruneAnnotation, "true")), goes, ""},
		{"a snapshot", leftover("snapshot.storage.k8s.io", "VolumeSnapshot", "a"), stays, "a VolumeSnapshot is deleted only"},
		{"a bucket of Google Cloud", leftover("storage.cnrm.cloud.google.com", "StorageBucket", "a"), stays, "a StorageBucket is deleted only"},
		{"a class of storage", leftover("storage.k8s.io", "StorageClass", "a"), goes, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := Prunable([]Leftover{c.of}, rules)[0]
			got := stays
			switch {
			case f.Prune && f.Forget:
				t.Error("it goes and is forgotten")
			case f.Prune:
				got = goes
			case f.Forget:
				got = forgotten
			}
			if got != c.want || !strings.HasPrefix(f.Why, c.why) || c.why == "" && f.Why != "" {
				t.Errorf("it %s: %q", got, f.Why)
			}
		})
	}
}

// What is deleted goes before what it was applied after.
func TestPrunableIsInTheOppositeOrder(t *testing.T) {
	t.Parallel()
	var found []Leftover
	for _, kind := range []schema.GroupKind{
		{Kind: "ConfigMap"},
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"},
		{Group: "apps", Kind: "Deployment"},
		{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"},
		{Kind: "Service"},
	} {
		found = append(found, leftover(kind.Group, kind.Kind, "x"))
	}
	var got []string
	for _, f := range Prunable(found, PruneRules{}) {
		got = append(got, f.Kind)
	}
	if diff := cmp.Diff([]string{"ValidatingWebhookConfiguration", "Deployment", "ConfigMap", "Service", "ClusterRole"}, got); diff != "" {
		t.Error(diff)
	}
}

// Whoever may not list the records of other namespaces prunes in his own only.
func TestPrunableWithoutTheRecordsOfOtherNamespaces(t *testing.T) {
	t.Parallel()
	rules := PruneRules{Blind: "nobody knows", Namespace: "models"}
	here, there := leftover("", "Service", "a"), leftover("", "Service", "a")
	there.Namespace = ""
	if f := Prunable([]Leftover{here}, rules)[0]; !f.Prune {
		t.Error("its own stays: " + f.Why)
	}
	if f := Prunable([]Leftover{there}, rules)[0]; f.Prune || f.Forget || f.Why != "nobody knows" {
		t.Errorf("another's: %+v", f)
	}
}
