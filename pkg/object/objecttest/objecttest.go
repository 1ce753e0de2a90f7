// Package objecttest makes objects for tests, as the API server would send them.
//
// Only tests import it. It knows nothing of what the objects are for; servers
// that hold them are in kubetest.
package objecttest

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// FromYAML decodes an object as the API server would send it.
func FromYAML(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	body, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(body); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return u
}

// Text writes the object "model" of generation 4 and version 100, with what is
// given of spec and status.
func Text(apiVersion, kind, spec, status string) string {
	return fmt.Sprintf(`
apiVersion: %s
kind: %s
metadata: {name: model, namespace: default, uid: u1, generation: 4, resourceVersion: "100"}
spec: %s
status: %s
`, apiVersion, kind, spec, status)
}

// Start is when virtual time begins in synctest's bubbles.
func Start() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// At is a moment some seconds after Start, as objects have it.
func At(seconds int) string {
	return Start().Add(time.Duration(seconds) * time.Second).Format(time.RFC3339)
}
