package rollout

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
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
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/workload/workloadtest"
)

// theImage is the pod template of the objects here.
const theImage = `template: {spec: {containers: [{name: model, image: "host/model:1"}]}}`

// exceeded is the condition of a Deployment whose progress deadline is exceeded.
const exceeded = `{type: Progressing, status: "False", reason: ProgressDeadlineExceeded, lastUpdateTime: "2000-01-01T00:00:00Z", message: 'ReplicaSet "model-1" has timed out progressing.'}`

// changeOf is an object as a write that created it returned it. Its manifest wants
// nobody to wait for what is ready at once: most tests are about something else.
func changeOf(u *unstructured.Unstructured) kube.Change {
	kind := u.GroupVersionKind()
	resource := strings.ToLower(kind.Kind) + "s"
	if strings.HasSuffix(kind.Kind, "s") {
		resource = strings.ToLower(kind.Kind) + "es"
	}
	at := kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: kind.Group, Version: kind.Version, Resource: resource}, Namespaced: true}
	manifest := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"minReadySeconds": int64(0)}}}
	if u.GetKind() == "Pod" {
		manifest = nil
	}
	return kube.Change{Ref: kube.RefOf(u, at), After: u, Manifest: manifest, Action: kube.Created}
}

// read is a scene that answers requests which do not watch with an object.
func read(u *unstructured.Unstructured, watch kubetest.Scene) kubetest.Scene {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			kubetest.Answer(http.StatusOK, kubetest.Encoded(u))(w, r)
			return
		}
		watch(w, r)
	}
}

// list is a scene that answers requests which do not watch with a list, and whose
// watches stay silent.
func list(items ...*unstructured.Unstructured) kubetest.Scene {
	var encoded []string
	for _, u := range items {
		encoded = append(encoded, kubetest.Encoded(u))
	}
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" {
			kubetest.Answer(http.StatusOK, kubetest.ListOf("Thing", encoded...))(w, r)
			return
		}
		kubetest.Open()(w, r)
	}
}

// waited is what became of a wait.
type waited struct {
	statuses []Status
	told     string
	err      error
	took     time.Duration
	asked    []string
}

// waitFor waits for objects against a kubetest.Stage.
func waitFor(t *testing.T, s *kubetest.Stage, o Options, objects ...*unstructured.Unstructured) waited {
	t.Helper()
	var changes []kube.Change
	for _, u := range objects {
		changes = append(changes, changeOf(u))
	}
	return waitForChanges(t, s, o, changes...)
}

func waitForChanges(t *testing.T, s *kubetest.Stage, o Options, changes ...kube.Change) waited {
	t.Helper()
	told := &kubetest.Recorder{}
	for _, c := range changes {
		path := "/apis/" + c.Group + "/" + c.Version
		if c.Group == "" {
			path = "/api/" + c.Version
		}
		path += "/namespaces/" + c.Namespace + "/" + c.Resource.Resource + "/" + c.Name
		if s.Scripts == nil {
			s.Scripts = map[string][]kubetest.Scene{}
		}
		if s.Scripts[path] == nil {
			s.Scripts[path] = []kubetest.Scene{read(c.After, kubetest.Open())}
		}
	}
	server := kubetest.Serve(t, s)
	o.Progress = told.Line
	o.Warn = func(line string) { told.Line("WARNING " + line) }
	began := time.Now()
	statuses, err := Wait(t.Context(), server.Client, changes, o)
	if len(statuses) != len(changes) {
		t.Fatalf("%d statuses for %d changes", len(statuses), len(changes))
	}
	return waited{statuses, told.String(), err, time.Since(began), server.Requests()}
}

const (
	modelPath   = "/apis/apps/v1/namespaces/default/deployments/model"
	servicePath = "/api/v1/namespaces/default/services/model"
	setsPath    = "/apis/apps/v1/namespaces/default/replicasets"
	podsPath    = "/api/v1/namespaces/default/pods"
	eventsPath  = "/api/v1/namespaces/default/events"
)

