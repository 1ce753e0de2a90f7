package release

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// noise is text that does not compress.
func noise(seed uint64, n int) string {
	random := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.UintN(256))
	}
	return base64.RawStdEncoding.EncodeToString(b)
}

func deployment(name string) kube.Change {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{
			"name": name, "namespace": space, "generation": int64(7),
			"managedFields": []any{map[string]any{"manager": "deploy-model-action", "operation": "Apply", "fieldsV1": map[string]any{"f:spec": map[string]any{"f:replicas": map[string]any{}}}}},
		},
		"spec": map[string]any{"replicas": int64(3), "ratio": 0.5, "paused": false, "nothing": nil},
	}}
	return kube.Change{Ref: kube.Ref{
		Resource: kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, Namespaced: true},
		Kind:     "Deployment", Namespace: space, Name: name,
	}, Before: u}
}

func TestLogKeepsEverything(t *testing.T) {
	t.Parallel()
	namespace := kube.Change{Ref: kube.Ref{Resource: kube.Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}}, Kind: "Namespace", Name: "x"}}
	want := []kube.Change{deployment("d"), change("c", "1"), change("new", ""), namespace}
	packed, omitted, err := packLog([]kube.Change{namespace, want[1], want[0], want[2]}, maxLog)
	if err != nil || omitted != nil {
		t.Fatal(omitted, err)
	}
	got, _, err := unpackLog(packed, maxExpanded)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLogLimit: the workloads and what they read come first, and what is small
// fits beside what is too large.
func TestLogLimit(t *testing.T) {
	t.Parallel()
	service := change("s", "1")
	service.Kind, service.Before = "Service", nil
	var changes []kube.Change
	for i := range 40 {
		changes = append(changes, change(fmt.Sprintf("c%d", i), noise(uint64(i), 30_000)))
	}
	changes = append(changes, service, change("huge", noise(99, 2<<20)), deployment("d"))
	packed, omitted, err := packLog(changes, maxLog)
	if err != nil {
		t.Fatal(err)
	}
	if len(packed) > maxLog {
		t.Errorf("%d bytes", len(packed))
	}
	got, _, err := unpackLog(packed, maxExpanded)
	if err != nil || len(got)+len(omitted) != len(changes) {
		t.Fatalf("%d and %d of %d, %v", len(got), len(omitted), len(changes), err)
	}
	if got[0].Kind != "Deployment" {
		t.Errorf("first is %s", got[0].ID())
	}
	kept := map[object.ID]bool{}
	for _, c := range got {
		kept[c.ID()] = true
	}
	if len(got) < 25 {
		t.Errorf("only %d have room", len(got))
	}
	if !kept[service.ID()] || !kept[change("c0", "").ID()] || kept[change("huge", "").ID()] {
		t.Errorf("kept %v", kept)
	}
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	pack := func(text string) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
		return b.Bytes()
	}
	good, _, err := packLog([]kube.Change{change("a", "canary")}, maxLog)
	if err != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string][]byte{
		"empty":          nil,
		"not gzip":       []byte("canary"),
		"cut":            good[:len(good)-4],
		"not JSON":       pack("canary"),
		"a string":       pack(`"canary"`),
		"no kind":        pack(`{"version":"v1","resource":"secrets","name":"canary"}`),
		"another object": pack(`{"version":"v1","resource":"secrets","kind":"Secret","name":"a","before":{"apiVersion":"v1","kind":"Secret","metadata":{"name":"canary"}}}`),
		"bomb":           pack(strings.Repeat(" ", 1<<20+1)),
		"bomb, in JSON":  pack(`{"version":"` + strings.Repeat("canary", 1<<20/6) + `"}`),
	} {
		if got, _, err := unpackLog(packed, 1<<20); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, _, err := unpackLog(good, 10); err == nil {
		t.Error("what expands beyond what is left is read")
	}
}

func FuzzUnpackLog(f *testing.F) {
	good, _, err := packLog([]kube.Change{change("a", "1"), change("b", ""), deployment("d")}, maxLog)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0x1f, 0x8b})
	f.Fuzz(func(t *testing.T, packed []byte) {
		changes, size, err := unpackLog(packed, 1<<20)
		if err != nil {
			return
		}
		if size > 1<<20 {
			t.Errorf("%d bytes were read", size)
		}
		again, omitted, err := packLog(changes, 8<<20)
		if err != nil || omitted != nil {
			t.Fatal(omitted, err)
		}
		if got, _, err := unpackLog(again, 8<<20); err != nil || len(got) != len(changes) {
			t.Errorf("%d of %d, %v", len(got), len(changes), err)
		}
	})
}
