package kube_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

const podPath = "/api/v1/namespaces/default/pods/model"

// at is the pod at a version.
func at(t *testing.T, version string) *unstructured.Unstructured {
	t.Helper()
	u := objecttest.FromYAML(t, objecttest.Text("v1", "Pod", "{}", "{}"))
	u.SetResourceVersion(version)
	return u
}

// line is an update with its time.
func line(u kube.Update) string {
	text := "readable"
	switch {
	case u.Deleted && u.Object == nil:
		text = "deleted"
	case u.Deleted:
		text = "deleted at " + u.Object.GetResourceVersion()
	case u.Object != nil:
		text = u.Object.GetResourceVersion()
	case u.Err != nil:
		text = u.Err.Error()
	}
	return fmt.Sprintf("%.0fs %s", time.Since(objecttest.Start()).Seconds(), text)
}

func TestWatch(t *testing.T) {
	t.Parallel()
	event := func(version string) string { return kubetest.Event("MODIFIED", at(t, version)) }
	read := func(version string) kubetest.Scene { return kubetest.Answer(200, kubetest.Encoded(at(t, version))) }
	deleted := kubetest.Event("DELETED", at(t, "9"))
	tests := []struct {
		name   string
		script []kubetest.Scene
		want   string // updates
		asked  string
	}{
		{"states until it is deleted", []kubetest.Scene{kubetest.Open(event("6"), event("7"), deleted)}, "0s 6, 0s 7, 0s deleted at 9", "watch 5"},
		{"a watch that is silent for too long is read, and goes on from there", []kubetest.Scene{kubetest.Open(event("6")), read("8"), kubetest.Open(deleted)}, "0s 6, 90s 8, 90s deleted at 9", "watch 5, get, watch 8"},
		{"a silent watch of what is gone", []kubetest.Scene{kubetest.Open(), kubetest.No(404, "NotFound")}, "90s deleted", "watch 5, get"},
		{"bookmarks are no silence", []kubetest.Scene{kubetest.Slowly(time.Minute, event("6"), kubetest.Event("BOOKMARK", at(t, "7")), event("8"), deleted)}, "60s 6, 180s 8, 240s deleted at 9", "watch 5"},
		{"what cannot be read, and can again", []kubetest.Scene{kubetest.No(503, "ServiceUnavailable"), kubetest.Open(deleted)}, "0s the server said no, 0s readable, 0s deleted at 9", "watch 5, watch 5"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{podPath: tt.script}}
				var got []string
				for u := range kubetest.Serve(t, s).Client.Watch(t.Context(), kube.RefOf(at(t, "5"), kube.Pods), "5") {
					got = append(got, line(u))
				}
				if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(tt.asked, s.Requests(podPath)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestWatchEnds holds that a watch ends when its caller wants no more, or with its
// context, and then asks nobody.
func TestWatchEnds(t *testing.T) {
	t.Parallel()
	event := kubetest.Event("MODIFIED", at(t, "6"))
	scripts := map[string]kubetest.Scene{
		"in a watch": kubetest.Open(event), "in a poll": kubetest.No(403, "Forbidden"), "between two watches": kubetest.No(503, "ServiceUnavailable"),
	}
	for name, play := range scripts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{podPath: {play}}}
				client := kubetest.Serve(t, s).Client
				for range client.Watch(t.Context(), kube.RefOf(at(t, "5"), kube.Pods), "5") {
					break
				}
				if took := time.Since(objecttest.Start()); took > 0 {
					t.Errorf("the caller left after %s", took)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 7*time.Second)
				defer cancel()
				updates := 0
				for range client.Watch(ctx, kube.RefOf(at(t, "5"), kube.Pods), "5") {
					updates++
				}
				if took := time.Since(objecttest.Start()); took != 7*time.Second || updates == 0 {
					t.Errorf("%d updates; the context ended after %s", updates, took)
				}
			})
		})
	}
}

func TestWatchList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const path = "/api/v1/namespaces/default/pods"
		all := kubetest.Answer(200, kubetest.ListOf("Pod", kubetest.Encoded(at(t, "5"))))
		s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{path: {
			all, kubetest.Open(kubetest.Event("MODIFIED", at(t, "8")), kubetest.Event("DELETED", at(t, "9"))), // and then it is silent
			kubetest.No(403, "Forbidden"), all, kubetest.Open(),
		}}}
		var got []string
		for u := range kubetest.Serve(t, s).Client.WatchList(t.Context(), kube.Selection{Resource: kube.Pods, Namespace: "default", Labels: "app=model"}) {
			text := line(u.Update)
			if u.Listed {
				text = strings.Replace(text, "readable", fmt.Sprintf("%d listed", len(u.All)), 1)
			}
			if got = append(got, text); len(got) == 5 {
				break
			}
		}
		want := "0s 1 listed, 0s 8, 0s deleted at 9, 90s the server said no, 120s 1 listed"
		if diff := cmp.Diff(want, strings.Join(got, ", ")); diff != "" {
			t.Error(diff)
		}
		if want, asked := "get, watch 7, get, get", s.Requests(path); asked != want {
			t.Errorf("asked %s, want %s", asked, want)
		}
	})
}

// TestWatchAll holds that a watch alone brings everything, and that whoever may not
// watch is served by lists.
func TestWatchAll(t *testing.T) {
	t.Parallel()
	const path = "/api/v1/namespaces/default/pods"
	all := kubetest.Answer(200, kubetest.ListOf("Pod", kubetest.Encoded(at(t, "5"))))
	added := kubetest.Event("ADDED", at(t, "5"))
	for name, tt := range map[string]struct {
		script      []kubetest.Scene
		want, asked string
	}{
		"a watch that is silent later": {[]kubetest.Scene{kubetest.Open(added, kubetest.Event("MODIFIED", at(t, "8"))), kubetest.Open(added)}, "0s 0 listed, 0s 5, 0s 8, 90s 0 listed, 90s 5", "watch , watch "},
		"a watch that is cut":          {[]kubetest.Scene{kubetest.Events(added), kubetest.Open(kubetest.Event("MODIFIED", at(t, "8")))}, "0s 0 listed, 0s 5, 0s 8", "watch , watch 5"},
		"watching is not allowed":      {[]kubetest.Scene{kubetest.No(403, "Forbidden"), all, kubetest.No(403, "Forbidden"), all}, "0s 0 listed, 0s 1 listed, 1s 1 listed", "watch , get, watch 7, get"},
		"nothing is allowed":           {[]kubetest.Scene{kubetest.No(403, "Forbidden")}, "0s 0 listed, 0s the server said no", "watch , get"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{path: tt.script}}
				var got []string
				for u := range kubetest.Serve(t, s).Client.WatchAll(t.Context(), kube.Selection{Resource: kube.Pods, Namespace: "default"}) {
					text := line(u.Update)
					if u.Listed {
						text = strings.Replace(text, "readable", fmt.Sprintf("%d listed", len(u.All)), 1)
					}
					if got = append(got, text); len(got) == 1+strings.Count(tt.want, ",") {
						break
					}
				}
				if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
					t.Error(diff)
				}
				if asked := s.Requests(path); asked != tt.asked {
					t.Errorf("asked %q, want %q", asked, tt.asked)
				}
			})
		})
	}
}
