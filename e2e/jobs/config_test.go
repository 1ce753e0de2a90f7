// Package jobs_test deploys what is more than a workload with an image: its
// configuration, which pods read when they start, and the Jobs around it.
package jobs_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

func TestMain(m *testing.M) { cloudtest.Waiting(m, 6) }

const image = localcloud.RegistryHost + "/" + cloudtest.Model

// reads is a Deployment that reads a ConfigMap and a Secret, which hold a level.
func reads(level string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {level: %q}
---
apiVersion: v1
kind: Secret
metadata: {name: pin}
stringData: {pin: %[1]q}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: model}
spec:
  minReadySeconds: 0
  replicas: 2
  selector: {matchLabels: {app: model}}
  template:
    metadata: {labels: {app: model}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: model
          image: %s:latest
          envFrom: [{configMapRef: {name: settings}}]
          volumeMounts: [{name: pin, mountPath: /pin}]
          readinessProbe: {httpGet: {path: /readyz, port: 3000}, periodSeconds: 1}
      volumes: [{name: pin, secret: {secretName: pin}}]
`, level, image)
}

// at is the namespace with a workspace of its own, which holds a manifest.
func at(x *cloudtest.Test, client, manifest string) *cloudtest.Test {
	x.Helper()
	y := x.At(strings.ReplaceAll(client, " ", "-"), x.SHA(1)) // it is in the proxy's address
	y.Write("kubernetes/all.yaml", manifest)
	return y
}

// pods are the names of those that are not going.
func pods(x *cloudtest.Test, app string) []string {
	x.Helper()
	list, err := x.Kube.CoreV1().Pods(x.Namespace).List(x.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		x.Fatal(err)
	}
	var names []string
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}

func common(a, b []string) bool {
	return slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
}

func wantOutcome(x *cloudtest.Test, r *runner.Result, want string) {
	x.Helper()
	if got := r.Outputs["outcome"]; got != want {
		x.Errorf("it ended as %s, want %s", got, want)
	}
}

func TestPodsGetWhatTheyRead(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	x.Push(x.SHA(1), nil)
	deploy := func(name, level, want string) (*runner.Result, []string) {
		t.Helper()
		r := at(x, name, reads(level)).Deploy(x.SHA(1), nil)
		wantOutcome(x, r, want)
		return r, pods(x, "model")
	}
	_, first := deploy("first", "info", "deployed")
	if _, again := deploy("again", "info", "unchanged"); !slices.Equal(first, again) {
		t.Errorf("pods %v were replaced by %v for nothing", first, again)
	}
	r, second := deploy("second", "debug", "deployed")
	if common(first, second) {
		t.Errorf("of pods %v some are still there: %v", first, second)
	}
	if !strings.Contains(r.Log, "its pods are replaced, as they read what has changed: ConfigMap settings, Secret pin") {
		t.Error("the log does not say why the pods are replaced")
	}
	if _, again := deploy("second again", "debug", "unchanged"); !slices.Equal(second, again) {
		t.Errorf("pods %v were replaced by %v for nothing", second, again)
	}
}

// A deploy that changes nothing but configuration is killed at each of its writes.
// Whoever comes next finds it half done, and no pod may go on with what it has read.
func TestPodsGetWhatTheyReadAfterAKill(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 4; n++ {
		for _, committed := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, committed %t", n, committed), func(t *testing.T) {
				t.Parallel()
				x := cloudtest.New(t)
				x.Push(x.SHA(1), nil)
				wantOutcome(x, at(x, "first", reads("info")).Deploy(x.SHA(1), nil), "deployed")
				before := pods(x, "model")
				if !kill(x, at(x, "killed", reads("debug")), n, committed) {
					return // it makes fewer writes
				}
				r := at(x, "next", reads("debug")).Deploy(x.SHA(1), nil)
				if !slices.Contains([]string{"deployed", "unchanged"}, r.Outputs["outcome"]) {
					t.Errorf("the next run ended as %s", r.Outputs["outcome"])
				}
				after := pods(x, "model")
				if common(before, after) {
					t.Errorf("pods %v go on, of those before: %v", after, before)
				}
				wantOutcome(x, at(x, "last", reads("debug")).Deploy(x.SHA(1), nil), "unchanged")
			})
		}
	}
}

// kill runs a step that dies at its nth write, and reports whether it came so far.
func kill(x, y *cloudtest.Test, n int, committed bool) (reached bool) {
	x.Helper()
	var (
		mu   sync.Mutex
		end  func()
		seen int
		last int
	)
	s := y.Step(x.SHA(1), nil)
	s.OnStart = func(kill func()) { mu.Lock(); defer mu.Unlock(); end = kill }
	x.Cloud.Proxy.SetHook(y.Client, proxy.Hook{
		Before: func(r proxy.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if reached {
				return false
			}
			if !cloudtest.Writes(r) {
				return true
			}
			if seen++; seen == n {
				if !committed {
					reached = true
					end()
					return false
				}
				last = r.N
			}
			return true
		},
		After: func(r proxy.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			if last != 0 && r.N == last && !reached {
				reached = true
				end()
				return false
			}
			return true
		},
	})
	r, err := s.Run(x.Context())
	if err != nil {
		x.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	x.LogRun("killed", r)
	return reached
}
