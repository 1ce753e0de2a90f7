package node_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestServes(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	image := x.push("1", labels("ready-after", "300ms", "log", "loading\nready"))
	c := model(image)
	c.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt32(3000)}}}
	d := deployment("model", 3, corev1.PodSpec{Containers: []corev1.Container{c}})
	begun := time.Now()
	if _, err := k().AppsV1().Deployments(x.namespace).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "model"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "model"},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(3000)}},
		},
	}
	if _, err := k().CoreV1().Services(x.namespace).Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		d, err := k().AppsV1().Deployments(x.namespace).Get(t.Context(), "model", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if d.Status.AvailableReplicas == 3 {
			break
		}
		if time.Since(begun) > 30*time.Second {
			t.Fatalf("not available: %+v", d.Status)
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("available after %s", time.Since(begun))
	for {
		s, err := k().CoreV1().Services(x.namespace).Get(t.Context(), "model", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Status.LoadBalancer.Ingress) > 0 {
			host := s.Status.LoadBalancer.Ingress[0].IP
			if !cluster.nodes.HasLoadBalancer(host) {
				t.Fatalf("no load balancer at %s", host)
			}
			// The endpoints follow the Deployment's status after a while.
			answers := map[string]bool{}
			for end := time.Now().Add(30 * time.Second); len(answers) < 3 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				w := httptest.NewRecorder()
				cluster.nodes.ServeLoadBalancer(w, httptest.NewRequest(http.MethodGet, "http://"+host+"/", nil), host)
				answers[w.Body.String()] = true
				if w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), "served by "+image+" (pod model-") {
					t.Errorf("answered %d %s", w.Code, w.Body)
				}
			}
			if len(answers) != 3 {
				t.Errorf("%d pods answered, want 3", len(answers))
			}
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	// Through the API server, as a client without the load balancer does.
	body, err := k().CoreV1().RESTClient().Get().AbsPath("/api/v1/namespaces", x.namespace, "services", "http:model:http", "proxy", "predict").DoRaw(t.Context())
	if err != nil || !strings.HasPrefix(string(body), "served by "+image) {
		t.Errorf("through the API server: %s %v", body, err)
	}
	pods, err := k().CoreV1().Pods(x.namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lines := int64(1)
	log, err := k().CoreV1().Pods(x.namespace).GetLogs(pods.Items[0].Name, &corev1.PodLogOptions{TailLines: &lines}).DoRaw(t.Context())
	if err != nil || string(log) != "ready\n" {
		t.Errorf("log: %q %v", log, err)
	}
}
