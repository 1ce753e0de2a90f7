package kube

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/pkg/object"
)

func readObject(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "restore", name))
	if err != nil {
		t.Fatal(err)
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(body); err != nil {
		t.Fatal(err)
	}
	return o
}

// The pairs were recorded on kube-apiserver 1.36.3: an object, and the same after a deploy.
//   - migrated: made by kubectl apply, client-side
//   - applied: made by an earlier deploy
//   - scaled: made by an earlier deploy, scaled by an autoscaler, then deployed with force_conflicts
//   - forced: made by an earlier deploy, changed by another manager, then deployed with force_conflicts
//   - service: made by kubectl apply, and of another type and with other ports since
func TestEarlier(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"migrated", "applied", "scaled", "forced", "service"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, after := readObject(t, name+"-before.json"), readObject(t, name+"-after.json")
			config := earlier(before, after, wanted(before, after))
			got, err := yaml.Marshal(config.Object)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "restore/"+name+".golden.yaml", string(got))
		})
	}
}

func fromYAML(tb testing.TB, body string) *unstructured.Unstructured {
	tb.Helper()
	asJSON, err := yaml.YAMLToJSON([]byte(body))
	if err != nil {
		tb.Fatalf("%v in %s", err, body)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(asJSON); err != nil {
		tb.Fatalf("%v in %s", err, body)
	}
	return u
}

func TestEarlierOwnership(t *testing.T) {
	t.Parallel()
	// managed is one entry of managedFields; fields are in YAML.
	managed := func(manager, operation, subresource, fields string) string {
		return fmt.Sprintf("{manager: %q, operation: %s, subresource: %q, fieldsType: FieldsV1, fieldsV1: %s}", manager, operation, subresource, fields)
	}
	ours := func(fields string) string { return managed(object.FieldManager, "Apply", "", fields) }
	object := func(spec string, entries ...string) string {
		return fmt.Sprintf("{apiVersion: example.com/v1, kind: Model, metadata: {name: m, namespace: default, uid: u, labels: {a: '1'}, managedFields: [%s]}, spec: %s, status: {x: 1}}", strings.Join(entries, ", "), spec)
	}
	tests := []struct {
		name         string
		before, live string
		want         string // spec and metadata
	}{
		{
			name:   "what we owned, and nothing else",
			before: object(`{a: 1, b: 2, c: 3}`, ours(`{"f:spec": {"f:a": {}}, "f:metadata": {"f:labels": {"f:a": {}}}}`), managed("other", "Update", "", `{"f:spec": {"f:b": {}}}`)),
			live:   object(`{a: 9, b: 2}`, ours(`{"f:spec": {"f:a": {}}}`), managed("other", "Update", "", `{"f:spec": {"f:b": {}}}`)),
			want:   `{metadata: {labels: {a: "1"}, name: m, namespace: default}, spec: {a: 1}}`,
		},
		{
			name:   "what we added goes",
			before: object(`{a: 1}`, ours(`{"f:spec": {"f:a": {}}}`)),
			live:   object(`{a: 1, new: 2}`, ours(`{"f:spec": {"f:a": {}, "f:new": {}}}`)),
			want:   `{metadata: {name: m, namespace: default}, spec: {a: 1}}`,
		},
		{
			name:   "what we took by force goes back",
			before: object(`{a: 1, b: 2}`, ours(`{"f:spec": {"f:a": {}}}`), managed("other", "Apply", "", `{"f:spec": {"f:b": {}, "f:c": {}}}`)),
			live:   object(`{a: 1, b: 9}`, ours(`{"f:spec": {"f:a": {}, "f:b": {}}}`), managed("other", "Apply", "", `{"f:spec": {"f:c": {}}}`)),
			want:   `{metadata: {name: m, namespace: default}, spec: {a: 1, b: 2}}`,
		},
		{
			name:   "what another took since is left to it",
			before: object(`{a: 1, b: 2}`, ours(`{"f:spec": {"f:a": {}, "f:b": {}}}`)),
			live:   object(`{a: 9, b: 7}`, ours(`{"f:spec": {"f:a": {}}}`), managed("other", "Update", "", `{"f:spec": {"f:b": {}}}`)),
			want:   `{metadata: {name: m, namespace: default}, spec: {a: 1}}`,
		},
		{
			name:   "replicas that an autoscaler holds are left to it, though we agree",
			before: object(`{replicas: 2, a: 1}`, ours(`{"f:spec": {"f:a": {}, "f:replicas": {}}}`)),
			live:   object(`{replicas: 5, a: 1}`, ours(`{"f:spec": {"f:a": {}, "f:replicas": {}}}`), managed("hpa", "Update", "scale", `{"f:spec": {"f:replicas": {}}}`)),
			want:   `{metadata: {name: m, namespace: default}, spec: {a: 1}}`,
		},
		{
			name:   "a manager that is gone was migrated; a status writer was not",
			before: object(`{a: 1, b: 2, s: 3}`, managed("kubectl-client-side-apply", "Update", "", `{"f:spec": {"f:a": {}, "f:b": {}}}`), managed("controller", "Update", "status", `{"f:spec": {"f:s": {}}}`)),
			live:   object(`{a: 9}`, ours(`{"f:spec": {"f:a": {}}}`)),
			want:   `{metadata: {name: m, namespace: default}, spec: {a: 1, b: 2}}`,
		},
		{
			name:   "items of a list by their key, in their order, with the key",
			before: object(`{list: [{name: z, v: 1, w: 1}, {name: y, v: 2}, {name: x, v: 3}]}`, ours(`{"f:spec": {"f:list": {'k:{"name":"x"}': {".": {}, "f:v": {}}, 'k:{"name":"z"}': {".": {}, "f:v": {}}}}}`)),
			live:   object(`{list: []}`, ours(`{"f:spec": {}}`)),
			want:   `{metadata: {name: m, namespace: default}, spec: {list: [{name: z, v: 1}, {name: x, v: 3}]}}`,
		},
		{
			name:   "a key's default is not made ours",
			before: object(`{ports: [{port: 80, protocol: TCP}]}`, ours(`{"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}}}}`)),
			live:   object(`{}`, ours(`{"f:spec": {}}`)),
			want:   `{metadata: {name: m, namespace: default}, spec: {ports: [{port: 80}]}}`,
		},
		{
			name:   "values of a set",
			before: object(`{set: [a, b, c]}`, ours(`{"f:spec": {"f:set": {'v:"a"': {}, 'v:"c"': {}}}}`), managed("other", "Update", "", `{"f:spec": {"f:set": {'v:"b"': {}}}}`)),
			live:   object(`{set: [b]}`, managed("other", "Update", "", `{"f:spec": {"f:set": {'v:"b"': {}}}}`)),
			want:   `{metadata: {name: m, namespace: default}, spec: {set: [a, c]}}`,
		},
		{
			name:   "a whole map that we hold, without what others put into it",
			before: object(`{map: {a: 1, b: 2, c: {d: 1, e: 2}}}`, ours(`{"f:spec": {"f:map": {}}}`), managed("other", "Update", "", `{"f:spec": {"f:map": {"f:b": {}, "f:c": {"f:d": {}}}}}`)),
			live:   object(`{map: {b: 2, c: {d: 1}}}`, managed("other", "Update", "", `{"f:spec": {"f:map": {"f:b": {}, "f:c": {"f:d": {}}}}}`)),
			want:   `{metadata: {name: m, namespace: default}, spec: {map: {a: 1, c: {e: 2}}}}`,
		},
		{
			name:   "a whole list that we hold, without what others put into it",
			before: object(`{map: {list: [a, b], deep: [{name: x}]}}`, ours(`{"f:spec": {"f:map": {}}}`), managed("other", "Update", "", `{"f:spec": {"f:map": {"f:list": {'v:"b"': {}}, "f:deep": {'i:0': {}}}}}`)),
			live:   object(`{map: {list: [b]}}`, managed("other", "Update", "", `{"f:spec": {"f:map": {"f:list": {'v:"b"': {}}, "f:deep": {'i:0': {}}}}}`)),
			want:   `{metadata: {name: m, namespace: default}, spec: {map: {list: [a]}}}`,
		},
		{
			name:   "an empty map stays one",
			before: object(`{emptyDir: {}}`, ours(`{"f:spec": {"f:emptyDir": {}}}`)),
			live:   object(`{emptyDir: {medium: Memory}}`, ours(`{"f:spec": {"f:emptyDir": {"f:medium": {}}}}`)),
			want:   `{metadata: {name: m, namespace: default}, spec: {emptyDir: {}}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before, live := fromYAML(t, tt.before), fromYAML(t, tt.live)
			got := earlier(before, live, wanted(before, live))
			want := fromYAML(t, strings.Replace(tt.want, "{", "{apiVersion: example.com/v1, kind: Model, ", 1))
			if diff := cmp.Diff(want.Object, got.Object); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	object := func(spec string) string {
		return fmt.Sprintf(`{apiVersion: example.com/v1, kind: Model, metadata: {name: m, managedFields: [
{manager: deploy-model-action, operation: Apply, fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:a": {}, "f:list": {'k:{"name":"x"}': {".": {}, "f:v": {}}}}}},
{manager: hpa, operation: Update, subresource: scale, fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:replicas": {}}}},
{manager: injector, operation: Update, fieldsType: FieldsV1, fieldsV1: {"f:spec": {"f:list": {'k:{"name":"x"}': {"f:w": {}}}}}}]}, spec: %s}`, spec)
	}
	tests := []struct {
		name, before, after string
		want                []string
	}{
		{"equal", `{a: 1, list: [{name: x, v: 1}]}`, `{a: 1, list: [{name: x, v: 1}]}`, nil},
		{"status does not count", `{a: 1}, status: {x: 1}`, `{a: 1}, status: {x: 2}`, nil},
		{"a value, and one of an autoscaler", `{a: 1, replicas: 2}`, `{a: 2, replicas: 3}`, []string{"spec.a ", "spec.replicas hpa"}},
		{"more and less", `{a: 1, b: {c: 1}}`, `{b: {d: 1}}`, []string{"spec.a ", "spec.b.c ", "spec.b.d "}},
		{"in a list", `{list: [{name: x, v: 1, w: 1}]}`, `{list: [{name: x, v: 2, w: 2}]}`, []string{"spec.list[0].v ", "spec.list[0].w injector"}},
		{"a longer list", `{list: [{name: x}]}`, `{list: [{name: x}, {name: y}]}`, []string{"spec.list injector"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			before, after := fromYAML(t, object(tt.before)), fromYAML(t, object(tt.after))
			var got []string
			for _, d := range differences(before, after) {
				got = append(got, d.String()+" "+d.manager)
				d.revert(after, before)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before.Object["spec"], after.Object["spec"]); diff != "" {
				t.Errorf("not reverted: %s", diff)
			}
		})
	}
}

func FuzzEarlier(f *testing.F) {
	for _, seed := range []string{
		`{"f:spec": {"f:a": {}, "f:list": {"k:{\"name\":\"x\"}": {".": {}, "f:v": {}}, "v:1": {}, "i:0": {}}}}`, `{"f:metadata": {"f:labels": {".": {}}}}`, `{"x": 1}`, `[`, `{"k:{}": {}}`,
	} {
		f.Add([]byte(seed), []byte(`{"a": 1, "list": [{"name": "x", "v": 1}, 1, null]}`))
	}
	f.Fuzz(func(t *testing.T, fields, spec []byte) {
		var content map[string]any
		if err := yaml.Unmarshal(spec, &content); err != nil || !json.Valid(fields) {
			return
		}
		body, err := json.Marshal(map[string]any{
			"apiVersion": "example.com/v1", "kind": "Model", "metadata": map[string]any{"name": "m", "managedFields": []any{
				map[string]any{"manager": object.FieldManager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": json.RawMessage(fields)},
			}}, "spec": content,
		})
		if err != nil {
			return
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(body); err != nil {
			return
		}
		config := earlier(o, o, wanted(o, o))
		if config.GetName() != "m" || config.GetKind() != "Model" {
			t.Errorf("%v", config.Object)
		}
		if found := differences(o, o); len(found) > 0 {
			t.Errorf("differs from itself: %v", found)
		}
	})
}
