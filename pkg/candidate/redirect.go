package candidate

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

// Needed are the kinds that a pod needs to exist before it is accepted. What does
// not exist yet serves nobody, so it may be written before a candidate is tried.
func Needed(id object.ID) bool {
	switch id.Group {
	case "":
		return slices.Contains([]string{"Namespace", "ServiceAccount", "PersistentVolumeClaim", "PersistentVolume"}, id.Kind)
	case "rbac.authorization.k8s.io", "scheduling.k8s.io", "node.k8s.io", "storage.k8s.io":
		return true
	}
	return false
}

// redirect leads a pod to copies of the ConfigMaps and Secrets that the deploy is
// about to write. They are not written ahead: an old pod that reads them too would
// start the next time with what is only being tried.
func (b *builder) redirect(workload object.ID, spec map[string]any) {
	b.walk(workload, "", spec)
}

// walk finds references to configuration, in whatever container or volume they are.
func (b *builder) walk(workload object.ID, key string, value any) {
	switch v := value.(type) {
	case map[string]any:
		switch key {
		case "configMapKeyRef", "configMapRef", "configMap":
			b.rename(workload, "ConfigMap", v, "name")
		case "secretKeyRef", "secretRef", "nodePublishSecretRef", "imagePullSecrets":
			b.rename(workload, "Secret", v, "name")
		case "secret": // a volume's, or a source's of a projected volume
			b.rename(workload, "Secret", v, "secretName")
			b.rename(workload, "Secret", v, "name")
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			b.walk(workload, k, v[k])
		}
	case []any:
		for _, child := range v {
			b.walk(workload, key, child)
		}
	}
}

// rename puts the name of a copy into a reference, and makes the copy.
func (b *builder) rename(workload object.ID, kind string, reference map[string]any, field string) {
	name, ok := reference[field].(string)
	if !ok {
		return
	}
	id := object.ID{Kind: kind, Namespace: workload.Namespace, Name: name}
	at := slices.IndexFunc(b.Objects, func(u *unstructured.Unstructured) bool { return object.Of(u) == id })
	if at < 0 || !b.Changed(id) {
		return
	}
	if b.copies[id] == "" {
		b.copies[id] = b.name(id, name)
		b.set.Copies = append(b.set.Copies, b.copyOf(b.Objects[at], b.copies[id]))
	}
	reference[field] = b.copies[id]
}

func (b *builder) copyOf(u *unstructured.Unstructured, name string) *unstructured.Unstructured {
	twin := u.DeepCopy()
	twin.SetName(name)
	twin.SetLabels(map[string]string{Label: Value(b.Release)})
	twin.SetAnnotations(nil)
	return twin
}
