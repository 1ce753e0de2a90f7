package kube_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
)

// TestWatchAhead begins to watch before the write that returned version 15.
func TestWatchAhead(t *testing.T) {
	t.Parallel()
	event := func(version string) string { return kubetest.Event("MODIFIED", at(t, version)) }
	gone := func(version string) string { return kubetest.Event("DELETED", at(t, version)) }
	tests := []struct {
		name   string
		script []kubetest.Scene
		want   string // updates
		asked  string
	}{
		{"what was before the write is left out", []kubetest.Scene{kubetest.Open(event("9"), gone("10"), event("14"), event("15"), event("16"), gone("17"))}, "1s 16, 1s deleted at 17", "watch "},
		{"a bookmark of before does not lead back", []kubetest.Scene{kubetest.Events(kubetest.Event("BOOKMARK", at(t, "9"))), kubetest.Open(gone("17"))}, "1s deleted at 17", "watch , watch 15"},
		{"it goes on where it was cut", []kubetest.Scene{kubetest.Events(event("16")), kubetest.Open(gone("17"))}, "1s 16, 1s deleted at 17", "watch , watch 16"},
		{"the namespace was not there yet", []kubetest.Scene{kubetest.No(404, "NotFound"), kubetest.Open(gone("17"))}, "1s deleted at 17", "watch , watch 15"},
		{"it may not be watched", []kubetest.Scene{kubetest.No(403, "Forbidden"), kubetest.No(403, "Forbidden"), kubetest.No(404, "NotFound")}, "1s deleted", "watch , watch 15, get"},
		{"versions without an order", []kubetest.Scene{kubetest.Open(event("v9"), event("v16")), kubetest.Open(gone("17"))}, "1s deleted at 17", "watch , watch 15"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{podPath: tt.script}}
				ahead := kubetest.Serve(t, s).Client.WatchAhead(t.Context(), kube.RefOf(at(t, "9"), kube.Pods))
				defer ahead.Stop()
				time.Sleep(time.Second) // the write
				var got []string
				for u := range ahead.From(t.Context(), "15") {
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

// TestWatchAheadUnused holds that one that nobody needs ends, opened or not.
func TestWatchAheadUnused(t *testing.T) {
	t.Parallel()
	event := kubetest.Open(kubetest.Event("MODIFIED", at(t, "6")))
	for name, script := range map[string][]kubetest.Scene{"opened": {event}, "not opened": {kubetest.Hang, event}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{podPath: script}}
				ahead := kubetest.Serve(t, s).Client.WatchAhead(t.Context(), kube.RefOf(at(t, "5"), kube.Pods))
				synctest.Wait()
				ahead.Stop()
				for range ahead.From(t.Context(), "5") { // and whoever asks too late is served all the same
					break
				}
			})
		})
	}
}
