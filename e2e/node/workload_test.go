package node_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/util/retry"
)

// eventually waits for something.
func eventually(t *testing.T, limit time.Duration, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
	}
}

func TestJob(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	image := x.push("1", labels("exit-code", "0"))
	retries := int32(0)
	for name, code := range map[string]string{"good": "0", "bad": "1"} {
		c := model(image)
		c.Env = []corev1.EnvVar{{Name: "MODEL_EXIT_CODE", Value: code}}
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: batchv1.JobSpec{
			BackoffLimit: &retries, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c}}},
		}}
		if _, err := k().BatchV1().Jobs(x.namespace).Create(t.Context(), job, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, wanted := range map[string]batchv1.JobConditionType{"good": batchv1.JobComplete, "bad": batchv1.JobFailed} {
		eventually(t, 30*time.Second, func() bool {
			job, err := k().BatchV1().Jobs(x.namespace).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range job.Status.Conditions {
				if c.Type == wanted && c.Status == corev1.ConditionTrue {
					return true
				}
			}
			return false
		})
	}
}

func TestDaemonSet(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	labels := map[string]string{"app": "agent"}
	set := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "agent"}, Spec: appsv1.DaemonSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{model(x.push("1", nil))}}},
	}}
	if _, err := k().AppsV1().DaemonSets(x.namespace).Create(t.Context(), set, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, func() bool {
		set, err := k().AppsV1().DaemonSets(x.namespace).Get(t.Context(), "agent", metav1.GetOptions{})
		return err == nil && set.Status.NumberAvailable == 2 && set.Status.DesiredNumberScheduled == 2
	})
}

func TestTerminates(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	image := x.push("1", nil)
	quick := x.pod(corev1.PodSpec{Containers: []corev1.Container{model(image)}})
	stubborn := model(image)
	stubborn.Env = []corev1.EnvVar{{Name: "MODEL_STOP_AFTER", Value: "1m"}}
	grace := int64(2)
	slow := x.pod(corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{stubborn}})
	for name, limits := range map[string][2]time.Duration{quick: {0, 20 * time.Second}, slow: {2 * time.Second, 25 * time.Second}} {
		x.until(name, ready)
		begun := time.Now()
		if err := k().CoreV1().Pods(x.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, 30*time.Second, func() bool {
			_, err := k().CoreV1().Pods(x.namespace).Get(t.Context(), name, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		})
		if took := time.Since(begun); took < limits[0] || took > limits[1] {
			t.Errorf("pod %s ended after %s", name, took)
		}
		x.wantEvent(name, "Killing Stopping container model")
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	claim := func(name string, class *string) {
		c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		}}
		if _, err := k().CoreV1().PersistentVolumeClaims(x.namespace).Create(t.Context(), c, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	phase := func(name string) corev1.PersistentVolumeClaimPhase {
		c, err := k().CoreV1().PersistentVolumeClaims(x.namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return c.Status.Phase
	}
	standard, missing := "standard", "fast"
	claim("immediate", &standard)
	claim("waits", nil)
	claim("unbound", &missing)
	eventually(t, 30*time.Second, func() bool { return phase("immediate") == corev1.ClaimBound })
	if got := phase("waits"); got != corev1.ClaimPending {
		t.Errorf("the claim that waits for a pod is %s", got)
	}
	image := x.push("1", nil)
	using := func(name string) string {
		return x.pod(corev1.PodSpec{Containers: []corev1.Container{model(image)}, Volumes: []corev1.Volume{{
			Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}},
		}}})
	}
	x.until(using("waits"), ready)
	if got := phase("waits"); got != corev1.ClaimBound {
		t.Errorf("the claim of a pod that runs is %s", got)
	}
	x.until(using("immediate"), ready)
	x.wantEvent(using("unbound"), "FailedScheduling 0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims")
	if got := phase("unbound"); got != corev1.ClaimPending {
		t.Errorf("the claim without a class is %s", got)
	}
}

