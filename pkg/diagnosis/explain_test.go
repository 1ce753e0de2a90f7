package diagnosis

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

// theModel is what workloadtest's Deployment is.
func theModel() object.ID {
	return object.ID{Group: "apps", Kind: "Deployment", Namespace: "default", Name: "model"}
}

// changeOf is a write of an object that did not exist.
func changeOf(u *unstructured.Unstructured) kube.Change {
	return kube.Change{Ref: kube.RefOf(u, kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: u.GroupVersionKind().Group}, Namespaced: true}), After: u, Action: kube.Created}
}

func eventJSON(object, uid, kind, reason, message string, at, count int) string {
	body, _ := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"name": reason + message, "namespace": "default"},
		"involvedObject": map[string]any{"kind": object, "name": uid, "uid": uid, "fieldPath": "spec.containers{model}"},
		"type":           kind, "reason": reason, "message": message, "count": count,
		"firstTimestamp": objecttest.Start().Add(time.Duration(at) * time.Second).Format(time.RFC3339),
		"lastTimestamp":  objecttest.Start().Add(time.Duration(at+count) * time.Second).Format(time.RFC3339),
	})
	return string(body)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	pods := func(t *testing.T) string {
		t.Helper()
		return kubetest.ListOf("Pod",
			kubetest.Encoded(workloadtest.Pod{Name: "pod-a", Owner: "new", Status: workloadtest.Crash}.Object(t)),
			kubetest.Encoded(workloadtest.Pod{Name: "pod-b", Owner: "new", Status: workloadtest.Crash}.Object(t)),
			kubetest.Encoded(workloadtest.Pod{Name: "pod-c", Owner: "new", Status: workloadtest.NoSecret}.Object(t)),
			kubetest.Encoded(workloadtest.Pod{Name: "pod-d", Owner: "old", Status: workloadtest.Crash}.Object(t)))
	}
	sets := func(t *testing.T) string {
		t.Helper()
		return kubetest.ListOf("ReplicaSet", kubetest.Encoded(workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, `{}`)), kubetest.Encoded(workloadtest.ReplicaSet(t, "old", "1", strings.Replace(workloadtest.Template, "v2", "v1", 1), `{}`)))
	}
	log := "starting\nDB_PASSWORD=hunter2\nTraceback: no file\n"

	tests := []struct {
		name   string
		answer func(t *testing.T, r *http.Request) (int, string, bool) // false: as usual
		given  Failure
		want   func(f *Failure)
	}{
		{name: "everything may be read", given: Failure{Object: theModel(), Reason: "CrashLoopBackOff", Cause: "x", Fix: "y", Pod: "pod-a", Container: "model"}},
		{
			name:  "a deadline, as others found it",
			given: Failure{Object: theModel(), Reason: "ProgressDeadlineExceeded", Cause: "no progress for 600 s"},
			want: func(f *Failure) {
				f.Reason = "ProgressDeadlineExceeded"
				f.Cause = "no progress for 600 s: " + f.Cause
			},
		},
		{
			name:  "another platform, as only the log says",
			given: Failure{Object: theModel(), Reason: "CrashLoopBackOff", Pod: "pod-a", Container: "model"},
			answer: func(t *testing.T, r *http.Request) (int, string, bool) {
				t.Helper()
				return 200, "exec /usr/bin/serve: exec format error\n", strings.HasSuffix(r.URL.Path, "/log")
			},
			want: func(f *Failure) {
				f.Reason, f.Fix = "ExecFormatError", platformFix
				f.Cause = `container "model" cannot run on its node: image "r.example/m:v2" is built for another platform (exec /usr/bin/serve: exec format error)`
				f.Logs = []string{"exec /usr/bin/serve: exec format error"}
			},
		},
		{
			name:  "no earlier run is kept",
			given: Failure{Object: theModel(), Reason: "CrashLoopBackOff", Pod: "pod-a", Container: "model"},
			answer: func(t *testing.T, r *http.Request) (int, string, bool) {
				t.Helper()
				if r.URL.Query().Get("previous") == "true" {
					// pkg/kubelet/kubelet_pods.go, validateContainerLogStatus
					code, body := kubetest.Refuse(400, "BadRequest", `previous terminated container "model" in pod "pod-a" not found`)
					return code, body, true
				}
				return 0, "", false
			},
			want: func(f *Failure) { f.LogsOf = `pod "pod-a", container "model"` },
		},
		{
			name:  "an earlier run whose container is gone, of which the kubelet says so with status 200",
			given: Failure{Object: theModel(), Reason: "CrashLoopBackOff", Pod: "pod-a", Container: "model"},
			answer: func(t *testing.T, r *http.Request) (int, string, bool) {
				t.Helper()
				return 200, "unable to retrieve container logs for containerd://0123456789abcdef", r.URL.Query().Get("previous") == "true"
			},
			want: func(f *Failure) { f.LogsOf = `pod "pod-a", container "model"` },
		},
		{
			name:  "an earlier run whose log is not there, of which the kubelet says so with status 200",
			given: Failure{Object: theModel(), Reason: "CrashLoopBackOff", Pod: "pod-a", Container: "model"},
			answer: func(t *testing.T, r *http.Request) (int, string, bool) {
				t.Helper()
				return 200, `failed to try resolving symlinks in path "/var/log/pods/default_pod-a_u/model/2.log": lstat /var/log/pods/default_pod-a_u/model/2.log: no such file or directory`, r.URL.Query().Get("previous") == "true"
			},
			want: func(f *Failure) { f.LogsOf = `pod "pod-a", container "model"` },
		},
		{
			name:  "logs are secret",
			given: Failure{Object: theModel(), Reason: "CrashLoopBackOff", Pod: "pod-a", Container: "model"},
			answer: func(t *testing.T, r *http.Request) (int, string, bool) {
				t.Helper()
				code, body := kubetest.Refuse(403, "Forbidden", `pods "pod-a" is forbidden: User "ci" cannot get resource "pods/log"`)
				return code, body, strings.HasSuffix(r.URL.Path, "/log")
			},
			want: func(f *Failure) {
				f.Logs, f.LogsOf = nil, ""
				f.Notes = []string{`the log cannot be read: a Role in namespace "default" has to allow "get" on pods/log`}
			},
		},
		{
			name:  "events are secret",
			given: Failure{Object: theModel(), Reason: "CrashLoopBackOff", Pod: "pod-a", Container: "model"},
			answer: func(t *testing.T, r *http.Request) (int, string, bool) {
				t.Helper()
				code, body := kubetest.Refuse(403, "Forbidden", `events is forbidden`)
				return code, body, strings.HasSuffix(r.URL.Path, "/events")
			},
			want: func(f *Failure) {
				f.Events = nil
				f.Notes = []string{`the events cannot be read: a Role in namespace "default" has to allow "list" and "watch" on events`}
			},
		},
		{
			name:  "pods are secret",
			given: Failure{Object: theModel(), Reason: "ProgressDeadlineExceeded", Cause: "no progress"},
			answer: func(t *testing.T, r *http.Request) (int, string, bool) {
				t.Helper()
				code, body := kubetest.Refuse(403, "Forbidden", `pods is forbidden`)
				return code, body, strings.HasSuffix(r.URL.Path, "/pods")
			},
			want: func(f *Failure) {
				*f = Failure{
					Object: f.Object, Reason: "ProgressDeadlineExceeded", Cause: "no progress", Events: f.Events[:1],
					Notes: []string{`the pods cannot be read: a Role in namespace "default" has to allow "list" and "watch" on pods`},
				}
			},
		},
		{
			name:  "the kubelet does not answer",
			given: Failure{Object: theModel(), Reason: "CrashLoopBackOff", Pod: "pod-a", Container: "model"},
			answer: func(t *testing.T, r *http.Request) (int, string, bool) {
				t.Helper()
				code, body := kubetest.Refuse(500, "InternalError", `Get "https://10.0.0.2:10250/containerLogs/default/pod-a/model": dial tcp 10.0.0.2:10250: i/o timeout`)
				return code, body, strings.HasSuffix(r.URL.Path, "/log")
			},
			want: func(f *Failure) {
				f.Logs, f.LogsOf = nil, ""
				f.Notes = []string{`log of pod "pod-a", container "model": Get "https://10.0.0.2:10250/containerLogs/default/pod-a/model": dial tcp 10.0.0.2:10250: i/o timeout`}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := kubetest.Replier(func(r *http.Request) (int, string) {
					if tt.answer != nil {
						if status, body, ok := tt.answer(t, r); ok {
							return status, body
						}
					}
					uid := strings.TrimPrefix(strings.Split(r.URL.Query().Get("fieldSelector"), ",")[0], "involvedObject.uid=")
					switch path := r.URL.Path; {
					case path == "/api/v1/namespaces/default/pods":
						return 200, pods(t)
					case path == "/apis/apps/v1/namespaces/default/replicasets":
						return 200, sets(t)
					case path == "/api/v1/namespaces/default/pods/pod-a/log":
						return 200, log
					case path == "/api/v1/namespaces/default/events" && (uid == "pod-a" || uid == "pod-b"):
						return 200, kubetest.ListOf("Event",
							eventJSON("Pod", uid, "Warning", "BackOff", "Back-off restarting failed container", 9, 4),
							eventJSON("Pod", uid, "Warning", "Unhealthy", "Readiness probe failed: Get \"https://u:p@10.0.0."+map[string]string{"pod-a": "1", "pod-b": "2"}[uid]+"/\": refused", 5, 3),
							eventJSON("Pod", uid, "Normal", "Pulled", "Successfully pulled", 4, 1),
							eventJSON("Pod", uid, "Warning", "FailedMount", "old", -100, 1))
					case path == "/api/v1/namespaces/default/events" && uid == "new":
						return 200, kubetest.ListOf("Event", eventJSON("ReplicaSet", "model-new", "Warning", "FailedCreate", "Error creating: a moment ago", 1, 1))
					case path == "/api/v1/namespaces/default/events" && uid == "pod-c":
						return 200, kubetest.ListOf("Event", eventJSON("Pod", uid, "Warning", "Failed", `Error: secret "a" not found`, 3, 1))
					case path == "/api/v1/namespaces/default/events":
						return 200, kubetest.ListOf("Event")
					}
					return kubetest.Refuse(404, "NotFound", r.URL.Path)
				})
				s := kubetest.Serve(t, api)
				live := workloadtest.Object(t, "Deployment", 3, `{observedGeneration: 2}`)
				got := tt.given
				Explain(t.Context(), s.Client, NewEvidence(changeOf(live), time.Now()), &got)
				for i := range got.Events {
					got.Events[i].First, got.Events[i].Last = time.Time{}, time.Time{}
				}

				want := Failure{
					Object: theModel(), Reason: "CrashLoopBackOff", Cause: `container "model" crashed with exit code 1, restarted 3 times`, Fix: "read its log for the reason",
					Pod: "pod-a", Container: "model",
					Events: []Event{
						{Count: 1, Object: "ReplicaSet model-new", Reason: "FailedCreate", Message: "Error creating: a moment ago", Container: "model", Warning: true},
						{Count: 1, Object: "Pod pod-c", Reason: "Failed", Message: `Error: secret "a" not found`, Container: "model", Warning: true},
						{Count: 6, Object: "Pod pod-a", Reason: "Unhealthy", Message: `Readiness probe failed: Get "https://10.0.0.1/": refused`, Container: "model", Warning: true},
					},
					Logs: []string{"starting", "DB_PASSWORD=[redacted]", "Traceback: no file"}, LogsOf: `pod "pod-a", container "model", run before the last restart`,
					Others: []PodFailure{{
						Pod: "pod-c", Container: "model", Reason: "CreateContainerConfigError",
						Cause: `Secret "a" does not exist in namespace "default", which container "model" needs`, Fix: `create Secret "a" or add it to the manifests, or correct its name`,
					}},
				}
				if tt.want != nil {
					tt.want(&want)
				}
				if len(want.Logs) > 0 && want.Reason != "ExecFormatError" && strings.Contains(want.Cause, "crashed") {
					want.Cause += `; its log ends with "` + want.Logs[len(want.Logs)-1] + `"`
					want.Fix = "look at the lines before that one in its log"
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got)\n%s\n%s", diff, strings.Join(s.Requests(), "\n"))
				}
				for _, line := range append(got.Logs, got.String()) {
					if strings.Contains(line, "hunter2") {
						t.Errorf("leaks: %q", line)
					}
				}
			})
		})
	}
}

