// Package kinds_test plays what the controllers of model servers write into their
// objects, to the action as it ships and on a real API server, and holds that none
// is called ready too early, and none that becomes ready is called broken.
//
// The kinds' definitions are small ones without a schema. Where the environment
// variable CRDS names a folder that holds those which the projects publish, they
// are used in their place.
package kinds_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

func TestMain(m *testing.M) { cloudtest.Main(m) }

// TestPublishedDefinitions says whether the definitions are the projects' own.
func TestPublishedDefinitions(t *testing.T) {
	t.Parallel()
	if os.Getenv("CRDS") == "" {
		t.Skip("CRDS names no folder with the definitions that the projects publish: small ones without a schema are used")
	}
	define(cloudtest.New(t))
}

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// once defines the kinds for all tests of the package.
var once sync.Once

// define makes every kind known to the cluster.
func define(x *cloudtest.Test) {
	x.Helper()
	once.Do(func() {
		for _, d := range published(x) {
			if _, err := x.Dynamic().Resource(definitions).Create(context.Background(), d, metav1.CreateOptions{}); err != nil {
				x.Fatal(err)
			}
		}
	})
	for _, k := range kinds {
		served(x, k)
	}
}

// served waits until the kind is.
func served(x *cloudtest.Test, k kind) {
	x.Helper()
	for {
		_, err := x.Dynamic().Resource(k.resource()).Namespace(x.Namespace).Get(x.Context(), "none", metav1.GetOptions{})
		there := apierrors.IsNotFound(err) && strings.Contains(err.Error(), `"none"`)
		// The list of kinds comes later than the kind, by seconds for a large definition.
		list, err := x.Kube.Discovery().ServerResourcesForGroupVersion(k.group + "/" + k.version)
		if there && err == nil && slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == k.plural }) || x.Context().Err() != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// published are the definitions of the folder that CRDS names, or small ones.
func published(x *cloudtest.Test) []*unstructured.Unstructured {
	x.Helper()
	wanted := map[string]kind{}
	for _, k := range kinds {
		wanted[k.plural+"."+k.group] = k
	}
	var all []*unstructured.Unstructured
	if dir := os.Getenv("CRDS"); dir != "" {
		files, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				x.Fatal(err)
			}
			for _, text := range strings.Split(string(content), "\n---\n") {
				u := &unstructured.Unstructured{}
				if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
					x.Fatalf("%s: %v", file, err)
				}
				if _, ok := wanted[u.GetName()]; ok {
					delete(wanted, u.GetName())
					// Nobody is there to convert between versions.
					unstructured.RemoveNestedField(u.Object, "spec", "conversion")
					all = append(all, u)
				}
			}
		}
		for name := range wanted {
			x.Logf("no file of %s defines %s: a small definition is used", dir, name)
		}
	}
	for _, k := range wanted {
		all = append(all, k.definition())
	}
	return all
}