// deployed is the Deployment at some version of its rollout, as the apply
// returned it (100) and later.
func deployed(t *testing.T, version, updated int) *unstructured.Unstructured {
	t.Helper()
	observed := 4
	if version == 100 {
		observed = 3
	}
	o := objecttest.FromYAML(t, objecttest.Text("apps/v1", "Deployment",
		`{replicas: 2, selector: {matchLabels: {app: model}}, `+theImage+`}`,
		fmt.Sprintf(`{observedGeneration: %d, replicas: 2, updatedReplicas: %d, readyReplicas: %d, availableReplicas: %d}`, observed, updated, updated, updated)))
	o.SetResourceVersion(strconv.Itoa(version))
	return o
}

// with sets the conditions of an object's status.
func with(t *testing.T, o *unstructured.Unstructured, conditions string) *unstructured.Unstructured {
	t.Helper()
	given := objecttest.FromYAML(t, `{apiVersion: v1, kind: X, conditions: [`+conditions+`]}`)
	if err := unstructured.SetNestedField(o.Object, given.Object["conditions"], "status", "conditions"); err != nil {
		t.Fatal(err)
	}
	return o
}

// paused is half way, and goes no further before somebody resumes it.
func paused(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	u := deployed(t, 150, 1)
	u.Object["spec"].(map[string]any)["paused"] = true
	return u
}

func balancer(t *testing.T, ingress string) *unstructured.Unstructured {
	t.Helper()
	return objecttest.FromYAML(t, objecttest.Text("v1", "Service", `{type: LoadBalancer}`, `{loadBalancer: {`+ingress+`}}`))
}

func TestReadyAtOnceCostsNoRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		unchanged := changeOf(deployed(t, 200, 2))
		unchanged.Before, unchanged.Action = unchanged.After, kube.Unchanged
		got := waitForChanges(t, &kubetest.Stage{}, Options{FailFast: true},
			unchanged,
			changeOf(deployed(t, 200, 2)),
			changeOf(balancer(t, `ingress: [{ip: 203.0.113.7}]`)),
			changeOf(objecttest.FromYAML(t, objecttest.Text("v1", "ConfigMap", `{}`, `{}`))),
			changeOf(objecttest.FromYAML(t, objecttest.Text("batch/v1", "Job", `{}`, `{succeeded: 1, conditions: [{type: Complete, status: "True"}]}`))),
		)
		if got.err != nil {
			t.Fatal(got.err)
		}
		want := "deployment.apps/model: ready: 2 of 2 updated, 2 ready, 2 available\n" +
			"deployment.apps/model: ready: 2 of 2 updated, 2 ready, 2 available\n" +
			"service/model: ready: address 203.0.113.7\n" +
			"job.batch/model: ready: 1 of 1 completed, 0 active, 0 failed"
		if diff := cmp.Diff(sorted(want), sorted(got.told)); diff != "" {
			t.Error(diff)
		}
		var waited []bool
		for _, s := range got.statuses {
			waited = append(waited, s.Waited)
			if !s.Ready || !s.Began.Equal(objecttest.Start()) || !s.Ended.Equal(objecttest.Start()) {
				t.Errorf("%+v", s)
			}
		}
		if diff := cmp.Diff([]bool{true, true, true, false, true}, waited); diff != "" {
			t.Error(diff)
		}
		if len(got.asked) > 0 || got.took > 0 {
			t.Errorf("took %s, requests: %q", got.took, got.asked)
		}
	})
}

func TestProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{modelPath: {kubetest.Slowly(20*time.Second,
			kubetest.Event("MODIFIED", deployed(t, 140, 0)), // +20 s
			kubetest.Event("MODIFIED", deployed(t, 150, 1)), // +40 s
			kubetest.Event("MODIFIED", deployed(t, 151, 1)),
			kubetest.Event("MODIFIED", deployed(t, 152, 1)),
			kubetest.Event("MODIFIED", deployed(t, 153, 1)),
			kubetest.Event("MODIFIED", deployed(t, 200, 2)), // +120 s
		)}}}
		told := &kubetest.Recorder{}
		server := kubetest.Serve(t, s)
		o := Options{FailFast: true, Progress: func(line string) { told.Line(fmt.Sprintf("%3.0fs %s", time.Since(objecttest.Start()).Seconds(), line)) }}
		if _, err := Wait(t.Context(), server.Client, []kube.Change{changeOf(deployed(t, 100, 2))}, o); err != nil {
			t.Fatal(err)
		}
		// A line at every change, but at most one a second, and one after 30 s without.
		want := `  0s deployment.apps/model: waiting for its controller to see the change
  1s deployment.apps/model: waiting for its controller to see the change; waiting for pods: no pod yet
 20s deployment.apps/model: 0 of 2 updated, 0 ready, 0 available; waiting for pods: no pod yet
 40s deployment.apps/model: 1 of 2 updated, 1 ready, 1 available; waiting for pods: no pod yet
 70s deployment.apps/model: 1 of 2 updated, 1 ready, 1 available; waiting for pods: no pod yet (for 1m10s)
100s deployment.apps/model: 1 of 2 updated, 1 ready, 1 available; waiting for pods: no pod yet (for 1m40s)
120s deployment.apps/model: ready after 2m0s: 2 of 2 updated, 2 ready, 2 available`
		if diff := cmp.Diff(want, told.String()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestFailFast(t *testing.T) {
	t.Parallel()
	// It is found to be paused after 10 s, and the pods become ready after 20 s all the same.
	script := func(t *testing.T) *kubetest.Stage {
		t.Helper()
		return &kubetest.Stage{Scripts: map[string][]kubetest.Scene{modelPath: {read(paused(t), kubetest.Slowly(10*time.Second,
			kubetest.Event("MODIFIED", paused(t)), kubetest.Event("MODIFIED", deployed(t, 200, 2))))}}}
	}
	job := func(t *testing.T) *unstructured.Unstructured {
		t.Helper()
		return objecttest.FromYAML(t, objecttest.Text("batch/v1", "Job", `{}`, `{conditions: [{type: Failed, status: "True", reason: BackoffLimitExceeded}]}`))
	}
	var failed *FailedError
	var slow *TimeoutError

	t.Run("on", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			got := waitFor(t, script(t), Options{FailFast: true}, deployed(t, 100, 2), balancer(t, ""))
			want := "Deployment default/model: it is paused, so that no pod gets what was deployed; resume it, and deploy again: kubectl rollout resume deployment/model --namespace=default"
			if !errors.As(got.err, &failed) || failed.ByOthers() || got.err.Error() != want || got.took != 10*time.Second {
				t.Errorf("error %v after %s", got.err, got.took)
			}
			// The others are not waited for any more, and are not blamed.
			if s := got.statuses[1]; s.Ready || s.Failure != nil || s.Message != "waiting for an address from the load balancer" || !s.Ended.Equal(objecttest.Start().Add(10*time.Second)) {
				t.Errorf("%+v", s)
			}
			if !strings.HasSuffix(got.told, "\ndeployment.apps/model: failed after 10s") {
				t.Errorf("told:\n%s", got.told)
			}
		})
	})
	t.Run("off, what heals has not failed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			if got := waitFor(t, script(t), Options{}, deployed(t, 100, 2)); got.err != nil || got.took != 20*time.Second {
				t.Errorf("error %v after %s", got.err, got.took)
			}
		})
	})
	t.Run("off, what does not heal is waited for, and its cause is known", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var slow *TimeoutError
			s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{modelPath: {read(paused(t), kubetest.Open(kubetest.Event("MODIFIED", paused(t))))}}}
			got := waitFor(t, s, Options{Timeout: 7 * time.Minute}, deployed(t, 100, 2))
			want := "not ready within 7m0s:\nDeployment default/model: it is paused, so that no pod gets what was deployed; resume it, and deploy again: kubectl rollout resume deployment/model --namespace=default"
			if !errors.As(got.err, &slow) || got.took != 7*time.Minute || got.err.Error() != want {
				t.Errorf("error %v after %s", got.err, got.took)
			}
		})
	})
	t.Run("off, a Job that failed is over, and the others are waited for", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var failed *FailedError
			got := waitFor(t, script(t), Options{}, job(t), deployed(t, 100, 2))
			if !errors.As(got.err, &failed) || failed.Failures[0].Object.String() != "Job default/model" || !got.statuses[1].Ready || got.took != 20*time.Second {
				t.Errorf("error %v after %s, statuses %+v", got.err, got.took, got.statuses)
			}
		})
	})
	t.Run("off, both kinds of error are told", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			got := waitFor(t, &kubetest.Stage{}, Options{}, job(t), balancer(t, ""))
			if !errors.As(got.err, &failed) || !errors.As(got.err, &slow) || got.statuses[1].Failure == nil || got.took != 10*time.Minute {
				t.Errorf("error %v after %s, statuses %+v", got.err, got.took, got.statuses)
			}
		})
	})
}

