package action_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/proxy"
)

var order = flag.Uint64("order", uint64(time.Now().UnixNano()), "seed of the order of files in the test of many objects")

// TestMany applies 500 objects in one run, among them a namespace and a
// definition that others need, in files of any order.
func TestMany(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	digest := x.Push(x.SHA(0), nil)
	set := newSet(x)
	names := rand.New(rand.NewPCG(*order, 1)).Perm(len(set.objects)) //nolint:gosec // an order, not a secret
	t.Logf("-order=%d", *order)
	for i, object := range set.objects {
		x.Write(fmt.Sprintf("kubernetes/%03d.yaml", names[i]), object)
	}

	r := x.Deploy(x.SHA(0), map[string]string{"timeout": "5m"})
	want(t, r, 0, "deployed")
	for _, c := range changes(t, r) {
		if c.Action != "created" {
			t.Errorf("%+v", c)
		}
	}
	if n := len(changes(t, r)); n != 500 {
		t.Errorf("%d changes, want 500", n)
	}
	all := clusterRequests(x)
	applied := len(all)
	t.Logf("500 objects in %s, with %d requests to the API server", r.Duration.Round(time.Millisecond), applied)
	// The rollout looks at pods now and then; what a definition makes possible is
	// asked for until the server serves it.
	others := regexp.MustCompile(`/(?:events|pods|replicasets)\?|[/.]` + regexp.QuoteMeta(set.group))
	own := slices.DeleteFunc(all, others.MatchString)
	if most := 3*(500-len(set.dependent)-1) + 12; len(own) > most {
		t.Errorf("%d requests for objects of built-in kinds, want %d at most", len(own), most)
	}
	set.check(x, x.SHA(0)+"@"+digest)

	again := x.Deploy(x.SHA(0), map[string]string{"timeout": "5m"})
	want(t, again, 0, "unchanged")
	t.Logf("again in %s, with %d requests", again.Duration.Round(time.Millisecond), len(clusterRequests(x))-applied)
}

// clusterRequests are those to the API server that end.
func clusterRequests(x *cloudtest.Test) (all []string) {
	x.Helper()
	for _, e := range x.Requests() {
		if x.IsCluster(e) && !strings.Contains(e.Path, "watch=") {
			all = append(all, e.Method+" "+e.Path)
		}
	}
	return all
}

// set is 500 manifests, and where what matters among them is.
type set struct {
	objects   []string
	group     string
	namespace string   // that is in the set
	dependent []string // names of the custom resources
}

func newSet(x *cloudtest.Test) *set {
	s := &set{group: x.Namespace + ".example.com", namespace: x.Namespace + "-new"}
	add := func(format string, args ...any) { s.objects = append(s.objects, fmt.Sprintf(format, args...)) }
	add("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n", s.namespace)
	add(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: inferenceservices.%[1]s
spec:
  group: %[1]s
  scope: Namespaced
  names: {kind: InferenceService, plural: inferenceservices, singular: inferenceservice}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            spec: {type: object, x-kubernetes-preserve-unknown-fields: true}
`, s.group)
	for i := range 20 {
		name := fmt.Sprintf("custom-%02d", i)
		s.dependent = append(s.dependent, name)
		namespace := ""
		if i%2 == 1 {
			namespace = "\n  namespace: " + s.namespace
		}
		add(`apiVersion: %s/v1
kind: InferenceService
metadata:
  name: %s%s
  annotations: {deploy-model-action/wait: "false"} # nobody writes them a status
spec:
  predictor:
    template:
      spec:
        initContainers: [{name: load, image: "%s:latest"}]
        containers:
          - name: model
            image: %s:latest
          - name: proxy
            image: registry.example.com/proxy:1.2
`, s.group, name, namespace, image, image)
	}
	for i := range 4 {
		add(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: model-%d
  namespace: %s
spec:
  replicas: 1
  minReadySeconds: 0
  selector: {matchLabels: {app: model-%d}}
  template:
    metadata: {labels: {app: model-%d}}
    spec:
      serviceAccountName: model
      containers:
        - name: model
          image: %s:latest
          envFrom: [{configMapRef: {name: config-001}}]
`, i, s.namespace, i, i, image)
	}
	add("apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: model\n  namespace: %s\n", s.namespace)
	for i := range 40 {
		add("apiVersion: v1\nkind: Service\nmetadata:\n  name: service-%02d\nspec:\n  selector: {app: model}\n  type: ExternalName\n  externalName: model.example.com\n  ports: [{port: 80}]\n", i)
	}
	for i := 0; len(s.objects) < 500; i++ {
		namespace := ""
		if i%2 == 1 {
			namespace = "\n  namespace: " + s.namespace
		}
		add("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-%03d%s\ndata:\n  number: \"%d\"\n", i, namespace, i)
	}
	x.Cleanup(func() {
		ctx := context.Background()
		_ = x.Kube.CoreV1().Namespaces().Delete(ctx, s.namespace, metav1.DeleteOptions{})
		definitions := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
		_ = x.Dynamic().Resource(definitions).Delete(ctx, "inferenceservices."+s.group, metav1.DeleteOptions{})
	})
	return s
}

