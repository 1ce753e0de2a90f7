package manifest

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

func TestFindObject(t *testing.T) {
	t.Parallel()
	thing := func(version, kind, namespace, name string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{Object: map[string]any{}}
		u.SetAPIVersion(version)
		u.SetKind(kind)
		u.SetNamespace(namespace)
		u.SetName(name)
		return u
	}
	s := &Set{Objects: []*unstructured.Unstructured{
		thing("v1", "ConfigMap", "", "x"),
		thing("v1", "ConfigMap", "other", "x"),
		thing("v1", "Namespace", "stray", "models"),
		thing("apps/v1", "Deployment", "", "x"),
	}}
	for id, want := range map[object.ID]int{
		{Kind: "ConfigMap", Namespace: "default", Name: "x"}:                0,
		{Kind: "ConfigMap", Namespace: "other", Name: "x"}:                  1,
		{Kind: "Namespace", Name: "models"}:                                 2,
		{Group: "apps", Kind: "Deployment", Namespace: "models", Name: "x"}: 3,
		{Group: "extensions", Kind: "Deployment", Name: "x"}:                -1,
		{Kind: "ConfigMap", Namespace: "default", Name: "y"}:                -1,
	} {
		if got := s.Find(id); got != want {
			t.Errorf("%s: %d, want %d", id, got, want)
		}
	}
}