// TestDeadline holds that a progress deadline which is exceeded proves nothing before
// there is no time left, when it is the cause.
func TestDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		late := with(t, deployed(t, 150, 1), exceeded)
		s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{modelPath: {read(deployed(t, 200, 2), kubetest.Slowly(time.Minute, kubetest.Event("MODIFIED", late), kubetest.Event("MODIFIED", deployed(t, 200, 2))))}}}
		if got := waitFor(t, s, Options{FailFast: true}, deployed(t, 100, 2)); got.err != nil || got.took > 2*time.Minute {
			t.Errorf("error %v after %s", got.err, got.took)
		}
		s = &kubetest.Stage{Scripts: map[string][]kubetest.Scene{modelPath: {read(late, kubetest.Open(kubetest.Event("MODIFIED", late)))}}}
		got := waitFor(t, s, Options{FailFast: true, Timeout: 3 * time.Minute}, deployed(t, 100, 2))
		if got.err == nil || got.took != 3*time.Minute || !strings.Contains(got.err.Error(), "it made no progress for 600 seconds, its progressDeadlineSeconds") {
			t.Errorf("error %v after %s", got.err, got.took)
		}
	})
}

// TestOldDeadline holds that a deadline which an earlier rollout exceeded does
// not count, before and after the controller sees the new generation.
func TestOldDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{modelPath: {kubetest.Slowly(time.Minute,
			kubetest.Event("MODIFIED", with(t, deployed(t, 150, 1), exceeded)), kubetest.Event("MODIFIED", deployed(t, 200, 2)))}}}
		if got := waitFor(t, s, Options{FailFast: true}, with(t, deployed(t, 100, 2), exceeded)); got.err != nil || got.took != 2*time.Minute {
			t.Errorf("error %v after %s", got.err, got.took)
		}
		// The controller wrote it between the apply and when it saw the new generation.
		early := with(t, deployed(t, 100, 2), exceeded)
		early.SetResourceVersion("120")
		s.Scripts[modelPath] = []kubetest.Scene{kubetest.Slowly(time.Minute,
			kubetest.Event("MODIFIED", early), kubetest.Event("MODIFIED", with(t, deployed(t, 150, 1), exceeded)), kubetest.Event("MODIFIED", deployed(t, 200, 2)))}
		if got := waitFor(t, s, Options{FailFast: true}, deployed(t, 100, 2)); got.err != nil || got.took != 3*time.Minute {
			t.Errorf("error %v after %s", got.err, got.took)
		}
	})
}

