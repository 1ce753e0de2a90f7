// Package candidate_test holds the promise of the input candidate: a model that
// does not start, or answers wrong, serves nobody, and leaves nothing.
package candidate_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
)

func TestMain(m *testing.M) { cloudtest.Main(m) }

// manifests read their setting from a ConfigMap of the same commit, and are behind
// a load balancer.
const manifests = `apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {commit: "%[1]s"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: model}
spec:
  replicas: 2
  minReadySeconds: 0
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: model
          image: %[2]s:latest
          env: [{name: COMMIT, valueFrom: {configMapKeyRef: {name: settings, key: commit}}}]
          ports: [{name: http, containerPort: 3000}]
          readinessProbe: {httpGet: {path: /readyz, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: model}
spec: {type: LoadBalancer, selector: {app: model}, ports: [{port: 80, targetPort: http}]}
`

const smokeTest = `requests:
  - name: a picture of Earth
    path: /predict
    json: {image: earth}
    expect: {that: ["{.prediction} == Earth"]}
`

// at writes a commit's manifests, for a client of its own.
func at(x *cloudtest.Test, client, sha string) *cloudtest.Test {
	x.Helper()
	y := x.At(client, sha)
	y.Write("smoke.yaml", smokeTest)
	y.Write("kubernetes/all.yaml", text(sha))
	return y
}

// text is the manifests of a commit.
func text(sha string) string {
	return fmt.Sprintf(manifests, sha, localcloud.RegistryHost+"/"+cloudtest.Model)
}

// serving is a place where commit 0 serves.
func serving(t *testing.T) (x *cloudtest.Test, address string) {
	t.Helper()
	x = cloudtest.New(t)
	x.Push(x.SHA(0), nil)
	r := at(x, "first", x.SHA(0)).Deploy(x.SHA(0), nil)
	if r.Outputs["outcome"] != "deployed" {
		t.Fatalf("the deploy before: %s", r.Outputs["outcome"])
	}
	return x, r.Outputs["url"]
}

// inputs are those of a step with a candidate.
func inputs(with map[string]string) map[string]string {
	all := map[string]string{"candidate": "true"}
	maps.Copy(all, with)
	return all
}

// left are what a candidate has left, but for what is about to go.
func left(x *cloudtest.Test) []string {
	x.Helper()
	var found []string
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		found = nil
		for name, u := range x.Objects() {
			if u.GetLabels()["deploy-model-action/candidate"] != "" {
				found = append(found, name)
			}
		}
		if len(found) == 0 || time.Now().After(deadline) {
			return found
		}
	}
}

// live are the versions of what serves.
func live(x *cloudtest.Test) map[string]string {
	all := map[string]string{}
	for name, version := range x.Settled() {
		if !strings.Contains(name, "deploy-model-action.") && !strings.HasPrefix(name, "endpoints") && !strings.Contains(name, "kube-root-ca") {
			all[name] = version
		}
	}
	return all
}

func TestCandidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		labels map[string]string
		with   map[string]string
		says   []string
	}{
		{"crashes", cloudtest.Crashes, nil, []string{"Deployment", "its candidate failed, and nothing that serves was changed", "no weights"}},
		{"is never ready", map[string]string{"model.ready-after": "10m"}, map[string]string{"timeout": "40s"}, []string{"its candidate failed", "readiness"}},
		{"takes too much memory", map[string]string{"model.out-of-memory": "true"}, nil, []string{"its candidate failed", "memory"}},
		{"predicts wrong", map[string]string{"model.body": `{"prediction": "Mars"}`}, map[string]string{"smoke_test": "smoke.yaml"}, []string{"its candidate failed", "a picture of Earth", "Earth", "Mars"}},
		{"is not healthy", map[string]string{"model.unhealthy-path": "/predict", "model.unhealthy-status": "404"}, map[string]string{"health_path": "/predict"}, []string{"its candidate failed", "404"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x, address := serving(t)
			before := live(x)
			x.Push(x.SHA(1), c.labels)
			users := x.User(address, 20*time.Millisecond)
			r := at(x, "second", x.SHA(1)).Deploy(x.SHA(1), inputs(c.with))
			users.End()
			if r.ExitCode != 1 || r.Outputs["outcome"] != "failed" {
				t.Errorf("exit code %d, outcome %q", r.ExitCode, r.Outputs["outcome"])
			}
			for _, s := range c.says {
				if !strings.Contains(r.Log, s) {
					t.Errorf("the log does not say %q", s)
				}
			}
			if strings.Contains(r.Log, "▼ Rollback") {
				t.Error("it went back, though there was nothing to put back")
			}
			oldServes(t, x, users, 0)
			if found := left(x); len(found) > 0 {
				t.Errorf("left: %v", found)
			}
			if diff := cmp.Diff(before, live(x)); diff != "" {
				t.Errorf("what serves was written (-before +after):\n%s", diff)
			}
		})
	}
}

