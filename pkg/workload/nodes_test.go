package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// required is a pod that may run on certain nodes only.
func required(all ...corev1.NodeSelectorRequirement) corev1.PodSpec {
	return corev1.PodSpec{Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: all}}},
	}}}
}

func TestNames(t *testing.T) {
	t.Parallel()
	both := required(corev1.NodeSelectorRequirement{Key: ArchLabel, Operator: corev1.NodeSelectorOpIn, Values: []string{"amd64", "arm64"}})
	for _, c := range []struct {
		pod      corev1.PodSpec
		platform string
		want     bool
	}{
		{both, "linux/arm64", true},
		{both, "linux/arm64/v8", true},
		{both, "linux/s390x", false},
		{corev1.PodSpec{NodeSelector: map[string]string{ArchLabel: "arm64"}}, "linux/arm64", true},
		{corev1.PodSpec{}, "linux/arm64", false},
		{corev1.PodSpec{}, "", false},
	} {
		if got := Names(&c.pod, c.platform); got != c.want {
			t.Errorf("%+v names %s: %v", c.pod, c.platform, got)
		}
	}
}

func TestNodes(t *testing.T) {
	t.Parallel()
	node := func(arch string, taints ...corev1.Taint) corev1.Node {
		return corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{ArchLabel: arch, OSLabel: "linux", "pool": arch}},
			Spec:       corev1.NodeSpec{Taints: taints},
		}
	}
	arm := corev1.Taint{Key: ArchLabel, Value: "arm64", Effect: corev1.TaintEffectNoSchedule} // as GKE sets it
	gpu := corev1.Taint{Key: "nvidia.com/gpu", Value: "present", Effect: corev1.TaintEffectNoSchedule}
	soft := corev1.Taint{Key: "spot", Value: "true", Effect: corev1.TaintEffectPreferNoSchedule}
	mixed := []corev1.Node{node("arm64", arm), node("amd64"), node("amd64", soft)}
	for name, c := range map[string]struct {
		nodes []corev1.Node
		pod   corev1.PodSpec
		want  []string
	}{
		"no nodes":                      {nil, corev1.PodSpec{}, nil},
		"any":                           {[]corev1.Node{node("arm64"), node("amd64"), node("amd64")}, corev1.PodSpec{}, []string{"linux/amd64", "linux/arm64"}},
		"GKE's taint":                   {mixed, corev1.PodSpec{}, []string{"linux/amd64"}},
		"selected by processor":         {mixed, corev1.PodSpec{NodeSelector: map[string]string{ArchLabel: "arm64"}}, []string{"linux/arm64"}},
		"selected by something else":    {mixed, corev1.PodSpec{NodeSelector: map[string]string{"pool": "arm64"}}, nil},
		"selected, and tolerated":       {mixed, corev1.PodSpec{NodeSelector: map[string]string{"pool": "arm64"}, Tolerations: []corev1.Toleration{{Key: ArchLabel, Operator: corev1.TolerationOpExists}}}, []string{"linux/arm64"}},
		"nothing selected":              {mixed, corev1.PodSpec{NodeSelector: map[string]string{"pool": "gpu"}}, nil},
		"a taint":                       {[]corev1.Node{node("amd64", gpu)}, corev1.PodSpec{}, nil},
		"tolerated by value":            {[]corev1.Node{node("amd64", gpu)}, corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "nvidia.com/gpu", Operator: corev1.TolerationOpEqual, Value: "present", Effect: corev1.TaintEffectNoSchedule}}}, []string{"linux/amd64"}},
		"another value":                 {[]corev1.Node{node("amd64", gpu)}, corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "nvidia.com/gpu", Value: "absent"}}}, nil},
		"another effect":                {[]corev1.Node{node("amd64", gpu)}, corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: "nvidia.com/gpu", Value: "present", Effect: corev1.TaintEffectNoExecute}}}, nil},
		"tolerates everything":          {mixed, corev1.PodSpec{Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}}}, []string{"linux/amd64", "linux/arm64"}},
		"one taint of two is tolerated": {[]corev1.Node{node("arm64", arm, gpu)}, corev1.PodSpec{NodeSelector: map[string]string{ArchLabel: "arm64"}}, nil},
		"affinity to a processor":       {mixed, required(corev1.NodeSelectorRequirement{Key: ArchLabel, Operator: corev1.NodeSelectorOpIn, Values: []string{"arm64"}}), []string{"linux/arm64"}},
		"affinity to one that is away":  {[]corev1.Node{node("amd64")}, required(corev1.NodeSelectorRequirement{Key: ArchLabel, Operator: corev1.NodeSelectorOpIn, Values: []string{"arm64"}}), nil},
		"affinity to no such label":     {[]corev1.Node{node("amd64")}, required(corev1.NodeSelectorRequirement{Key: "pool", Operator: corev1.NodeSelectorOpDoesNotExist}), nil},
		"affinity against a processor":  {mixed, required(corev1.NodeSelectorRequirement{Key: ArchLabel, Operator: corev1.NodeSelectorOpNotIn, Values: []string{"amd64"}}), nil},
		"affinity that nobody has":      {mixed, required(corev1.NodeSelectorRequirement{Key: "a", Operator: "?"}), nil},
	} {
		if diff := cmp.Diff(c.want, Platforms(Nodes(&c.pod, c.nodes))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
