package rollout

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// targetOf is an object as an apply that changed it returned it.
func targetOf(o *unstructured.Unstructured) Target {
	gvk := o.GroupVersionKind()
	resource := strings.ToLower(gvk.Kind) + "s"
	if strings.HasSuffix(gvk.Kind, "s") {
		resource = strings.ToLower(gvk.Kind) + "es"
	}
	return Target{
		Object: o, Resource: schema.GroupVersionResource{Group: gvk.Group, Version: gvk.Version, Resource: resource},
		Namespaced: true, Changed: true,
	}
}

// settled waits for objects against a stage, and returns what was told without times.
func settled(t *testing.T, s *stage, o Options, objects ...*unstructured.Unstructured) ([]Status, string, error) {
	t.Helper()
	told := &recorder{}
	o.Progress = told.line
	o.Warn = func(line string) { told.line("WARNING " + line) }
	o = playing(t, s, o)
	var targets []Target
	for _, object := range objects {
		targets = append(targets, targetOf(object))
	}
	statuses, err := Wait(context.Background(), targets, o)
	if len(statuses) != len(objects) {
		t.Fatalf("%d statuses for %d objects", len(statuses), len(objects))
	}
	return statuses, regexp.MustCompile(`\b\d+(\.\d+)?m?s\b`).ReplaceAllString(told.String(), "N s"), err
}