// oldServes holds that every answer was right, and that of the commits only these answered.
func oldServes(t *testing.T, x *cloudtest.Test, users *cloudtest.User, commits ...int) {
	t.Helper()
	cloudtest.Figure(t, "candidate %s: a client asked %d times, %d without a right answer", label(t), users.Asked, len(users.Failures))
	if len(users.Failures) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(users.Failures), users.Asked, users.Failures[0])
	}
	for _, image := range users.Answers {
		known := false
		for _, n := range commits {
			known = known || strings.Contains(image, x.SHA(n))
		}
		if !known {
			t.Errorf("%q answered", image)
		}
	}
}

func label(t *testing.T) string {
	t.Helper()
	_, name, _ := strings.Cut(t.Name(), "/")
	return strings.ReplaceAll(name, "_", " ")
}

// TestGood lets the rollout follow a candidate that starts, also where nothing serves yet.
func TestGood(t *testing.T) {
	t.Parallel()
	t.Run("over an old one", func(t *testing.T) {
		t.Parallel()
		x, address := serving(t)
		x.Push(x.SHA(1), nil)
		users := x.User(address, 20*time.Millisecond)
		r := at(x, "second", x.SHA(1)).Deploy(x.SHA(1), inputs(map[string]string{"health_path": "/readyz"}))
		users.End()
		if r.Outputs["outcome"] != "deployed" || !strings.Contains(r.Log, "▼ Candidate") {
			t.Errorf("outcome %q", r.Outputs["outcome"])
		}
		oldServes(t, x, users, 0, 1)
		if found := left(x); len(found) > 0 {
			t.Errorf("left: %v", found)
		}
		if again := at(x, "third", x.SHA(1)).Deploy(x.SHA(1), inputs(nil)); again.Outputs["outcome"] != "unchanged" || strings.Contains(again.Log, "pod/model-candidate") {
			t.Errorf("the same again: %q", again.Outputs["outcome"])
		}
	})
	t.Run("where there was nothing", func(t *testing.T) {
		t.Parallel()
		x := cloudtest.New(t)
		x.Push(x.SHA(0), nil)
		if r := at(x, "first", x.SHA(0)).Deploy(x.SHA(0), inputs(nil)); r.Outputs["outcome"] != "deployed" {
			t.Errorf("outcome %q", r.Outputs["outcome"])
		}
		if found := left(x); len(found) > 0 {
			t.Errorf("left: %v", found)
		}
	})
}

// TestNothingIsLeft ends a run while its candidate is there: cancelled, it removes
// it; killed, the next run does, whether it has a candidate or not.
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	seed := cloudtest.Seed(t)
	n := cloudtest.Sample(2, 30)
	var mu sync.Mutex
	clean := 0
	t.Cleanup(func() {
		cloudtest.Figure(t, "candidates cancelled or killed: nothing left in %d of %d", clean, 3*n)
	})
	for _, how := range []string{"cancelled", "killed, then a rerun", "killed, then one without"} {
		for i := range n {
			delay := time.Duration(cloudtest.Random(seed, i).Int64N(int64(4 * time.Second)))
			t.Run(fmt.Sprintf("%s/%d", how, i), func(t *testing.T) {
				t.Parallel()
				if interrupt(t, how, delay) {
					mu.Lock()
					defer mu.Unlock()
					clean++
				}
			})
		}
	}
}

// interrupt ends a run so long after its candidate was begun, and reports whether
// nothing is left in the end.
func interrupt(t *testing.T, how string, delay time.Duration) bool {
	t.Helper()
	x, address := serving(t)
	x.Push(x.SHA(1), map[string]string{"model.start-after": "2s"})
	users := x.User(address, 20*time.Millisecond)
	y := at(x, "second", x.SHA(1))
	s := y.Step(x.SHA(1), inputs(nil))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var kill func()
	dead := false
	s.OnStart = func(f func()) { mu.Lock(); defer mu.Unlock(); kill = f }
	x.Cloud.Proxy.SetHook(y.Client, proxy.Hook{Before: func(proxy.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		return !dead // what is on its way when it dies does not arrive
	}})
	s.OnLine = func(line string) {
		if line != "::group::Candidate" {
			return
		}
		time.AfterFunc(delay, func() {
			if how == "cancelled" {
				cancel()
				return
			}
			mu.Lock()
			defer mu.Unlock()
			dead = true
			kill()
		})
	}
	r, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	x.LogRun(how+" after "+delay.String(), r)
	if how != "cancelled" {
		var with map[string]string
		if how == "killed, then a rerun" {
			with = inputs(nil)
		}
		if next := at(x, "third", x.SHA(1)).Deploy(x.SHA(1), with); next.Outputs["outcome"] != "deployed" && next.Outputs["outcome"] != "unchanged" {
			t.Errorf("the next run: %s", next.Outputs["outcome"])
		}
	}
	users.End()
	oldServes(t, x, users, 0, 1)
	found := left(x)
	if len(found) > 0 {
		t.Errorf("left: %v", found)
	}
	return len(found) == 0 && !t.Failed()
}
