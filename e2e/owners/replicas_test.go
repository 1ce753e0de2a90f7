package owners_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// scaler is who sets replicas after the first version is there.
type scaler struct {
	name     string
	object   string // of the autoscaler
	inSet    bool   // whether that is among the manifests that are deployed
	manager  string // of the write; empty if it never had to scale
	replicas string // that it sets
	auto     bool   // it is no person
}

const hpa = `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: NAME}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: model}
  minReplicas: 3
  maxReplicas: 10
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]
`

const scaledObject = `apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: model}
spec:
  scaleTargetRef: {name: model}
  minReplicaCount: 0
  maxReplicaCount: 10
  triggers: [{type: cron, metadata: {start: "0 8 * * *", end: "0 18 * * *", timezone: UTC, desiredReplicas: "5"}}]
`

// The controller manager's HPA controller writes the subresource scale under the
// name of its program; KEDA scales from and to zero by itself, and makes an HPA
// for all other numbers.
const (
	hpaController = "kube-controller-manager"
	kedaOperator  = "keda"
	kubectlScale  = "kubectl"
)

var scalers = []scaler{
	{name: "nobody"},
	{name: "kubectl scale", manager: kubectlScale, replicas: "5"},
	{name: "HPA elsewhere", object: strings.Replace(hpa, "NAME", "model", 1), manager: hpaController, replicas: "5", auto: true},
	{name: "HPA in the set", object: strings.Replace(hpa, "NAME", "model", 1), inSet: true, manager: hpaController, replicas: "5", auto: true},
	// Case 16: three is its minimum, so it never wrote.
	{name: "HPA elsewhere, idle", object: strings.Replace(hpa, "NAME", "model", 1), replicas: "3", auto: true},
	{name: "HPA in the set, idle", object: strings.Replace(hpa, "NAME", "model", 1), inSet: true, replicas: "3", auto: true},
	{name: "KEDA elsewhere", object: scaledObject, manager: hpaController, replicas: "5", auto: true},
	{name: "KEDA in the set", object: scaledObject, inSet: true, manager: hpaController, replicas: "5", auto: true},
	{name: "KEDA elsewhere, to zero", object: scaledObject, manager: kedaOperator, replicas: "0", auto: true},
	{name: "KEDA in the set, to zero", object: scaledObject, inSet: true, manager: kedaOperator, replicas: "0", auto: true},
}

// firsts are who made the Deployment, with three replicas.
var firsts = []struct {
	name string
	client
	ours bool
}{
	{name: "us", ours: true},
	{name: "kubectl", client: kubectlApply},
	{name: "kubectl --server-side", client: kubectlServerSide},
	{name: "Helm 3", client: helm3},
	{name: "Helm 4", client: helm4},
}

// TestReplicas is a table of replicas before and after a deploy.
func TestReplicas(t *testing.T) {
	t.Parallel()
	defineScaledObjects(t)
	var mu sync.Mutex
	var rows []string
	fell, cases := 0, 0
	t.Cleanup(func() {
		slices.Sort(rows)
		cloudtest.Figure(t, "%-22s %-24s %-9s %-6s %6s after\n%s", "first applied by", "scaled by", "manifest", "force", "before", strings.Join(rows, "\n"))
		cloudtest.Figure(t, "replicas fell that should not have: %d of %d", fell, cases)
	})
	n := 0
	for _, first := range firsts {
		for _, s := range scalers {
			for _, wanted := range []string{"", "4"} { // replicas in the manifest
				for _, force := range []bool{false, true} {
					case16 := s.name == "HPA elsewhere, idle" && first.ours && wanted == "" && !force
					if n++; !cloudtest.Campaign() && n%7 != 1 && !case16 {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/replicas %s/force %t", first.name, s.name, wanted, force), func(t *testing.T) {
						t.Parallel()
						x := cloudtest.New(t)
						if first.ours {
							x.Push(x.SHA(0), nil)
							x.Write("kubernetes/model.yaml", s.manifest(x.SHA(0), "3"))
							if r := x.Deploy(x.SHA(0), nil); r.Outputs["outcome"] != "deployed" {
								t.Fatalf("the first deploy: %s", r.Outputs["outcome"])
							}
						} else {
							x.Push("latest", nil)
							first.write(x, s.manifest("latest", "3"))
						}
						s.scale(x)
						before := replicas(x)
						got, refused := s.deploy(x, wanted, force, strings.HasPrefix(first.name, "Helm") && !force)
						want := s.want(before, wanted)
						after := strconv.Itoa(int(got))
						if refused {
							want, after = []int32{before}, after+", refused"
						}
						right := slices.Contains(want, got)
						if !right {
							t.Errorf("%d replicas after the deploy, want %d", got, want)
						}
						mu.Lock()
						defer mu.Unlock()
						cases++
						if got < before && !right {
							fell++
						}
						rows = append(rows, fmt.Sprintf("%-22s %-24s %-9s %-6t %6d %s", first.name, s.name, wanted, force, before, after))
					})
				}
			}
		}
	}
}