// serviceEvent is what the service controller says of a load balancer that cannot be made.
func serviceEvent(message string) string {
	return fmt.Sprintf(`{"kind": "Event", "apiVersion": "v1", "metadata": {"name": "e"}, "type": "Warning", "reason": "SyncLoadBalancerFailed", "count": 1, "message": %q,
		"involvedObject": {"kind": "Service", "name": "model", "uid": "u1"}, "firstTimestamp": %q, "lastTimestamp": %[2]q}`, message, objecttest.At(1))
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		set := workloadtest.ReplicaSet(t, "new", "2", `{spec: {containers: [{name: model, image: "host/model:1"}]}}`, `{}`)
		set.SetOwnerReferences(nil)
		set.Object["metadata"].(map[string]any)["ownerReferences"] = []any{map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "model", "uid": "u1", "controller": true}}
		s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{
			modelPath: {read(deployed(t, 150, 1), kubetest.Open(kubetest.Event("MODIFIED", deployed(t, 150, 1))))},
			setsPath:  {list(set)},
			podsPath:  {list(workloadtest.Pod{Name: "a", Owner: "new", Status: workloadtest.Gpu, Spec: "containers: [{name: model, resources: {requests: {nvidia.com/gpu: 1}}}]"}.Object(t))},
			eventsPath: {kubetest.Answer(200, kubetest.ListOf("Event", serviceEvent(
				`Error syncing load balancer: failed to ensure load balancer: googleapi: Error 403: Quota 'STATIC_ADDRESSES' exceeded. Limit: 8.0 in region europe-west6., quotaExceeded`)))},
		}}
		got := waitFor(t, s, Options{FailFast: true, Timeout: 65 * time.Second}, deployed(t, 100, 2), balancer(t, ""))
		var slow *TimeoutError
		if !errors.As(got.err, &slow) || got.took != 65*time.Second || len(slow.Waiting) != 2 {
			t.Fatalf("error %v after %s", got.err, got.took)
		}
		golden(t, "timeout.txt", got.err.Error()+"\n\n"+strings.Join(sorted(got.told), "\n")+"\n")
		if len(got.statuses[1].Failure.Events) != 1 {
			t.Errorf("events of the Service: %v", got.statuses[1].Failure.Events)
		}
	})
}

// TestCancelled holds that a wait ends with its context, whatever it is about to do.
func TestCancelled(t *testing.T) {
	t.Parallel()
	claim := func() *unstructured.Unstructured {
		return objecttest.FromYAML(t, objecttest.Text("v1", "PersistentVolumeClaim", `{storageClassName: fast}`, `{phase: Pending}`))
	}
	for name, scripts := range map[string]map[string][]kubetest.Scene{
		"watching":              {modelPath: {read(deployed(t, 100, 2), kubetest.Open())}},
		"polling":               {modelPath: {kubetest.No(403, "Forbidden"), kubetest.Hang}},
		"nobody answers":        {modelPath: {kubetest.Hang}, setsPath: {kubetest.Hang}, podsPath: {kubetest.Hang}, eventsPath: {kubetest.Hang}, "/apis/storage.k8s.io/v1/storageclasses/fast": {kubetest.Hang}},
		"everything is refused": {modelPath: {kubetest.No(503, "ServiceUnavailable")}, setsPath: {kubetest.No(403, "Forbidden")}, podsPath: {kubetest.No(500, "InternalError")}, eventsPath: {kubetest.HangUp}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				scripts[servicePath] = []kubetest.Scene{read(balancer(t, ""), kubetest.Open())}
				scripts["/api/v1/namespaces/default/persistentvolumeclaims/model"] = []kubetest.Scene{read(claim(), kubetest.Open())}
				server := kubetest.Serve(t, &kubetest.Stage{Scripts: scripts})
				ctx, cancel := context.WithCancelCause(context.Background())
				reason := errors.New("the runner cancels")
				time.AfterFunc(71*time.Second, func() { cancel(reason) })
				changes := []kube.Change{changeOf(deployed(t, 100, 2)), changeOf(balancer(t, "")), changeOf(claim()), changeOf(deployed(t, 200, 2))}
				statuses, err := Wait(ctx, server.Client, changes, Options{FailFast: true})
				if took := time.Since(objecttest.Start()); took != 71*time.Second {
					t.Errorf("took %s", took)
				}
				if !errors.Is(err, reason) || err.Error() != "wait: the runner cancels" || statuses[0].Ready || statuses[0].Message == "" || !statuses[3].Ready {
					t.Errorf("error %v, statuses %+v", err, statuses)
				}
			})
		})
	}
}