func TestReadyAtOnceCostsNoRequest(t *testing.T) {
	t.Parallel()
	done := deployed(t, 200, 2)
	s := &stage{}
	statuses, told, err := settled(t, s, Options{FailFast: true},
		done,
		fromYAML(t, of("v1", "Service", `{type: LoadBalancer}`, `{loadBalancer: {ingress: [{ip: 203.0.113.7}]}}`)),
		fromYAML(t, of("v1", "ConfigMap", `{}`, `{}`)),
		fromYAML(t, of("apps/v1", "Deployment", `{paused: true}`, `{}`)),
	)
	if err != nil {
		t.Fatal(err)
	}
	want := "deployment.apps/model: ready: 2 of 2 updated, 2 ready, 2 available\n" +
		"service/model: ready: address 203.0.113.7\n" +
		"WARNING Deployment default/model: paused: its pods stay as they are until `kubectl rollout resume`; not waited for"
	if diff := cmp.Diff(sorted(want), sorted(told)); diff != "" {
		t.Error(diff)
	}
	var waited []bool
	for _, s := range statuses {
		waited = append(waited, s.Waited)
		if !s.Ready || s.Started.IsZero() || s.Finished.Before(s.Started) {
			t.Errorf("%+v", s)
		}
	}
	if diff := cmp.Diff([]bool{true, true, false, false}, waited); diff != "" {
		t.Error(diff)
	}
	if all := s.everything(); len(all) > 0 {
		t.Errorf("requests: %q", all)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	later := func(d time.Duration, play scene) scene {
		return func(w http.ResponseWriter, r *http.Request) { time.Sleep(d); play(w, r) }
	}
	s := &stage{scripts: map[string][]scene{modelPath: {
		events(event("MODIFIED", deployed(t, 140, 0))),
		later(1500*time.Millisecond, events(event("MODIFIED", deployed(t, 150, 1)))),
		later(2300*time.Millisecond, open(event("MODIFIED", deployed(t, 200, 2)))),
	}}}
	_, told, err := settled(t, s, Options{FailFast: true, Every: 2 * time.Second}, deployed(t, 100, 2))
	if err != nil {
		t.Fatal(err)
	}
	want := `deployment.apps/model: waiting for its controller to see the change
deployment.apps/model: 0 of 2 updated, 0 ready, 0 available; waiting for pods: no pod of the new revision yet
deployment.apps/model: 1 of 2 updated, 1 ready, 1 available; waiting for pods: no pod of the new revision yet
deployment.apps/model: 1 of 2 updated, 1 ready, 1 available; waiting for pods: no pod of the new revision yet (for N s)
deployment.apps/model: ready after N s: 2 of 2 updated, 2 ready, 2 available`
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
}

func TestFailFast(t *testing.T) {
	t.Parallel()
	crashed := deployed(t, 150, 1)
	if err := unstructured.SetNestedSlice(crashed.Object, []any{map[string]any{
		"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "lastUpdateTime": "2026-11-22T10:00:00Z",
	}}, "status", "conditions"); err != nil {
		t.Fatal(err)
	}
	healed := deployed(t, 200, 2)
	service := func() *unstructured.Unstructured {
		return fromYAML(t, of("v1", "Service", `{type: LoadBalancer}`, `{loadBalancer: {}}`))
	}
	script := func() *stage {
		return &stage{scripts: map[string][]scene{modelPath: {
			events(event("MODIFIED", crashed)),
			func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Second)
				open(event("MODIFIED", healed))(w, r)
			},
		}}}
	}

	statuses, told, err := settled(t, script(), Options{FailFast: true}, deployed(t, 100, 2), service())
	var failed *FailedError
	if !errors.As(err, &failed) || len(failed.Failures) != 1 || failed.Failures[0].Reason != "ProgressDeadlineExceeded" {
		t.Fatalf("error %v", err)
	}
	if statuses[0].Failure == nil || statuses[0].Ready || statuses[1].Failure != nil || statuses[1].Ready ||
		statuses[1].Message != "waiting for an address from the load balancer" || statuses[1].Finished.IsZero() {
		t.Errorf("statuses %+v", statuses)
	}
	if !strings.Contains(told, "deployment.apps/model: failed: it made no progress for 600 seconds") {
		t.Errorf("told:\n%s", told)
	}

	// Without it, what heals has not failed.
	if _, _, err := settled(t, script(), Options{}, deployed(t, 100, 2)); err != nil {
		t.Error(err)
	}

	// But a Job that failed is over, and what is ready meanwhile is still seen.
	job := fromYAML(t, of("batch/v1", "Job", `{}`, `{conditions: [{type: Failed, status: "True", reason: BackoffLimitExceeded}]}`))
	statuses, _, err = settled(t, script(), Options{}, job, deployed(t, 100, 2))
	if !errors.As(err, &failed) || failed.Failures[0].Object != "Job default/model" || !statuses[1].Ready {
		t.Errorf("error %v, statuses %+v", err, statuses)
	}

	// Both kinds of failure are told.
	statuses, _, err = settled(t, &stage{}, Options{Timeout: 300 * time.Millisecond}, job, service())
	var slow *TimeoutError
	if !errors.As(err, &failed) || !errors.As(err, &slow) || statuses[1].Failure == nil {
		t.Errorf("error %v, statuses %+v", err, statuses)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	s := &stage{scripts: map[string][]scene{
		modelPath: {open(event("MODIFIED", deployed(t, 150, 1)))},
		"/api/v1/namespaces/default/events": {answer(200, fmt.Sprintf(`{"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": [{"kind": "Event", "apiVersion": "v1",
			"metadata": {"name": "e"}, "type": "Warning", "reason": "SyncLoadBalancerFailed", "count": 1, "message": "quota exceeded",
			"involvedObject": {"kind": "Service", "name": "model", "uid": "u1"}, "firstTimestamp": %q, "lastTimestamp": %[1]q}]}`, time.Now().UTC().Add(time.Minute).Format(time.RFC3339)))},
	}}
	started := time.Now()
	service := fromYAML(t, of("v1", "Service", `{type: LoadBalancer}`, `{loadBalancer: {}}`))
	statuses, told, err := settled(t, s, Options{FailFast: true, Timeout: 2500 * time.Millisecond}, deployed(t, 100, 2), service)
	if took := time.Since(started); took < 2500*time.Millisecond || took > 6*time.Second {
		t.Errorf("took %s", took)
	}
	var slow *TimeoutError
	if !errors.As(err, &slow) {
		t.Fatalf("error %v", err)
	}
	want := `not ready within 2.5s:
Deployment default/model: it was not ready after 2.5s: 1 of 2 updated, 1 ready, 1 available; waiting for pods: no pod of the new revision yet; raise timeout if it only needs longer
Service default/model: it was not ready after 2.5s: waiting for an address from the load balancer; SyncLoadBalancerFailed: quota exceeded; raise timeout if it only needs longer`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	if len(statuses[1].Failure.Events) != 1 {
		t.Errorf("events of the Service: %v", statuses[1].Failure.Events)
	}
	if !strings.Contains(told, "service/model: waiting for an address from the load balancer; SyncLoadBalancerFailed: quota exceeded\n") {
		t.Errorf("told:\n%s", told)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(context.Background())
	o := playing(t, &stage{}, Options{FailFast: true})
	reason := errors.New("the runner cancels")
	time.AfterFunc(200*time.Millisecond, func() { cancel(reason) })
	started := time.Now()
	statuses, err := Wait(ctx, []Target{targetOf(deployed(t, 100, 2)), targetOf(deployed(t, 200, 2))}, o)
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
	if !errors.Is(err, reason) || statuses[0].Ready || statuses[0].Message == "" || !statuses[1].Ready {
		t.Errorf("error %v, statuses %+v", err, statuses)
	}
}

func TestJobThatGoesWhenItEnds(t *testing.T) {
	t.Parallel()
	job := func(status string) *unstructured.Unstructured {
		return fromYAML(t, of("batch/v1", "Job", `{ttlSecondsAfterFinished: 0}`, status))
	}
	const path = "/apis/batch/v1/namespaces/default/jobs/model"
	running, complete := job(`{active: 1}`), job(`{succeeded: 1, conditions: [{type: Complete, status: "True"}]}`)
	s := &stage{scripts: map[string][]scene{path: {open(event("DELETED", complete))}}}
	if _, _, err := settled(t, s, Options{FailFast: true}, running); err != nil {
		t.Error(err)
	}
	s = &stage{scripts: map[string][]scene{path: {no(410, "Expired"), no(404, "NotFound")}}}
	_, _, err := settled(t, s, Options{FailFast: true}, running)
	if want := "Job default/model: it was deleted while it was waited for; raise its ttlSecondsAfterFinished, so that its end can be seen"; fmt.Sprint(err) != want {
		t.Error(cmp.Diff(want, fmt.Sprint(err)))
	}
}

func TestClaim(t *testing.T) {
	t.Parallel()
	const path = "/apis/storage.k8s.io/v1/storageclasses/fast"
	class := func(mode string) scene {
		return answer(200, `{"kind": "StorageClass", "apiVersion": "storage.k8s.io/v1", "metadata": {"name": "fast"}, "volumeBindingMode": "`+mode+`"}`)
	}
	tests := []struct {
		name   string
		class  scene
		waited bool
	}{
		{"binds when a pod comes", class("WaitForFirstConsumer"), false},
		{"binds at once", class("Immediate"), true},
		{"nobody may tell", no(403, "Forbidden"), false},
		{"no such class", no(404, "NotFound"), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &stage{scripts: map[string][]scene{path: {tt.class}}}
			claim := fromYAML(t, of("v1", "PersistentVolumeClaim", `{storageClassName: fast}`, `{phase: Pending}`))
			statuses, _, err := settled(t, s, Options{Timeout: 300 * time.Millisecond}, claim)
			if (err != nil) != tt.waited || statuses[0].Waited != tt.waited {
				t.Errorf("error %v, status %+v", err, statuses[0])
			}
		})
	}
}

func sorted(text string) []string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return lines
}
