package apply_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/kube"
)

const scaler = `---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: model}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: model}, minReplicas: 1, maxReplicas: 20, metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]}
`

// TestLiveReplicas is the table of who sets the number of replicas: after the
// first deploy of ours, and after a second one, which has to change nothing.
func TestLiveReplicas(t *testing.T) {
	t.Parallel()
	type row struct {
		made, scaled           string
		holds, force, inTheSet bool
	}
	var rows []row
	for _, made := range []string{"kubectl", "kubectl --server-side", "helm", "us"} {
		for _, scaled := range []string{"nobody", "HPA", "KEDA", "kubectl scale"} {
			for n := range 4 { // an autoscaler in the set makes no difference to any of these
				rows = append(rows, row{made, scaled, n&1 != 0, n&2 != 0, len(rows)%3 == 0})
			}
		}
	}
	const before, byScaler, ours = 3, 7, 2
	want := func(r row) int64 {
		switch {
		case r.made == "helm" && !r.force:
			if r.scaled == "nobody" {
				return before // refused: the image is Helm's
			}
			return byScaler
		case r.scaled == "HPA", r.scaled == "KEDA":
			return byScaler
		case r.holds:
			return ours
		case r.scaled == "kubectl scale":
			return byScaler
		}
		return before
	}
	all := newEnv(t)
	for i, r := range rows {
		t.Run(fmt.Sprintf("made by %s, scaled by %s, in the manifest %t, force %t, autoscaler in the set %t", r.made, r.scaled, r.holds, r.force, r.inTheSet), func(t *testing.T) {
			t.Parallel()
			e := &env{T: t, dynamic: all.dynamic, rest: all.rest, namespace: all.namespace, name: fmt.Sprintf("model-%d", i)}
			first := e.named(model("r/m:1", fmt.Sprintf("replicas: %d", before), ""))
			switch r.made {
			case "kubectl":
				e.create("kubectl-client-side-apply", "Update", first)
			case "kubectl --server-side":
				e.create("kubectl", "Apply", first)
			case "helm":
				e.create("helm", "Update", first)
			case "us":
				e.must(e.options("1-1"), first)
			}
			scale := fmt.Sprintf(`{"spec":{"replicas":%d}}`, byScaler)
			switch r.scaled {
			case "HPA":
				e.patch(t.Context(), "kube-controller-manager", scale, "scale")
			case "KEDA":
				e.patch(t.Context(), "keda-operator", scale)
			case "kubectl scale":
				e.patch(t.Context(), "kubectl", scale, "scale")
			}
			spec := "minReadySeconds: 1"
			if r.holds {
				spec += fmt.Sprintf("\n  replicas: %d", ours)
			}
			manifest := model("r/m:2", spec, "")
			if r.inTheSet {
				manifest += scaler
			}
			manifest = e.named(manifest)
			o := e.options("2-1")
			o.ForceConflicts = r.force
			_, err := e.deploy(o, manifest)
			var conflict *kube.ConflictError
			if refused := r.made == "helm" && !r.force; errors.As(err, &conflict) != refused || (err != nil) != refused {
				t.Errorf("error %v", err)
			}
			log := e.logged()
			if got := e.replicas(); got != want(r) {
				t.Errorf("%d replicas, want %d\n%s", got, want(r), log)
			}
			if byHand := strings.Contains(log, "spec.replicas is set as the manifest says, and not any more as `kubectl scale` had set it"); err == nil && byHand != (r.scaled == "kubectl scale" && r.holds) {
				t.Errorf("the log says:\n%s", log)
			}
			if err != nil {
				return
			}
			o = e.options("3-1")
			o.ForceConflicts = r.force
			if got := lines(e.must(o, manifest)); strings.Contains(got, "configured") || e.replicas() != want(r) {
				t.Errorf("a second time:\n%s\nand %d replicas", got, e.replicas())
			}
		})
	}
}

func (e *env) replicas() int64 {
	e.Helper()
	live, err := e.deployment().Get(e.Context(), e.name, metav1.GetOptions{})
	if err != nil {
		e.Fatal(err)
	}
	n, _, _ := unstructured.NestedInt64(live.Object, "spec", "replicas")
	return n
}

// TestLiveScaledToZero: of a number that is the zero value the server keeps no
// owner. An autoscaler's zero stays; a person's gives way to the manifest.
func TestLiveScaledToZero(t *testing.T) {
	t.Parallel()
	for _, autoscaled := range []bool{true, false} {
		t.Run(fmt.Sprint("autoscaled ", autoscaled), func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.must(e.options("1-1"), model("r/m:1", "replicas: 3", ""))
			if autoscaled {
				e.create("keda-operator", "Update", strings.Replace(strings.TrimPrefix(scaler, "---\n"), "metadata: {name: model}", "metadata: {name: keda-hpa-model}", 1))
			}
			e.patch(t.Context(), "keda", `{"spec":{"replicas":0}}`, "scale")
			second := model("r/m:2", "replicas: 2", "")
			e.must(e.options("2-1"), second)
			want := int64(2)
			if autoscaled {
				want = 0
			}
			if got := e.replicas(); got != want {
				t.Errorf("%d replicas, want %d\n%s", got, want, e.logged())
			}
			if got := lines(e.must(e.options("3-1"), second)); got != "deployment.apps/model unchanged" || e.replicas() != want {
				t.Errorf("%s, %d replicas", got, e.replicas())
			}
		})
	}
}

