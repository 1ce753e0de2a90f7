package apply_test

import (
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// edit changes the object as kubectl does, in one of its ways. What the server refuses
// is no edit.
func (s *sequence) edit() {
	s.Helper()
	other := copied(s.kind.make(s.choices.changed(1 + s.choices.r.IntN(3))))
	ways := []string{"apply", "apply --server-side", "edit", "patch", "patch --type=merge", "replace", "create", "label", "annotate", "delete"}
	switch s.kind.name {
	case "Deployment", "StatefulSet":
		ways = append(ways, "scale", "set image", "set env", "rollout restart", "autoscaler")
	case "DaemonSet":
		ways = append(ways, "set image", "set env", "rollout restart")
	}
	way := ways[s.choices.r.IntN(len(ways))]
	err := s.by(way, other)
	s.tally.add("kubectl " + way)
	if err != nil {
		s.note("--- kubectl %s was refused: %v", way, err)
		return
	}
	s.note("--- kubectl %s\n%s", way, asJSON(other))
}

func (s *sequence) by(way string, other tree) error {
	live := s.read()
	if live == nil && way != "apply" && way != "apply --server-side" && way != "create" {
		return nil
	}
	ctx, objects := s.Context(), s.objects()
	patch := func(kind types.PatchType, manager, body string, subresources ...string) error {
		_, err := objects.Patch(ctx, "model", kind, []byte(body), metav1.PatchOptions{FieldManager: manager}, subresources...)
		return err
	}
	strategic := types.StrategicMergePatchType
	if s.kind.typed == nil {
		strategic = types.MergePatchType
	}
	inContainer := func(fields string) string {
		return fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"model",%s}]}}}}`, fields)
	}
	switch way {
	case "apply":
		return s.clientSide(live, other)
	case "apply --server-side":
		force, body := true, asJSON(other)
		_, err := objects.Patch(ctx, "model", types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: "kubectl", Force: &force})
		return err
	case "edit", "patch", "patch --type=merge":
		from := s.sent
		if from == nil {
			return nil
		}
		if way == "patch --type=merge" {
			body, err := jsonmergepatch.CreateThreeWayJSONMergePatch(asBytes(from), asBytes(other), asBytes(from))
			if err != nil {
				return err
			}
			return patch(types.MergePatchType, "kubectl-patch", string(body))
		}
		body, err := s.difference(asBytes(from), asBytes(other), asBytes(from))
		if err != nil {
			return err
		}
		return patch(strategic, "kubectl-"+way, string(body))
	case "replace":
		u := &unstructured.Unstructured{Object: other}
		u.SetResourceVersion(live.GetResourceVersion())
		_, err := objects.Update(ctx, u, metav1.UpdateOptions{FieldManager: "kubectl-replace"})
		return err
	case "create":
		if live != nil {
			if err := s.by("delete", nil); err != nil {
				return err
			}
		}
		_, err := objects.Create(ctx, &unstructured.Unstructured{Object: other}, metav1.CreateOptions{FieldManager: "kubectl-create"})
		return err
	case "delete":
		now, policy := int64(0), metav1.DeletePropagationBackground
		err := objects.Delete(ctx, "model", metav1.DeleteOptions{GracePeriodSeconds: &now, PropagationPolicy: &policy})
		for s.read() != nil && ctx.Err() == nil { // a load balancer goes first
			time.Sleep(20 * time.Millisecond)
		}
		return err
	case "label":
		return patch(types.MergePatchType, "kubectl-label", fmt.Sprintf(`{"metadata":{"labels":{"tier":%q}}}`, []string{"a", "b", "hand"}[s.choices.r.IntN(3)]))
	case "annotate":
		return patch(types.MergePatchType, "kubectl-annotate", fmt.Sprintf(`{"metadata":{"annotations":{"note":%q}}}`, []string{"a", "b", "hand"}[s.choices.r.IntN(3)]))
	case "scale":
		return patch(types.MergePatchType, "kubectl", fmt.Sprintf(`{"spec":{"replicas":%d}}`, s.choices.r.IntN(4)), "scale")
	case "autoscaler":
		return patch(types.MergePatchType, "kube-controller-manager", fmt.Sprintf(`{"spec":{"replicas":%d}}`, 1+s.choices.r.IntN(4)), "scale")
	case "set image":
		return patch(strategic, "kubectl-set", inContainer(fmt.Sprintf(`"image":%q`, []string{"r/m:1", "r/m:latest", "r/m:hand"}[s.choices.r.IntN(3)])))
	case "set env":
		return patch(strategic, "kubectl-set", inContainer(fmt.Sprintf(`"env":[{"name":%q,"value":%q}]`, []string{"A", "B", "HAND"}[s.choices.r.IntN(3)], []string{"a", "hand"}[s.choices.r.IntN(2)])))
	case "rollout restart":
		return patch(strategic, "kubectl-rollout", fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"%d"}}}}}`, s.choices.r.IntN(1000)))
	}
	panic(way)
}

// difference is the patch that kubectl makes of two manifests and the object.
func (s *sequence) difference(before, after, live []byte) ([]byte, error) {
	if s.kind.typed == nil {
		return jsonmergepatch.CreateThreeWayJSONMergePatch(before, after, live)
	}
	schema, err := strategicpatch.NewPatchMetaFromStruct(s.kind.typed)
	if err != nil {
		return nil, err
	}
	return strategicpatch.CreateThreeWayMergePatch(before, after, live, schema, true)
}

// clientSide is `kubectl apply`.
func (s *sequence) clientSide(live *unstructured.Unstructured, manifest tree) error {
	u := &unstructured.Unstructured{Object: copied(manifest)}
	text := string(asBytes(manifest))
	annotations := u.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[lastApplied] = text
	u.SetAnnotations(annotations)
	const manager = "kubectl-client-side-apply"
	if live == nil {
		_, err := s.objects().Create(s.Context(), u, metav1.CreateOptions{FieldManager: manager})
		return err
	}
	var before []byte
	if was := live.GetAnnotations()[lastApplied]; was != "" {
		before = []byte(was)
	}
	body, err := s.difference(before, asBytes(u.Object), asBytes(live.Object))
	if err != nil {
		return err
	}
	kind := types.StrategicMergePatchType
	if s.kind.typed == nil {
		kind = types.MergePatchType
	}
	_, err = s.objects().Patch(s.Context(), "model", kind, body, metav1.PatchOptions{FieldManager: manager})
	return err
}

func asBytes(v any) []byte {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return body
}