// TestCancelledWhileExplaining holds the same for the questions that follow a failure.
func TestCancelledWhileExplaining(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		server := kubetest.Serve(t, &kubetest.Stage{Scripts: map[string][]kubetest.Scene{eventsPath: {kubetest.Hang}}})
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(3*time.Second, cancel)
		job := objecttest.FromYAML(t, objecttest.Text("batch/v1", "Job", `{selector: {matchLabels: {app: model}}}`, `{conditions: [{type: Failed, status: "True"}]}`))
		statuses, err := Wait(ctx, server.Client, []kube.Change{changeOf(job)}, Options{})
		var failed *FailedError
		if !errors.As(err, &failed) || statuses[0].Failure == nil || time.Since(objecttest.Start()) != 3*time.Second {
			t.Errorf("error %v after %s", err, time.Since(objecttest.Start()))
		}
	})
}

func TestJobThatGoesWhenItEnds(t *testing.T) {
	t.Parallel()
	const path = "/apis/batch/v1/namespaces/default/jobs/model"
	job := func(t *testing.T, status string) *unstructured.Unstructured {
		t.Helper()
		return objecttest.FromYAML(t, objecttest.Text("batch/v1", "Job", `{ttlSecondsAfterFinished: 0}`, status))
	}
	synctest.Test(t, func(t *testing.T) {
		running, complete := job(t, `{active: 1}`), job(t, `{succeeded: 1, conditions: [{type: Complete, status: "True"}]}`)
		s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{path: {kubetest.Open(kubetest.Event("DELETED", complete))}}}
		if got := waitFor(t, s, Options{FailFast: true}, running); got.err != nil {
			t.Error(got.err)
		}
		s = &kubetest.Stage{Scripts: map[string][]kubetest.Scene{path: {kubetest.No(410, "Expired"), kubetest.No(404, "NotFound")}}}
		got := waitFor(t, s, Options{FailFast: true}, running)
		if want := "Job default/model: it was deleted while it was waited for; raise its ttlSecondsAfterFinished, so that its end can be observed"; fmt.Sprint(got.err) != want {
			t.Error(cmp.Diff(want, fmt.Sprint(got.err)))
		}
	})
}

func TestClaim(t *testing.T) {
	t.Parallel()
	const path = "/apis/storage.k8s.io/v1/storageclasses/fast"
	class := func(mode string) kubetest.Scene {
		return kubetest.Answer(200, `{"kind": "StorageClass", "apiVersion": "storage.k8s.io/v1", "metadata": {"name": "fast"}, "volumeBindingMode": "`+mode+`"}`)
	}
	tests := []struct {
		name   string
		class  []kubetest.Scene
		waited bool
		took   time.Duration // at most
		told   string
	}{
		{"binds when a pod comes", []kubetest.Scene{class("WaitForFirstConsumer")}, false, 0, "persistentvolumeclaim/model: not bound before a pod uses it; not waited for"},
		{"the server stumbles", []kubetest.Scene{kubetest.No(503, "ServiceUnavailable"), kubetest.HangUp, class("WaitForFirstConsumer")}, false, 4 * time.Second, "persistentvolumeclaim/model: not bound before a pod uses it; not waited for"},
		{"binds at once", []kubetest.Scene{class("Immediate")}, true, 10 * time.Minute, ""},
		{"nobody may tell", []kubetest.Scene{kubetest.No(403, "Forbidden")}, false, 0, `persistentvolumeclaim/model: not waited for, as StorageClass "fast" cannot be read to see whether it binds without a pod`},
		{"no such class", []kubetest.Scene{kubetest.No(404, "NotFound")}, true, 10 * time.Minute, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{path: tt.class}}
				got := waitFor(t, s, Options{FailFast: true}, objecttest.FromYAML(t, objecttest.Text("v1", "PersistentVolumeClaim", `{storageClassName: fast}`, `{phase: Pending}`)))
				if (got.err != nil) != tt.waited || got.statuses[0].Waited != tt.waited || got.took > tt.took || !strings.HasSuffix(got.told, tt.told) {
					t.Errorf("error %v after %s, status %+v, told\n%s", got.err, got.took, got.statuses[0], got.told)
				}
			})
		})
	}
}

func sorted(text string) []string {
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return lines
}
