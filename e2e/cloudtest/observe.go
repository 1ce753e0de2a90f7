package cloudtest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/e2e/proxy"
)

// Sub is the same place in the cloud for a part of the test, with a workspace
// and a client name of its own: the requests of its steps can be told apart.
func (x *Test) Sub(t *testing.T) *Test {
	t.Helper()
	y := *x
	y.T, y.Workspace = t, t.TempDir()
	y.Client = x.Namespace + "." + label(strings.TrimPrefix(t.Name(), x.Name()))
	return &y
}

// Dynamic is a client for objects of any kind, with all rights.
func (x *Test) Dynamic() dynamic.Interface {
	x.Helper()
	config := rest.CopyConfig(x.Cloud.ControlPlane.Config)
	config.WarningHandler = rest.NoWarnings{}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		x.Fatal(err)
	}
	return client
}

// Objects are all objects in the namespace, by "resource name", but those that
// come and go by themselves: events and leases.
func (x *Test) Objects() map[string]*unstructured.Unstructured {
	x.Helper()
	lists, err := x.Kube.Discovery().ServerPreferredNamespacedResources()
	if len(lists) == 0 {
		x.Fatal(err) // an error with lists is another test's definition that comes or goes
	}
	all := map[string]*unstructured.Unstructured{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			x.Fatal(err)
		}
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || r.Name == "events" || r.Name == "leases" {
				continue
			}
			found, err := x.Dynamic().Resource(version.WithResource(r.Name)).Namespace(x.Namespace).List(x.Context(), metav1.ListOptions{})
			if apierrors.IsNotFound(err) {
				continue
			} else if err != nil {
				x.Fatal(err)
			}
			for i := range found.Items {
				all[r.Name+" "+found.Items[i].GetName()] = &found.Items[i]
			}
		}
	}
	return all
}

// Versions are the resourceVersions of all objects in the namespace: two that
// are equal say that nothing was changed in between.
func (x *Test) Versions() map[string]string {
	x.Helper()
	versions := map[string]string{}
	for name, object := range x.Objects() {
		versions[name] = object.GetResourceVersion()
	}
	return versions
}

// Settled waits until controllers have nothing left to write, and returns the
// versions of all objects.
func (x *Test) Settled() map[string]string {
	x.Helper()
	for before := x.Versions(); ; {
		time.Sleep(500 * time.Millisecond)
		after := x.Versions()
		if maps.Equal(before, after) {
			return after
		}
		before = after
	}
}

// IsWrite tells whether a request may have changed the cluster.
func (x *Test) IsWrite(e proxy.Entry) bool {
	return x.IsCluster(e) && e.Method != http.MethodGet && !strings.Contains(e.Path, "dryRun=All")
}

// IsCluster tells whether a request went to the cluster's API server, at any of
// its addresses.
func (x *Test) IsCluster(e proxy.Entry) bool {
	return strings.HasPrefix(e.Path, "/api/") || strings.HasPrefix(e.Path, "/apis/") || e.Path == "/api" || e.Path == "/apis" ||
		strings.HasPrefix(e.Path, "/openapi") || strings.HasPrefix(e.Path, "/version")
}

// Leaks finds what no place that people or later steps can read may hold: a
// token of the cloud, or a part of the private key, plain or encoded.
func (x *Test) Leaks(text string, keys ...[]byte) []string {
	x.Helper()
	var found []string
	look := func(name, secret string) {
		for form, encoded := range Encodings(secret) {
			if strings.Contains(text, encoded) {
				found = append(found, name+" "+form)
			}
		}
	}
	look("an access token", TokenPrefix)
	for _, key := range append(keys, x.key()) {
		var k struct {
			PrivateKey   string `json:"private_key"`
			PrivateKeyID string `json:"private_key_id"`
		}
		if json.Unmarshal(key, &k) != nil {
			continue
		}
		// A few lines from the middle: the first and the last are alike in every key.
		if lines := strings.Split(k.PrivateKey, "\n"); len(lines) > 6 {
			for _, line := range lines[3:6] {
				look("the private key", line)
			}
		}
		look("the key's name", k.PrivateKeyID)
	}
	slices.Sort(found)
	return slices.Compact(found)
}
