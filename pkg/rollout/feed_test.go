package rollout

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
	"github.com/org/deploy-model-action/pkg/retry"
)

// crowd answers for many Deployments, each with its ReplicaSet and pods, which are
// half way at first and ready from the second answer on. It counts.
type crowd struct {
	t               *testing.T
	ready           time.Duration // since the first request
	answer          time.Duration // how long one takes
	workloads, pods int

	mu                   sync.Mutex
	flying, most, all    int
	lists, watches, gets map[string]int
	began                time.Time
}

func (c *crowd) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	collection := parts[len(parts)-1]
	watching := r.URL.Query().Get("watch") != ""
	c.mu.Lock()
	if c.lists == nil {
		c.lists, c.watches, c.gets, c.began = map[string]int{}, map[string]int{}, map[string]int{}, time.Now()
	}
	c.flying++
	c.all++
	c.most = max(c.most, c.flying)
	late := time.Since(c.began) > c.ready
	switch {
	case watching:
		c.watches[collection]++
	case strings.HasPrefix(collection, "model-"):
		c.gets[parts[len(parts)-2]]++
	default:
		c.lists[collection]++
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.flying--
	}()
	switch {
	case watching && collection == "deployments":
		kubetest.Events()(out, r)
		_ = retry.Sleep(r.Context(), c.ready+100*time.Millisecond)
		for i := range c.workloads {
			kubetest.Events(kubetest.Event("MODIFIED", objecttest.FromYAML(c.t, c.deployment(i, true))))(out, r)
		}
		<-r.Context().Done()
	case watching:
		kubetest.Events()(out, r)
		<-r.Context().Done()
	default:
		time.Sleep(c.answer)
		var items []string
		switch collection {
		case "deployments":
			for i := range c.workloads {
				items = append(items, kubetest.Encoded(objecttest.FromYAML(c.t, c.deployment(i, late))))
			}
		case "replicasets":
			for i := range c.workloads {
				items = append(items, kubetest.Encoded(objecttest.FromYAML(c.t, c.set(i))))
			}
		case "pods":
			for i := range c.workloads {
				for j := range c.pods {
					items = append(items, kubetest.Encoded(objecttest.FromYAML(c.t, c.pod(i, j))))
				}
			}
		default:
			var i int
			if _, err := fmt.Sscanf(collection, "model-%d", &i); err == nil {
				kubetest.Answer(200, kubetest.Encoded(objecttest.FromYAML(c.t, c.deployment(i, late))))(out, r)
				return
			}
		}
		kubetest.Answer(200, kubetest.ListOf("Thing", items...))(out, r)
	}
}

func (c *crowd) deployment(i int, ready bool) string {
	status := fmt.Sprintf(`{observedGeneration: 4, replicas: %d, updatedReplicas: %[1]d}`, c.pods)
	if ready {
		status = fmt.Sprintf(`{observedGeneration: 4, replicas: %d, updatedReplicas: %[1]d, readyReplicas: %[1]d, availableReplicas: %[1]d}`, c.pods)
	}
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: model-%d, namespace: default, uid: d%[1]d, generation: 4, resourceVersion: "%[2]d"},
  spec: {replicas: %[3]d, selector: {matchLabels: {app: model-%[1]d}}, template: {metadata: {labels: {app: model-%[1]d}}, spec: {containers: [{name: model, image: "host/model:1"}]}}}, status: %[4]s}`, i, map[bool]int{false: 100, true: 200}[ready], c.pods, status)
}

func (c *crowd) set(i int) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: model-%d-x, namespace: default, uid: r%[1]d, labels: {app: model-%[1]d}, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: model-%[1]d, uid: d%[1]d, controller: true}]},
  spec: {template: {metadata: {labels: {app: model-%[1]d}}, spec: {containers: [{name: model, image: "host/model:1"}]}}}}`, i)
}

func (c *crowd) pod(i, j int) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: model-%d-x-%d, namespace: default, uid: p%[1]d-%[2]d, labels: {app: model-%[1]d}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: model-%[1]d-x, uid: r%[1]d, controller: true}]},
  spec: {nodeName: n, containers: [{name: model, image: "host/model:1"}]}, status: {phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: model, ready: true, state: {running: {}}}]}}`, i, j)
}

// TestCrowd holds that many workloads of a namespace are waited for with one list
// and watch of a kind, and with few requests in flight, also when all is silent for
// long and read again.
func TestCrowd(t *testing.T) {
	t.Parallel()
	wait := func(t *testing.T, c *crowd) {
		t.Helper()
		c.t = t
		var changes []kube.Change
		for i := range c.workloads {
			changes = append(changes, changeOf(objecttest.FromYAML(t, strings.Replace(c.deployment(i, false), "observedGeneration: 4", "observedGeneration: 3", 1))))
		}
		statuses, err := Wait(t.Context(), kubetest.Serve(t, c).Client, changes, Options{FailFast: true})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range statuses {
			if !s.Ready {
				t.Errorf("%s", s)
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.most > 32 || c.watches["deployments"] > 1 || c.watches["pods"] > 1 || c.watches["replicasets"] > 1 {
			t.Errorf("%d requests, %d of them at the same time; lists %v, watches %v, gets %v", c.all, c.most, c.lists, c.watches, c.gets)
		}
	}
	t.Run("many", func(t *testing.T) {
		t.Parallel()
		c := &crowd{workloads: 60, pods: 17, ready: 500 * time.Millisecond}
		if os.Getenv("CAMPAIGN") != "" {
			c.workloads = 300 // minutes with the race detector on a busy machine
		}
		peak := objecttest.WatchHeap()
		wait(t, c)
		fmt.Fprintf(t.Output(), "figure: %d workloads, %d pods: %d requests, at most %d in flight, at most %d MB of heap with the server that answers\n",
			c.workloads, c.workloads*c.pods, c.all, c.most, peak()>>20)
		if c.all > 20 {
			t.Errorf("%d requests", c.all)
		}
	})
	t.Run("for long", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			wait(t, &crowd{workloads: 20, pods: 1, ready: 40 * time.Second, answer: 20 * time.Millisecond})
		})
	})
}
