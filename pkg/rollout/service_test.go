package rollout

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// TestServices holds when a Service of the set counts as ready: when it leads to a
// ready pod of what was deployed.
func TestServices(t *testing.T) {
	t.Parallel()
	service := func(spec string) string {
		return `{apiVersion: v1, kind: Service, metadata: {name: front, namespace: default, uid: s1, generation: 1, resourceVersion: "100"}, spec: ` + spec + `}`
	}
	const web, none = `{type: ClusterIP, clusterIP: 10.0.0.7, selector: {app: model}, ports: [{name: web, port: 80, targetPort: 3000}]}`, `{type: ClusterIP, clusterIP: 10.0.0.7, selector: {app: wrong}, ports: [{name: web, port: 80, targetPort: 3000}]}`
	named := strings.Replace(web, "3000", "http", 1)
	slice := func(ready, port, pod string) string {
		return `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: front-1, namespace: default, uid: e1, labels: {kubernetes.io/service-name: front}}, addressType: IPv4, ports: [` + port + `], endpoints: [{addresses: [10.0.0.1], conditions: {ready: ` + ready + `}, targetRef: {kind: Pod, name: ` + pod + `, uid: ` + pod + `}}]}`
	}
	const led = `{name: web, port: 3000}`
	ready := storyPod("a", "set", "", `{phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: model, ready: true, containerID: x, state: {running: {startedAt: "2000-01-01T00:00:02Z"}}}]}`)
	deployment := func(replicas int) string {
		return strings.Replace(storyWorkload("Deployment", fmt.Sprintf(`{replicas: %d}`, replicas), `{}`), `containers: [{name: model, image: "host/model:1"}]`, `containers: [{name: model, image: "host/model:1", ports: [{name: http, containerPort: 3000}]}]`, 1)
	}
	done := strings.Replace(deployment(1), "status: {}", "status: {observedGeneration: 4, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}", 1)
	set := strings.Replace(fmt.Sprintf(storySet, `{}`), `containers: [{name: model, image: "host/model:1"}]`, `containers: [{name: model, image: "host/model:1", ports: [{name: http, containerPort: 3000}]}]`, 1)
	serves := []moment{{at: 1, object: set}, {at: 2, object: ready}, {at: 2, object: done}}
	const (
		settings    = `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: default, uid: c1}}`
		certificate = `{apiVersion: networking.gke.io/v1, kind: ManagedCertificate, metadata: {name: own, namespace: default, uid: c1}, spec: {domains: [example.com]}}`
		training    = `{apiVersion: batch/v1, kind: Job, metadata: {name: train, namespace: default, uid: c1}, spec: {template: {metadata: {labels: {app: train}}, spec: {containers: [{name: train, image: "host/train:1"}]}}}}`
	)
	unawaited := func(u *unstructured.Unstructured) *unstructured.Unstructured {
		u.SetAnnotations(map[string]string{object.WaitAnnotation: "false"})
		return u
	}
	unchanged := func(c *kube.Change) { c.Before, c.Action = c.After, kube.Unchanged }

	tests := []struct {
		name     string
		service  string
		change   func(service, deployment *kube.Change)
		replicas int
		other    string // one more object of the set, that is changed
		timeout  time.Duration
		moments  []moment
		refuse   map[string]int
		took     float64
		fails    string
		says     string
		quiet    bool   // nobody is warned
		asks     string // how many requests are made, if that matters: "none", "one"
	}{
		{name: "it leads to the new pod", service: web, moments: append(serves[:3:3], moment{at: 3, object: slice("true", led, "a")}), took: 3.4},
		{name: "it leads to the new pod, which was not ready at first", service: web, moments: append(serves[:3:3], moment{at: 1, object: slice("false", led, "a")}, moment{at: 4, object: slice("true", led, "a")}), took: 4.4},
		{name: "it leads to a pod that was made since", service: web, moments: append(serves[:3:3], moment{at: 3, object: slice("true", led, "model-1-x")}), took: 3.4},
		{name: "it leads to others' pods", service: web, moments: append(serves[:3:3], moment{at: 1, object: slice("true", led, "canary")}), took: 14.4, fails: `it leads to other pods than those of what was deployed, such as "canary": its selector is app=model; correct spec.selector, or the labels of the pods`},
		{name: "it selects nothing", service: none, moments: serves, took: 14.4, fails: "it selects no pod: its selector is app=wrong, and the pods of what was deployed have the labels app=model; correct spec.selector, or the labels of the pods", says: "its selector app=wrong matches no pod of what was deployed, which have the labels app=model"},
		{name: "it selects pods that others deploy", service: none, moments: append(serves[:3:3], moment{at: 1, object: slice("true", led, "other")}), took: 2.4, says: "WARNING Service default/front: its selector app=wrong matches"},
		{name: "no pod of it is ready", service: web, moments: append(serves[:3:3], moment{at: 1, object: slice("false", led, "a")}), took: 14.4, fails: "none of its pods is ready to be sent requests (1 of them); look at their conditions: kubectl get pods --selector=app=model --namespace=default"},
		{name: "a port by name", service: named, moments: append(serves[:3:3], moment{at: 3, object: slice("true", led, "a")}), took: 3.4},
		{name: "a port by a name that no container has", service: strings.Replace(named, "http", "htpp", 1), moments: serves, took: 0, fails: `its port 80 leads to targetPort "htpp", which no container of its pods declares (declared: http 3000); correct targetPort, or give the container's port that name`},
		{name: "a port by a number that no container declares", service: strings.Replace(web, "3000", "8080", 1), moments: append(serves[:3:3], moment{at: 3, object: slice("true", led, "a")}), took: 3.4, says: "WARNING Service default/front: its port 80 leads to targetPort 8080, which no container of its pods declares (declared: http 3000)"},
		{name: "a port by a number that no container declares, as before", service: strings.Replace(web, "3000", "8080", 1), change: func(s, d *kube.Change) {
			unchanged(s)
			d.Before, d.Action = objecttest.FromYAML(t, strings.Replace(done, "generation: 4", "generation: 3", 1)), kube.Configured
		}, moments: append(serves[:3:3], moment{at: 3, object: slice("true", led, "a")}), took: 3.4, quiet: true},
		{name: "a port that leads nowhere", service: web, moments: append(serves[:3:3], moment{at: 1, object: slice("true", "", "a")}), took: 14.4, fails: "its port 80 leads to no port of its pods (declared: http 3000); correct targetPort, or the ports that the containers declare"},
		{name: "endpoints may not be read", service: web, moments: serves, refuse: map[string]int{"endpointslices": 403}, took: 2.4, says: "WARNING Service default/front: whether it leads to a pod is not known: "},
		{name: "no pod is wanted", service: web, replicas: -1, moments: []moment{{at: 1, object: strings.Replace(deployment(0), "status: {}", "status: {observedGeneration: 4}", 1)}}, took: 1.4},
		{name: "ExternalName", service: `{type: ExternalName, externalName: db.example.com, selector: {app: wrong}}`, moments: serves, took: 2.4},
		{name: "no selector", service: `{type: ClusterIP, ports: [{port: 80}]}`, moments: serves, took: 2.4},
		{name: "only the Service was changed", service: web, change: func(_, d *kube.Change) { d.After = objecttest.FromYAML(t, done); unchanged(d) }, moments: []moment{{at: 1, object: slice("true", led, "a")}}, took: 1.4},
		{name: "only the workload was changed", service: web, change: func(s, _ *kube.Change) { unchanged(s) }, moments: append(serves[:3:3], moment{at: 3, object: slice("true", led, "a")}), took: 3.4},
		{name: "nothing was changed", service: none, change: func(s, d *kube.Change) {
			d.After = objecttest.FromYAML(t, done)
			unchanged(s)
			unchanged(d)
		}, took: 12, fails: "it selects no pod: its selector is app=wrong", quiet: true},
		{name: "nothing was changed, and it serves", service: web, change: func(s, d *kube.Change) {
			d.After = with(t, objecttest.FromYAML(t, done), `{type: Available, status: "True", lastTransitionTime: "1999-12-31T23:00:00Z"}`)
			unchanged(s)
			unchanged(d)
		}, took: 0, says: "service/front: ready: cluster IP 10.0.0.7", asks: "none"},
		{name: "nothing was changed, of a workload that is not waited for and serves", service: web, change: func(s, d *kube.Change) {
			d.After = unawaited(objecttest.FromYAML(t, done))
			unchanged(s)
			unchanged(d)
		}, moments: []moment{{at: -1, object: slice("true", led, "a")}}, took: 0, says: "service/front: ready after 0s: cluster IP 10.0.0.7, 1 endpoint ready", asks: "one"},
		{name: "nothing was changed, of a port by a name that no container has", service: strings.Replace(named, "http", "htpp", 1), change: func(s, d *kube.Change) {
			d.After = objecttest.FromYAML(t, done)
			unchanged(s)
			unchanged(d)
		}, took: 0, fails: `its port 80 leads to targetPort "htpp"`},
		{name: "nothing was changed, of a workload that is not waited for", service: web, timeout: 90 * time.Second, change: func(s, d *kube.Change) {
			d.After = unawaited(objecttest.FromYAML(t, deployment(1)))
			unchanged(s)
			unchanged(d)
		}, moments: []moment{{at: -1, object: slice("false", led, "a")}}, took: 90, fails: `none of its pods is ready to be sent requests (1 of them); look at their conditions: kubectl get pods --selector=app=model --namespace=default; if they only need longer, raise timeout, or annotate the Service deploy-model-action/wait: "false"`},
		{name: "a workload that is not waited for, and loads for a minute", service: web, change: func(_, d *kube.Change) {
			d.After = unawaited(d.After)
		}, moments: []moment{{at: 1, object: slice("false", led, "a")}, {at: 60, object: slice("true", led, "a")}}, took: 60.4},
		{name: "a selector that matches no pod of a workload that is not waited for", service: none, change: func(_, d *kube.Change) {
			d.After = unawaited(d.After)
		}, took: 12, fails: "it selects no pod: its selector is app=wrong, and the pods"},
		{name: "something else was changed, and it leads nowhere", service: none, change: func(s, d *kube.Change) {
			d.After = objecttest.FromYAML(t, done)
			unchanged(s)
			unchanged(d)
		}, other: settings, took: 0, says: "WARNING Service default/front: it selects no pod: its selector is app=wrong, and the pods of what was deployed have the labels app=model; correct spec.selector, or the labels of the pods; it was not ready before this deploy, which changed nothing of it"},
		{name: "something else was changed, and it serves", service: web, change: func(s, d *kube.Change) {
			d.After = objecttest.FromYAML(t, done)
			unchanged(s)
			unchanged(d)
		}, moments: []moment{{at: -1, object: slice("true", led, "a")}}, other: settings, took: 0, quiet: true},
		{name: "a selector that matches nothing, beside what makes no pods", service: none, moments: serves, other: certificate, took: 14.4, fails: "it selects no pod: its selector is app=wrong, and the pods of what was deployed have the labels app=model"},
		{name: "a selector that matches nothing, while a Job trains", service: none, moments: serves, other: training, took: 14.4, fails: "it selects no pod: its selector is app=wrong, and the pods of what was deployed have the labels app=model"},
		{name: "it selects the pods of a Job, which end", service: strings.Replace(none, "wrong", "train", 1), moments: append(serves[:3:3], moment{at: 4, object: strings.Replace(training, "spec:", `status: {succeeded: 1, conditions: [{type: Complete, status: "True"}]}, spec:`, 1)}), other: training, took: 4.4},
		{name: "it selects nothing, and the time is short", service: none, moments: serves, timeout: 9 * time.Second, took: 9, fails: "it selects no pod: its selector is app=wrong, and the pods of what was deployed have the labels app=model; correct spec.selector, or the labels of the pods"},
		{name: "no endpoint at all", service: web, moments: serves, took: 14.4, fails: "no pod is behind it: its selector is app=model; look at its pods: kubectl get pods --selector=app=model --namespace=default"},
		{name: "a load balancer that gives no address, and selects nothing", service: strings.Replace(none, "ClusterIP", "LoadBalancer", 1), moments: serves, took: 14.4, fails: "it selects no pod: its selector is app=wrong, and the pods of what was deployed have the labels app=model"},
		{name: "it selects pods of others, which are not ready yet", service: none, moments: append(serves[:3:3], moment{at: 1, object: slice("false", led, "other")}, moment{at: 18, object: slice("true", led, "other")}), took: 18.4},
		{name: "a port by a name that no container has, as before", service: strings.Replace(named, "http", "htpp", 1), change: func(s, d *kube.Change) {
			unchanged(s)
			d.Before, d.Action = objecttest.FromYAML(t, strings.Replace(done, "generation: 4", "generation: 3", 1)), kube.Configured
		}, moments: append(serves[:3:3], moment{at: 3, object: slice("true", "", "a")}), took: 3.4, says: `WARNING Service default/front: its port 80 leads to targetPort "htpp", which no container of its pods declares (declared: http 3000), as before`},
		{name: "a port whose name the workload had before", service: strings.Replace(named, "http", "htpp", 1), change: func(s, d *kube.Change) {
			unchanged(s)
			d.Before, d.Action = objecttest.FromYAML(t, strings.NewReplacer("generation: 4", "generation: 3", "name: http", "name: htpp").Replace(done)), kube.Configured
		}, moments: serves, took: 0, fails: `its port 80 leads to targetPort "htpp"`},
		{name: "the labels of the workload were changed", service: none, change: func(s, d *kube.Change) {
			unchanged(s)
			d.Before = objecttest.FromYAML(t, strings.Replace(strings.ReplaceAll(done, "app: model", "app: wrong"), "generation: 4", "generation: 3", 1))
			d.Action = kube.Configured
		}, moments: serves, took: 14.4, fails: "it selects no pod: its selector is app=wrong"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				there := []moment{{at: -1, object: service(tt.service)}}
				if tt.other != "" {
					there = append(there, moment{at: -1, object: tt.other})
				}
				w := newWorld(t, append(there, tt.moments...))
				w.refuse = tt.refuse
				told := &kubetest.Recorder{}
				s := changeOf(objecttest.FromYAML(t, service(tt.service)))
				d := changeOf(objecttest.FromYAML(t, deployment(1+tt.replicas)))
				if tt.change != nil {
					tt.change(&s, &d)
				}
				changes := []kube.Change{s, d}
				if tt.other != "" {
					changes = append(changes, changeOf(objecttest.FromYAML(t, tt.other)))
				}
				o := Options{FailFast: true, Timeout: tt.timeout, Progress: told.Line, Warn: func(line string) { told.Line("WARNING " + line) }}
				var requests atomic.Int32
				_, err := Wait(t.Context(), kubetest.Serve(t, http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					w.ServeHTTP(out, r)
				})).Client, changes, o)
				if most, counted := map[string]int{"none": 0, "one": 1}[tt.asks]; counted && int(requests.Load()) > most {
					t.Errorf("%d requests, want %s", requests.Load(), tt.asks)
				}
				took := time.Since(objecttest.Start()).Seconds()
				if got := fmt.Sprint(err); (err != nil) != (tt.fails != "") || !strings.Contains(got, tt.fails) || took < tt.took || took > tt.took+0.9 {
					t.Errorf("after %.2f s, want %.2f s: error %q, want %q", took, tt.took, got, tt.fails)
				}
				if tt.quiet && strings.Contains(told.String(), "WARNING") || !strings.Contains(told.String(), tt.says) {
					t.Errorf("nobody was told %q:\n%s", tt.says, told)
				}
			})
		})
	}
}
