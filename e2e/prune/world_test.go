package prune_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// kindOf is where objects of a kind are, and what one holds.
type kindOf struct {
	resource schema.GroupVersionResource
	line     string // kubectl's name of the kind
	manifest string
}

var kinds = map[string]kindOf{
	"c": {schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}, "configmap", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {of: manifest}\n"},
	"s": {schema.GroupVersionResource{Version: "v1", Resource: "secrets"}, "secret", "apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\nstringData: {of: manifest}\n"},
	"v": {schema.GroupVersionResource{Version: "v1", Resource: "services"}, "service", "apiVersion: v1\nkind: Service\nmetadata: {name: %s, labels: {of: manifest}}\nspec: {clusterIP: None, ports: [{port: 80}]}\n"},
	"n": {schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}, "networkpolicy.networking.k8s.io", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: %s, labels: {of: manifest}}\nspec: {podSelector: {matchLabels: {a: b}}}\n"},
	"a": {schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}, "serviceaccount", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: %s, labels: {of: manifest}}\nautomountServiceAccountToken: false\n"},
	"p": {schema.GroupVersionResource{Version: "v1", Resource: "persistentvolumeclaims"}, "persistentvolumeclaim", "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: %s, labels: {of: manifest}, annotations: {deploy-model-action/wait: 'false'}}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n"},
}

// pool are the objects of which releases hold some, by name; the letter is the kind.
var pool = []string{"c0", "c1", "c2", "s0", "v0", "n0", "a0", "p0"}

func kind(name string) kindOf { return kinds[name[:1]] }

// trainer is what every release has: an image, and nothing to wait for.
const trainer = `apiVersion: batch/v1
kind: CronJob
metadata: {name: trainer-%s}
spec:
  schedule: "0 0 1 1 *"
  suspend: true
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: train, image: %s/%s:latest}]}}}}
`

// migration is a Job that fails before any workload is written, a new one each time.
const migration = `apiVersion: batch/v1
kind: Job
metadata: {generateName: migrate-, annotations: {deploy-model-action/phase: before}}
spec:
  activeDeadlineSeconds: 1
  template: {spec: {restartPolicy: Never, nodeSelector: {none: none}, containers: [{name: migrate, image: example.com/migrate:1}]}}
`

// release is what a release is known to have done, by what its runs were and by what
// the cluster held before and after them; nothing is read of its record.
type release struct {
	name  string
	first int64           // number of its first run
	runs  map[string]bool // as marks name them
	inv   map[string]bool // what it has applied and not lost since
	held  map[string]bool // what it holds, or may come to hold again
	ours  map[types.UID]bool
	set   map[string]bool // that was verified last
}

// world is a namespace with two releases, and with people who change things by hand.
type world struct {
	*cloudtest.Test
	dynamic  dynamic.Interface
	releases []*release
	step     int
	ran      int
	jobs     int
	right    bool
	pruned   int
	killed   int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Test: cloudtest.New(t), right: true}
	w.dynamic = w.Dynamic()
	w.Push(w.SHA(0), nil)
	for _, name := range []string{"a", "b"} {
		w.releases = append(w.releases, &release{name: name, runs: map[string]bool{}, inv: map[string]bool{}, held: map[string]bool{}, ours: map[types.UID]bool{}, set: map[string]bool{}})
	}
	return w
}

// wrong says what is not as it should be.
func (w *world) wrong(format string, args ...any) {
	w.Helper()
	w.right = false
	w.Errorf("step %d: "+format, append([]any{w.step}, args...)...)
}

func (w *world) at(name string) dynamic.ResourceInterface {
	return w.dynamic.Resource(kind(name).resource).Namespace(w.Namespace)
}

// live are the objects of the pool that are there.
func (w *world) live() map[string]*unstructured.Unstructured {
	w.Helper()
	all := map[string]*unstructured.Unstructured{}
	for _, name := range pool {
		u, err := w.at(name).Get(w.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && u.GetDeletionTimestamp() != nil {
			continue
		} else if err != nil {
			w.Fatal(err)
		}
		all[name] = u
	}
	return all
}

// create makes an object by hand, with other content than the manifests have.
func (w *world) create(name string) {
	w.Helper()
	u := &unstructured.Unstructured{}
	text := strings.ReplaceAll(strings.Replace(fmt.Sprintf(kind(name).manifest, name), "annotations: {deploy-model-action/wait: 'false'}", "annotations: {a: b}", 1), "of: manifest", "of: hand")
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		w.Fatal(err)
	}
	if _, err := w.at(name).Create(w.Context(), u, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
		w.Fatal(err)
	}
}

