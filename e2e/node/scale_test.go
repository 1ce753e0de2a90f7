package node_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Five hundred pods come, and go.
func TestManyPods(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	x := newTest(t) // not in parallel: it would slow the others down
	c := model(x.push("1", nil))
	c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(3000)}}}
	begun := time.Now()
	if _, err := k().AppsV1().Deployments(x.namespace).Create(t.Context(), deployment("many", 500, corev1.PodSpec{Containers: []corev1.Container{c}}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Minute, func() bool {
		d, err := k().AppsV1().Deployments(x.namespace).Get(t.Context(), "many", metav1.GetOptions{})
		return err == nil && d.Status.AvailableReplicas == 500
	})
	t.Logf("500 pods available after %s", time.Since(begun).Round(100*time.Millisecond))
	begun = time.Now()
	if err := k().AppsV1().Deployments(x.namespace).Delete(t.Context(), "many", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Minute, func() bool {
		pods, err := k().CoreV1().Pods(x.namespace).List(t.Context(), metav1.ListOptions{Limit: 1})
		return err == nil && len(pods.Items) == 0
	})
	t.Logf("500 pods gone after %s", time.Since(begun).Round(100*time.Millisecond))
}