// check looks at the custom resources, whose images nobody but us would rewrite.
func (s *set) check(x *cloudtest.Test, version string) {
	x.Helper()
	resource := x.Dynamic().Resource(schema.GroupVersionResource{Group: s.group, Version: "v1", Resource: "inferenceservices"})
	for i, name := range s.dependent {
		namespace := x.Namespace
		if i%2 == 1 {
			namespace = s.namespace
		}
		object, err := resource.Namespace(namespace).Get(x.Context(), name, metav1.GetOptions{})
		if err != nil {
			x.Error(err)
			continue
		}
		for _, list := range []string{"initContainers", "containers"} {
			containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "predictor", "template", "spec", list)
			wanted := []string{image + ":" + version, "registry.example.com/proxy:1.2"}
			for j, c := range containers {
				if got := c.(map[string]any)["image"]; got != wanted[j] {
					x.Errorf("%s %s: image %q, want %q", name, list, got, wanted[j])
				}
			}
		}
	}
}

// TestManyRefused is the same set with one mistake. Where it can be seen before
// the first write, nothing is written; what is in the new namespace can only be
// checked once that is there, and nothing else is.
func TestManyRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		old, mistake string
		written      []change // without namespace
	}{
		"in a namespace that is there": {"kind: Service\nmetadata:\n  name: service-07\nspec:\n  selector", "kind: Service\nmetadata:\n  name: service-07\nspec:\n  selektor", nil},
		"in the new namespace": {"replicas: 1", "replica: 1", []change{
			{Kind: "CustomResourceDefinition", Action: "created"}, {Kind: "Namespace", Action: "created"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := cloudtest.New(t)
			x.Push(x.SHA(0), nil)
			set, made := newSet(x), false
			for i, object := range set.objects {
				if !made && strings.Contains(object, test.old) {
					object, made = strings.Replace(object, test.old, test.mistake, 1), true
				}
				x.Write(fmt.Sprintf("kubernetes/%03d.yaml", i), object)
			}
			r := x.Deploy(x.SHA(0), nil)
			want(t, r, 1, "failed")
			if len(r.Annotations) != 1 || r.Annotations[0].File == "" || r.Annotations[0].Line == 0 {
				t.Errorf("annotations: %+v", r.Annotations)
			}
			var got []change
			for _, c := range changes(t, r) {
				got = append(got, change{Kind: c.Kind, Action: c.Action})
			}
			slices.SortFunc(got, func(a, b change) int { return strings.Compare(a.Kind, b.Kind) })
			if diff := cmp.Diff(test.written, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			writes := 0
			for _, e := range x.Requests() {
				if x.IsWrite(e) && !cloudtest.IsRecord(proxy.Request{Method: e.Method, Path: e.Path}) {
					writes++
				}
			}
			if writes != len(test.written) {
				t.Errorf("%d writes, want %d", writes, len(test.written))
			}
		})
	}
}