// remove deletes an object by hand, and returns when it is gone. Of a claim it takes
// the finalizer away too, as often as the controller puts it back.
func (w *world) remove(name string) {
	w.Helper()
	if err := w.at(name).Delete(w.Context(), name, metav1.DeleteOptions{}); err != nil {
		w.Fatal(err)
	}
	for {
		_, err := w.at(name).Patch(w.Context(), name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{FieldManager: "kubectl-patch"})
		if apierrors.IsNotFound(err) {
			return
		}
		if err != nil {
			w.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// annotate says by hand whether an object may be pruned; "null" takes that back.
func (w *world) annotate(name, value string) {
	w.Helper()
	body := `{"metadata":{"annotations":{"deploy-model-action/prune":` + value + `}}}`
	if _, err := w.at(name).Patch(w.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{FieldManager: "kubectl-annotate"}); err != nil {
		w.Fatal(err)
	}
}

// prepared is a run that is about to start.
type prepared struct {
	of     *release
	set    []string
	prune  bool
	fails  bool
	client *cloudtest.Test
	step   runner.Step
}

func (w *world) prepare(r *release, set []string, prune, fails bool) prepared {
	w.Helper()
	w.ran++ // a hook of one run is not to meet the next
	p := prepared{of: r, set: set, prune: prune, fails: fails}
	y := *w.Test
	y.Client, y.Workspace = fmt.Sprintf("%s.run%d", w.Namespace, w.ran), w.TempDir()
	documents := []string{fmt.Sprintf(trainer, r.name, localcloud.RegistryHost, cloudtest.Model)}
	for _, name := range set {
		documents = append(documents, fmt.Sprintf(kind(name).manifest, name))
	}
	if fails {
		documents = append(documents, migration)
	}
	y.Write("kubernetes/all.yaml", strings.Join(documents, "---\n"))
	p.client = &y
	p.step = y.Step(w.SHA(0), map[string]string{"release": r.name, "prune": strconv.FormatBool(prune)})
	return p
}

// begin notes what a run does as soon as it has claimed the release.
func (w *world) begin(p prepared) {
	id, err := strconv.ParseInt(p.step.RunID, 10, 64)
	if err != nil {
		w.Fatal(err)
	}
	if p.of.first == 0 {
		p.of.first = id
	}
	p.of.runs[p.step.RunID+"-1"] = true
	for _, name := range p.set {
		p.of.inv[name], p.of.held[name] = true, true
	}
}

// verified notes that a run found that its set serves.
func (w *world) verified(p prepared, after map[string]*unstructured.Unstructured) {
	p.of.held, p.of.set = map[string]bool{}, map[string]bool{}
	for _, name := range p.set {
		p.of.held[name], p.of.set[name] = true, true
		if after[name] == nil {
			w.wrong("%s is not there after a deploy of release %s that holds it", name, p.of.name)
			continue
		}
		p.of.ours[after[name].GetUID()] = true
	}
}

// created notes the objects that a run made.
func (w *world) created(p prepared, before, after map[string]*unstructured.Unstructured) {
	for name, u := range after {
		if before[name] == nil || before[name].GetUID() != u.GetUID() {
			p.of.ours[u.GetUID()] = true
		}
	}
}

// lost reports whether an object that the release has applied is not its own any more.
func (r *release) lost(u *unstructured.Unstructured) bool {
	if u == nil || !r.ours[u.GetUID()] {
		return true
	}
	mark := u.GetAnnotations()["deploy-model-action/run"]
	id, _ := strconv.ParseInt(strings.TrimSuffix(mark, "-1"), 10, 64)
	return mark != "" && !r.runs[mark] && id >= r.first
}

// prunable are the objects that a run that serves has to delete.
func (w *world) prunable(p prepared, live map[string]*unstructured.Unstructured) []string {
	var names []string
	for _, name := range pool {
		u := live[name]
		if slices.Contains(p.set, name) || !p.of.inv[name] || p.of.lost(u) {
			continue
		}
		annotation := u.GetAnnotations()["deploy-model-action/prune"]
		if annotation == "false" || name[:1] == "p" && annotation != "true" {
			continue
		}
		shared := false
		for _, other := range w.releases {
			shared = shared || other != p.of && other.held[name]
		}
		if !shared {
			names = append(names, name)
		}
	}
	return names
}

// forget notes what a run that pruned does not count as its own any more.
func (w *world) forget(p prepared, live map[string]*unstructured.Unstructured) {
	for name := range maps.Clone(p.of.inv) {
		if !slices.Contains(p.set, name) && p.of.lost(live[name]) {
			delete(p.of.inv, name)
		}
	}
}

// untouched wants everything but some names to be what it was.
func (w *world) untouched(before, after map[string]*unstructured.Unstructured, but []string) {
	w.Helper()
	for name, u := range before {
		if slices.Contains(but, name) {
			continue
		}
		if after[name] == nil {
			w.wrong("%s is not there any more", name)
		} else if after[name].GetUID() != u.GetUID() {
			w.wrong("%s is another one", name)
		}
	}
	jobs, err := w.Kube.BatchV1().Jobs(w.Namespace).List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	if len(jobs.Items) < w.jobs {
		w.wrong("there are %d Jobs of earlier runs, want %d: they are a history", len(jobs.Items), w.jobs)
	}
	w.jobs = len(jobs.Items)
}