// manifest is what is deployed: with the autoscaler, if it is in the set.
func (s scaler) manifest(tag, replicas string) string {
	spec := ""
	if replicas != "" {
		spec = "replicas: " + replicas
	}
	m := deployment(tag, spec, "ports: [{containerPort: 3000}]")
	if s.inSet {
		m += "---\n" + s.object
	}
	return m
}

// scale makes the autoscaler, if it is elsewhere, and scales.
func (s scaler) scale(x *cloudtest.Test) {
	x.Helper()
	if s.object != "" && !s.inSet {
		client{manager: "terraform"}.write(x, s.object)
	}
	if strings.Contains(s.object, "ScaledObject") && s.replicas != "0" {
		// KEDA's operator makes an HPA of this name.
		client{manager: kedaOperator}.write(x, strings.Replace(hpa, "NAME", "keda-hpa-model", 1))
	}
	if s.manager != "" {
		scale(x, s.manager, s.replicas)
	}
}

// want is how many replicas there may be after a deploy: an autoscaler's number,
// the manifest's, or what there was, since nobody asks for another number.
func (s scaler) want(before int32, manifest string) []int32 {
	switch {
	case manifest == "", s.manager != "" && s.auto && (s.inSet || s.replicas != "0"):
		return []int32{before}
	case s.auto:
		// It never set any, and will in a moment; or it set zero, of which the API
		// server keeps no owner (a Scale leaves it out): nobody can know whose it is.
		return []int32{before, 4}
	}
	return []int32{4}
}

// deploy deploys a new version, and that once more. mayRefuse is whether another
// owner's objects may be refused, with his name.
func (s scaler) deploy(x *cloudtest.Test, wanted string, force, mayRefuse bool) (after int32, refused bool) {
	x.Helper()
	x.Push(x.SHA(1), nil)
	x.Write("kubernetes/model.yaml", s.manifest(x.SHA(1), wanted))
	with := map[string]string{"force_conflicts": strconv.FormatBool(force)}
	r := x.Deploy(x.SHA(1), with)
	after = replicas(x)
	if mayRefuse && r.Outputs["outcome"] == "failed" && strings.Contains(r.Log, `"helm"`) {
		return after, true
	}
	if r.Outputs["outcome"] != "deployed" {
		x.Errorf("the deploy ended as %s", r.Outputs["outcome"])
		return after, false
	}
	if s.manager == kubectlScale && wanted != "" && !mentions(r.Log, "replicas", "kubectl") {
		x.Error("the log does not say that the manifest's replicas took the place of what a person set")
	}
	r = x.Deploy(x.SHA(1), with)
	if r.Outputs["outcome"] != "unchanged" {
		x.Errorf("the same commit again ended as %s", r.Outputs["outcome"])
	}
	if again := replicas(x); again != after {
		x.Errorf("%d replicas after the same commit again, %d before", again, after)
	}
	return after, false
}

// mentions reports whether a line holds all words.
func mentions(log string, words ...string) bool {
	for line := range strings.Lines(log) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return true
		}
	}
	return false
}

// defineScaledObjects makes KEDA's kind known to the cluster.
func defineScaledObjects(t *testing.T) {
	t.Helper()
	x := cloudtest.New(t)
	definition := documents(x, `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: scaledobjects.keda.sh}
spec:
  group: keda.sh
  scope: Namespaced
  names: {kind: ScaledObject, listKind: ScaledObjectList, plural: scaledobjects, singular: scaledobject}
  versions:
    - {name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
`)[0]
	definition.SetNamespace("")
	definitions := x.Dynamic().Resource(resourceOf(definition))
	if _, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = definitions.Delete(context.Background(), definition.GetName(), metav1.DeleteOptions{})
	})
	eventually(x, "the kind is served", func() bool {
		o := documents(x, scaledObject)[0]
		_, err := x.Dynamic().Resource(resourceOf(o)).Namespace(x.Namespace).Get(x.Context(), "none", metav1.GetOptions{})
		return apierrors.IsNotFound(err) && strings.Contains(err.Error(), `"none"`)
	})
}