func TestLoadBalancers(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	create := func(name string, annotations map[string]string) {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}, Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "none"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(3000)}},
		}}
		if _, err := k().CoreV1().Services(x.namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	get := func(name string) corev1.LoadBalancerIngress {
		var found corev1.LoadBalancerIngress
		eventually(t, 10*time.Second, func() bool {
			s, err := k().CoreV1().Services(x.namespace).Get(t.Context(), name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Status.LoadBalancer.Ingress) > 0 {
				found = s.Status.LoadBalancer.Ingress[0]
			}
			return found.IP+found.Hostname != ""
		})
		return found
	}
	create("never", map[string]string{"localcloud/load-balancer": "never"})
	create("external", nil)
	create("internal", map[string]string{"networking.gke.io/load-balancer-type": "Internal"})
	create("named", map[string]string{"localcloud/load-balancer": "hostname"})

	external := get("external").IP
	if !strings.HasPrefix(external, "203.0.113.") || !cluster.nodes.HasLoadBalancer(external) {
		t.Errorf("external address %q", external)
	}
	if ip := get("internal").IP; !strings.HasPrefix(ip, "10.128.") || cluster.nodes.HasLoadBalancer(ip) {
		t.Errorf("internal address %q", ip)
	}
	if name := get("named").Hostname; !strings.HasSuffix(name, ".lb.example.com") || !cluster.nodes.HasLoadBalancer(name) {
		t.Errorf("host name %q", name)
	}
	w := httptest.NewRecorder()
	cluster.nodes.ServeLoadBalancer(w, httptest.NewRequest(http.MethodGet, "http://"+external+"/", nil), external)
	if w.Code != http.StatusBadGateway {
		t.Errorf("without pods it answers %d", w.Code)
	}
	closed := func() (aborted bool) {
		defer func() { aborted = recover() != nil }()
		cluster.nodes.ServeLoadBalancer(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "http://"+external+":81/", nil), external)
		return false
	}
	if !closed() {
		t.Error("a port that the Service does not have is open")
	}
	x.wantEvent("never", "SyncLoadBalancerFailed Error syncing load balancer: failed to ensure load balancer: ")
	x.wantEvent("external", "EnsuredLoadBalancer Ensured load balancer")
	if s, err := k().CoreV1().Services(x.namespace).Get(t.Context(), "never", metav1.GetOptions{}); err != nil || len(s.Status.LoadBalancer.Ingress) > 0 {
		t.Errorf("%+v %v", s.Status, err)
	}
	if err := k().CoreV1().Services(x.namespace).Delete(t.Context(), "external", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, func() bool {
		_, err := k().CoreV1().Services(x.namespace).Get(t.Context(), "external", metav1.GetOptions{})
		return apierrors.IsNotFound(err) && !cluster.nodes.HasLoadBalancer(external)
	})
}

// A rolling update serves throughout.
func TestRollingUpdateServes(t *testing.T) {
	t.Parallel()
	x := newTest(t)
	spec := corev1.PodSpec{Containers: []corev1.Container{model(x.push("1", nil))}}
	spec.Containers[0].ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(3000)}}}
	if _, err := k().AppsV1().Deployments(x.namespace).Create(t.Context(), deployment("model", 3, spec), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "model"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "model"}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(3000)}},
	}}
	if _, err := k().CoreV1().Services(x.namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var host string
	ask := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		cluster.nodes.ServeLoadBalancer(w, httptest.NewRequest(http.MethodGet, "http://"+host+"/", nil), host)
		return w
	}
	eventually(t, 30*time.Second, func() bool {
		s, err := k().CoreV1().Services(x.namespace).Get(t.Context(), "model", metav1.GetOptions{})
		if err != nil || len(s.Status.LoadBalancer.Ingress) == 0 {
			return false
		}
		host = s.Status.LoadBalancer.Ingress[0].IP
		return ask().Code == http.StatusOK
	})
	ctx, stop := context.WithCancel(t.Context())
	failures := make(chan int)
	go func() {
		n := 0
		for ctx.Err() == nil {
			if ask().Code != http.StatusOK {
				n++
			}
			time.Sleep(5 * time.Millisecond)
		}
		failures <- n
	}()
	next := x.push("2", nil)
	// The controller writes its status at any time.
	if err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		live, err := k().AppsV1().Deployments(x.namespace).Get(t.Context(), "model", metav1.GetOptions{})
		if err != nil {
			return err
		}
		live.Spec.Template.Spec.Containers[0].Image = next
		_, err = k().AppsV1().Deployments(x.namespace).Update(t.Context(), live, metav1.UpdateOptions{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 60*time.Second, func() bool {
		d, err := k().AppsV1().Deployments(x.namespace).Get(t.Context(), "model", metav1.GetOptions{})
		return err == nil && d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == 3 && d.Status.Replicas == 3 && d.Status.AvailableReplicas == 3
	})
	stop()
	if n := <-failures; n > 0 {
		t.Errorf("%d requests failed", n)
	}
	if body := ask().Body.String(); !strings.Contains(body, next) {
		t.Errorf("answered %q", body)
	}
}
