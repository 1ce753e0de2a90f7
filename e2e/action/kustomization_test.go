package action_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestKustomization deploys an overlay: what `kubectl kustomize` builds of it, with
// the image of the commit; and a second time it changes nothing.
func TestKustomization(t *testing.T) {
	t.Parallel()
	x := seed(t, 1, nil)
	x.Write("kubernetes/kustomization.yaml", "resources: [deployment.yaml, service.yaml]\nconfigMapGenerator:\n- name: labels\n  literals: [first=earth]\n")
	x.Write("overlays/eu/kustomization.yaml", "bases: [../../kubernetes]\nnamePrefix: eu-\ncommonAnnotations: {region: europe}\n")
	overlay := map[string]string{"manifests": "overlays/eu"}

	r := x.Deploy(x.SHA(0), overlay)
	want(t, r, 0, "deployed")
	if strings.Contains(r.Log, "deprecated") {
		t.Error("kustomize prints")
	}
	var got []string
	for _, c := range changes(t, r) {
		got = append(got, c.Kind+" "+c.Name)
	}
	for name, object := range x.Objects() {
		if slices.Contains(got, object.GetKind()+" "+object.GetName()) && object.GetAnnotations()["region"] != "europe" {
			t.Errorf("%s has annotations %v", name, object.GetAnnotations())
		}
	}
	if kubectl, err := exec.LookPath("kubectl"); err != nil {
		t.Log("not compared with kubectl:", err)
	} else {
		out, err := exec.CommandContext(t.Context(), kubectl, "kustomize", x.Workspace+"/overlays/eu").Output()
		if err != nil {
			t.Fatal(err)
		}
		var built []string
		for text := range strings.SplitSeq(string(out), "\n---\n") {
			var object struct {
				Kind     string
				Metadata struct{ Name string }
			}
			if err := yaml.Unmarshal([]byte(text), &object); err != nil {
				t.Fatal(err)
			}
			built = append(built, fmt.Sprint(object.Kind, " ", object.Metadata.Name))
		}
		slices.Sort(built)
		slices.Sort(got)
		if diff := cmp.Diff(built, got); diff != "" {
			t.Errorf("(-kubectl +ours):\n%s", diff)
		}
	}

	r = x.Deploy(x.SHA(0), overlay)
	want(t, r, 0, "unchanged")
}
