package diff

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files")

func read(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	if text == "" {
		return nil
	}
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	return u
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: model
  uid: 1-2-3
  resourceVersion: "7"
  generation: 3
  annotations: {deploy-model-action/run: "1-1", deployment.kubernetes.io/revision: "2"}
  managedFields: [{manager: x}]
spec:
  replicas: 2
  template:
    metadata: {labels: {app: model}, annotations: {deploy-model-action/config: a=b}}
    spec:
      containers:
        - name: proxy
          image: envoy:1
        - name: model
          image: r/m:1
          args: [serve, --token, "Tok3n-CANARY-1234"]
          env: [{name: LEVEL, value: info}, {name: DB_PASSWORD, value: CANARY-before}, {name: GONE, value: a}]
          ports: [{containerPort: 3000, protocol: TCP}]
status: {replicas: 2}
`

// What a reader of a plan sees.
func TestLines(t *testing.T) {
	t.Parallel()
	replaced := func(text string, pairs ...string) string {
		for i := 0; i < len(pairs); i += 2 {
			if !strings.Contains(text, pairs[i]) {
				t.Fatalf("no %q", pairs[i])
			}
			text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
		}
		return text
	}
	const secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: pin\n  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{\"data\":{\"pin\":\"CANARY-1\"}}', deploy-model-action/content: pin=CANARY}\n" +
		"type: Opaque\ndata: {pin: CANARY-1, same: CANARY-2, gone: CANARY-3}\n"
	const config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata:\n  level: info\n  password: CANARY-1\n  url: postgres://user:CANARY-1@db/x\n  file: |\n"
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: model}\nspec: {type: LoadBalancer, clusterIP: 10.0.0.7, clusterIPs: [10.0.0.7], ports: [{port: 80, nodePort: 31234}]}\n"
	var long strings.Builder
	for i := range 40 {
		fmt.Fprintf(&long, "    line %d\n", i)
	}
	var all strings.Builder
	for _, c := range []struct{ name, before, after, manifest string }{
		{"nothing", deployment, deployment, ""},
		{"only what is the server's and ours", deployment, replaced(deployment, `"7"`, `"8"`, "generation: 3", "generation: 4", `"1-1"`, `"2-1"`, "status: {replicas: 2}", "status: {replicas: 3}", "a=b", "a=c"), ""},
		{"an image", deployment, replaced(deployment, "r/m:1", "r/m:2"), ""},
		{"variables", deployment, replaced(deployment, "value: info", "value: debug", "CANARY-before", "CANARY-after", ", {name: GONE, value: a}", ", {name: NEW, valueFrom: {secretKeyRef: {name: pin, key: pin}}}"), ""},
		{"an argument", deployment, replaced(deployment, "Tok3n-CANARY-1234", "Tok3n-CANARY-5678"), ""},
		{"an item and a field", deployment, replaced(deployment, "        - name: proxy\n          image: envoy:1\n", "", "  replicas: 2\n  template", "  template"), ""},
		{"another order", deployment, replaced(deployment, "{name: LEVEL, value: info}, {name: DB_PASSWORD, value: CANARY-before}", "{name: DB_PASSWORD, value: CANARY-before}, {name: LEVEL, value: info}"), ""},
		{"created", "", replaced(deployment, "r/m:1", "r/m:2"), ""},
		{"pruned", service, "", ""},
		{"a Secret", secret, replaced(secret, "pin: CANARY-1", "pin: CANARY-4", "gone: CANARY-3", "new: CANARY-5", `"CANARY-1"`, `"CANARY-4"`), ""},
		{"a Secret that is new", "", secret, ""},
		{"a Secret that goes", secret, "", ""},
		{"a ConfigMap", config + long.String(), replaced(config+long.String(), "level: info", "level: debug", "password: CANARY-1", "password: CANARY-2", "user:CANARY-1", "user:CANARY-2", "line 20\n", "line twenty\n    password: CANARY-9\n"), ""},
		{"a Service that is new", "", service, ""},
		{"a Service that is new, with a port of its own", "", service, service},
		{"a Service with another port", service, replaced(service, "port: 80, nodePort: 31234", "port: 81, nodePort: 31235"), replaced(service, "clusterIP: 10.0.0.7, clusterIPs: [10.0.0.7], ", "", "port: 80, nodePort: 31234", "port: 81")},
		{"a fence", config, replaced(config, "level: info", "level: '``` ```` :: </details> ::error::x'"), ""},
	} {
		fmt.Fprintf(&all, "== %s\n", c.name)
		for _, l := range Lines(read(t, c.before), read(t, c.after), read(t, c.manifest)) {
			fmt.Fprintln(&all, l)
		}
	}
	got := all.String()
	if strings.Contains(got, "CANARY") {
		t.Error("a secret is shown")
	}
	file := filepath.Join("testdata", "lines.txt")
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got, run with -update to accept:\n%s", diff)
	}
}

// The objects are not changed by looking at them.
func TestObjectsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	before, after := read(t, deployment), read(t, strings.ReplaceAll(deployment, "info", "debug"))
	Lines(before, after, nil)
	if diff := cmp.Diff(read(t, deployment), before); diff != "" {
		t.Error(diff)
	}
}

// However much changes, little is shown of it.
func TestBounds(t *testing.T) {
	t.Parallel()
	data := func(text string) *unstructured.Unstructured {
		values := map[string]any{}
		for i := range 5000 {
			values[fmt.Sprint("key", i)] = text
		}
		values["long"] = strings.Repeat(text, 100_000)
		return &unstructured.Unstructured{Object: map[string]any{"kind": "ConfigMap", "data": values}}
	}
	lines := Lines(data("a"), data("b"), nil)
	if n := len(lines); n > maxLines+1 || !strings.Contains(lines[n-1], "more lines") {
		t.Errorf("%d lines, the last %q", n, lines[n-1])
	}
	for _, l := range Lines(&unstructured.Unstructured{Object: map[string]any{}}, &unstructured.Unstructured{Object: map[string]any{"data": strings.Repeat("é", 5000)}}, nil) {
		if len(l) > maxLine+len("…") {
			t.Errorf("a line of %d bytes", len(l))
		}
	}
}

// Whatever objects hold, a diff of two of them ends, is bounded, and empty if they are alike.
func FuzzLines(f *testing.F) {
	f.Add(deployment, strings.ReplaceAll(deployment, "info", "debug"))
	f.Add("kind: Secret\ndata: {a: b}", "kind: Secret\ndata: [a]")
	f.Add("a: [{name: 1}, {name: x}]", "a: [{name: x}, 1]")
	f.Fuzz(func(t *testing.T, first, second string) {
		before, after := &unstructured.Unstructured{}, &unstructured.Unstructured{}
		if yaml.Unmarshal([]byte(first), &before.Object) != nil || yaml.Unmarshal([]byte(second), &after.Object) != nil {
			return
		}
		if lines := Lines(before, before, nil); len(lines) > 0 {
			t.Errorf("alike, and %q", lines)
		}
		if lines := Lines(before, after, nil); len(lines) > maxLines+1 {
			t.Errorf("%d lines", len(lines))
		}
	})
}
