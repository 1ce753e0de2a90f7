package deploy

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/release"
)

// TestServedBefore holds what the output previous names: never what was not verified.
func TestServedBefore(t *testing.T) {
	t.Parallel()
	entry := func(tag, outcome string) release.Entry {
		return release.Entry{Outcome: outcome, Images: []release.Image{{Reference: "host/side:1", Digest: "sha256:0"}, {Reference: "host/model:" + tag, Digest: "sha256:" + tag}}}
	}
	live := func(tag string, ready int) *unstructured.Unstructured {
		status := map[int]string{0: `{observedGeneration: 4, replicas: 1}`, 1: `{observedGeneration: 4, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}`}[ready]
		return objecttest.FromYAML(t, strings.ReplaceAll(objecttest.Text("apps/v1", "Deployment", `{template: {spec: {containers: [{image: "host/model:TAG@sha256:TAG"}]}}}`, status), "TAG", tag))
	}
	none := []*unstructured.Unstructured{nil}
	for _, tt := range []struct {
		name     string
		releases []release.Entry // the newest first
		before   []*unstructured.Unstructured
		want     string
	}{
		{"the first deploy", nil, none, ""},
		{"after one that serves", []release.Entry{entry("a", "deployed")}, []*unstructured.Unstructured{live("a", 1)}, "a"},
		{"after one that failed and stayed", []release.Entry{entry("b", "failed"), entry("a", "deployed")}, []*unstructured.Unstructured{live("b", 0)}, "a"},
		{"after one that was ready, and answered wrong", []release.Entry{entry("b", "failed"), entry("a", "deployed")}, []*unstructured.Unstructured{live("b", 1)}, "a"},
		{"after one that was killed", []release.Entry{entry("b", ""), entry("a", "unchanged")}, []*unstructured.Unstructured{live("b", 1)}, "a"},
		{"after none that was verified", []release.Entry{entry("b", "failed")}, []*unstructured.Unstructured{live("b", 1)}, ""},
		{"after one that failed at first", []release.Entry{entry("a", "deployed"), entry("a", "failed")}, []*unstructured.Unstructured{live("a", 1)}, "a"},
		{"after one that was put back", []release.Entry{entry("b", "rolled-back"), entry("a", "deployed")}, []*unstructured.Unstructured{live("a", 1)}, "a"},
		{"what another tool deployed, and serves", nil, []*unstructured.Unstructured{live("x", 1)}, "x"},
		{"what another tool deployed, and never served", nil, []*unstructured.Unstructured{live("x", 0)}, ""},
		{"what a person deployed over it", []release.Entry{entry("a", "deployed")}, []*unstructured.Unstructured{live("x", 1)}, "x"},
		{"what a person broke", []release.Entry{entry("a", "deployed")}, []*unstructured.Unstructured{live("x", 0)}, "a"},
		{"what was deleted", []release.Entry{entry("a", "deployed")}, none, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := ""
			if tt.want != "" {
				want = "host/model:" + tt.want + "@sha256:" + tt.want
			}
			if got := servedBefore(tt.releases, tt.before, Image{Reference: "host/model:new"}); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}