// TestLiveEditedByHand: of what a person's tool set, only what conflicts becomes
// ours, and the log names it.
func TestLiveEditedByHand(t *testing.T) {
	t.Parallel()
	for _, manager := range []string{"kubectl-edit", "kubectl-patch", "kubectl-set", "GoogleCloudConsole"} {
		for _, made := range []string{"us", "kubectl"} {
			t.Run(manager+", made by "+made, func(t *testing.T) {
				t.Parallel()
				e := newEnv(t)
				first := model("r/m:1", "replicas: 1", "env: [{name: A, value: a}]")
				if made == "us" {
					e.must(e.options("1-1"), first)
				} else {
					e.create("kubectl-client-side-apply", "Update", first)
				}
				e.patch(t.Context(), manager, `{"spec":{"template":{"spec":{"containers":[{"name":"model","image":"r/m:hand","env":[{"name":"A","value":"hand"},{"name":"B","value":"b"}],"resources":{"limits":{"memory":"2Gi"}}}]}}}}`)
				second := model("r/m:2", "replicas: 1", "env: [{name: A, value: a}]")
				e.must(e.options("2-1"), second)
				live, err := e.deployment().Get(t.Context(), "model", metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				text := marshal(t, live.Object["spec"])
				for _, part := range []string{`"image":"r/m:2"`, `{"name":"A","value":"a"}`, `{"name":"B","value":"b"}`, `"memory":"2Gi"`} {
					if !strings.Contains(text, part) {
						t.Errorf("%s is not there: %s", part, text)
					}
				}
				log := e.logged()
				for _, field := range []string{"spec.template.spec.containers[0].image", "spec.template.spec.containers[0].env[0].value"} {
					if !strings.Contains(log, field+` is taken over from "`+manager+`"`) {
						t.Errorf("%s is not named:\n%s", field, log)
					}
				}
				if strings.Contains(log, "memory") {
					t.Errorf("the limit is named:\n%s", log)
				}
				if got := lines(e.must(e.options("3-1"), second)); got != "deployment.apps/model unchanged" {
					t.Error(got)
				}
			})
		}
	}
}

// TestLiveMigratedWhole: what kubectl applied, or Helm and one was asked to, goes
// with the manifest that does not hold it any more.
func TestLiveMigratedWhole(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		manager, operation string
		force              bool
	}{
		{"kubectl-client-side-apply", "Update", false},
		{"kubectl", "Apply", false},
		{"helm", "Update", true},
		{"helm", "Apply", true},
	} {
		t.Run(tc.manager+" "+tc.operation, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			e.create(tc.manager, tc.operation, model("r/m:1", "replicas: 1\n  minReadySeconds: 5", "env: [{name: OLD, value: x}]"))
			o := e.options("2-1")
			o.ForceConflicts = tc.force
			second := model("r/m:2", "replicas: 1", "")
			e.must(o, second)
			live, err := e.deployment().Get(t.Context(), "model", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			text := marshal(t, live.Object["spec"])
			if strings.Contains(text, "OLD") || strings.Contains(text, "minReadySeconds") || !strings.Contains(text, "r/m:2") {
				t.Errorf("%s", text)
			}
			for _, entry := range live.GetManagedFields() {
				if entry.Manager == tc.manager {
					t.Errorf("%s is still there: %s", tc.manager, entry.FieldsV1)
				}
			}
			if log := e.logged(); !strings.Contains(log, "fields that "+tc.manager+" set are now managed by deploy-model-action") {
				t.Error(log)
			}
			if got := lines(e.must(e.options("3-1"), second)); got != "deployment.apps/model unchanged" {
				t.Error(got)
			}
		})
	}
}

// TestLiveControllersAreNotOverridden: unless one is asked to, and then only what conflicts.
func TestLiveControllersAreNotOverridden(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	first := model("r/m:1", "replicas: 1", "")
	e.must(e.options("1-1"), first)
	e.patch(t.Context(), "platform-controller", `{"spec":{"minReadySeconds":3,"template":{"spec":{"containers":[{"name":"model","image":"r/m:theirs"}]}}}}`)
	second := model("r/m:2", "replicas: 1", "")
	_, err := e.deploy(e.options("2-1"), second)
	var own *kube.ObjectError
	var conflict *kube.ConflictError
	if !errors.As(err, &own) || own.Field != "spec.template.spec.containers[0].image" || !errors.As(err, &conflict) || conflict.Manager != "platform-controller" {
		t.Errorf("%v", err)
	}
	o := e.options("3-1")
	o.ForceConflicts = true
	e.must(o, second)
	live := e.get(e.documents(second)[0])
	if text := marshal(t, live.Object["spec"]); !strings.Contains(text, "r/m:2") || !strings.Contains(text, `"minReadySeconds":3`) {
		t.Error(text)
	}
}

// TestLiveTakenInBetween: what is taken by force is what was seen in conflict, and
// nothing that somebody takes in the second between check and write.
func TestLiveTakenInBetween(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.must(e.options("1-1"), model("r/m:1", "replicas: 1\n  minReadySeconds: 1", ""))
	e.patch(t.Context(), "kubectl-edit", `{"spec":{"template":{"spec":{"containers":[{"name":"model","image":"r/m:hand"}]}}}}`)
	plan, err := apply.NewPlan(t.Context(), e.documents(model("r/m:2", "replicas: 1\n  minReadySeconds: 2", "")), e.options("2-1"))
	if err != nil {
		t.Fatal(err)
	}
	e.patch(context.Background(), "platform-controller", `{"spec":{"minReadySeconds":9}}`)
	_, err = plan.Write(t.Context())
	var conflict *kube.ConflictError
	if !errors.As(err, &conflict) || conflict.Manager != "platform-controller" {
		t.Errorf("%v", err)
	}
}