func TestLogBounds(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "%d %s\r\n", i, strings.Repeat("ä", 3000))
	}
	synctest.Test(t, func(t *testing.T) {
		s := kubetest.Serve(t, kubetest.Replier(func(*http.Request) (int, string) { return 200, many.String() }))
		lines, of, err := readLog(t.Context(), s.Client, PodRef{Namespace: "default", Name: "pod-a"}, "model", false)
		if err != nil || of != `pod "pod-a", container "model"` || len(lines) != logLines {
			t.Fatalf("%d lines of %q: %v", len(lines), of, err)
		}
		for _, line := range lines {
			if len(line) > logLineBytes || !strings.HasSuffix(line, "…") {
				t.Errorf("line of %d bytes ends in %q", len(line), line[len(line)-4:])
			}
		}
		want := []string{"GET /api/v1/namespaces/default/pods/pod-a/log?container=model&limitBytes=1048576&tailLines=40"}
		if diff := cmp.Diff(want, s.Requests()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLogTail(t *testing.T) {
	t.Parallel()
	text := "skipped\n" + strings.Repeat("x\n", logLines-6) +
		"loading   1%\rloading  50%\rloading 100%\r\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nok\n" +
		strings.Repeat("a", 1<<20) + "\n"
	lines := logTail([]byte(text[:min(len(text), logBytes)]))
	want := []string{"loading 100%", "[redacted]", "ok"}
	if n := len(lines); n < 4 || cmp.Diff(want, lines[n-4:n-1]) != "" || len(lines[n-1]) > logLineBytes || lines[0] == "skipped" {
		t.Errorf("%d lines, the last before the long one %q", n, lines[max(0, n-4):n-1])
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	event := func(object, reason, message string, at, count int) Event {
		when := objecttest.Start().Add(time.Duration(at) * time.Second)
		return Event{Object: object, Reason: reason, Message: message, First: when, Last: when, Count: count}
	}
	got := merge([]Event{
		event("Pod m-1-abcde", "Unhealthy", `Readiness probe failed: Get "http://10.1.2.3:80/": refused`, 5, 2),
		event("Pod m-1-fghij", "Unhealthy", `Readiness probe failed: Get "http://10.1.2.4:80/": refused`, 3, 1),
		event("Pod m-1-fghij", "Unhealthy", `Readiness probe failed: HTTP probe failed with statuscode: 503`, 4, 1),
		event("ReplicaSet m-1", "FailedCreate", `Error creating: pods "m-1-m784m" is forbidden: exceeded quota: q`, 1, 1),
		event("ReplicaSet m-1", "FailedCreate", `Error creating: pods "m-1-pjj6f" is forbidden: exceeded quota: q`, 2, 1),
		event("ReplicaSet m-1", "FailedCreate", `(combined from similar events): Error creating: pods "m-1-xxxxx" is forbidden: exceeded quota: q`, 3, 7),
		event("Pod m-1-abcde", "BackOff", "Back-off restarting failed container", 9, 4),
	})
	var lines []string
	for _, e := range got {
		lines = append(lines, e.String())
	}
	want := []string{
		`ReplicaSet m-1 FailedCreate: Error creating: pods "m-1-m784m" is forbidden: exceeded quota: q (9 times)`,
		`Pod m-1-fghij Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503`,
		`Pod m-1-abcde Unhealthy: Readiness probe failed: Get "http://10.1.2.3:80/": refused (3 times)`,
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	var many []Event
	for i := range 50 {
		many = append(many, event("Pod m", "Failed", strconv.Itoa(i), i, 1))
	}
	if got := merge(many); len(got) != eventLimit || got[len(got)-1].Message != "49" {
		t.Errorf("%d events, the last %v", len(got), got[len(got)-1])
	}
}

func TestEventSeries(t *testing.T) {
	t.Parallel()
	// The scheduler writes events.k8s.io/v1, whose times and count the v1 API shows so.
	got := readEvent(objecttest.FromYAML(t, `
apiVersion: v1
kind: Event
metadata: {name: x, creationTimestamp: "2000-01-01T00:00:00Z"}
involvedObject: {kind: Pod, name: a, uid: a}
type: Warning
reason: FailedScheduling
message: "0/1 nodes are available: 1 Insufficient cpu."
eventTime: "2000-01-01T00:00:01.000000Z"
firstTimestamp: null
lastTimestamp: null
series: {count: 4, lastObservedTime: "2000-01-01T00:00:31.000000Z"}
`))
	want := Event{First: objecttest.Start().Add(time.Second), Last: objecttest.Start().Add(31 * time.Second), Count: 4, Object: "Pod a", Reason: "FailedScheduling", Message: "0/1 nodes are available: 1 Insufficient cpu.", Warning: true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, want := got.String(), "Pod a FailedScheduling: 0/1 nodes are available: 1 Insufficient cpu. (4 times)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Two containers of a pod that miss something are two causes: who mends the first
// would only meet the second with the next deploy.
func TestExplainNamesEveryContainer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		pod := workloadtest.Pod{
			Name: "pod-a", Owner: "new", Spec: `nodeName: node-1, containers: [{name: model, image: "r.example/m:v2"}, {name: proxy, image: "r.example/p:v1"}]`,
			Status: `{phase: Pending, containerStatuses: [
				{name: model, state: {waiting: {reason: CreateContainerConfigError, message: 'secret "a" not found'}}},
				{name: proxy, state: {waiting: {reason: CreateContainerConfigError, message: 'secret "b" not found'}}}]}`,
		}.Object(t)
		set := workloadtest.ReplicaSet(t, "new", "2", workloadtest.Template, `{}`)
		s := kubetest.Serve(t, kubetest.Replier(func(r *http.Request) (int, string) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/pods"):
				return 200, kubetest.ListOf("Pod", kubetest.Encoded(pod))
			case strings.HasSuffix(r.URL.Path, "/replicasets"):
				return 200, kubetest.ListOf("ReplicaSet", kubetest.Encoded(set))
			}
			return 200, kubetest.ListOf("Event")
		}))
		f := Failure{Object: theModel(), Reason: "CreateContainerConfigError", Cause: "x", Pod: "pod-a", Container: "model"}
		Explain(t.Context(), s.Client, NewEvidence(changeOf(workloadtest.Object(t, "Deployment", 1, `{observedGeneration: 2}`)), time.Now()), &f)
		all := strings.Join(f.Lines(), "\n")
		for _, want := range []string{`Secret "a" does not exist`, `Secret "b" does not exist`} {
			if !strings.Contains(all, want) {
				t.Errorf("%s is not in\n%s", want, all)
			}
		}
	})
}
