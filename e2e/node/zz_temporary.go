// Package node: see below.
package node

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	coordv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

type Image struct {
	Digest string
	Labels map[string]string
}

type Options struct {
	Images  func(ctx context.Context, reference string) (Image, error)
	LBDelay time.Duration
	Log     io.Writer
}

type Nodes struct {
	o      Options
	c      *kubernetes.Clientset
	mu     sync.Mutex
	ips    int
	lbs    map[string]string // ip -> ns/name
	cancel context.CancelFunc
	pods   cache.Indexer
}

var _ = v1.Hash{}

func Start(ctx context.Context, rc *rest.Config, o Options) (*Nodes, error) {
	if o.LBDelay == 0 {
		o.LBDelay = 300 * time.Millisecond
	}
	c, err := kubernetes.NewForConfig(rc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	n := &Nodes{o: o, c: c, lbs: map[string]string{}, cancel: cancel, ips: 1}
	name := "gke-mlops-cluster-default-pool-0"
	node, err := c.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name,
		Labels: map[string]string{"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	capacity := corev1.ResourceList{"cpu": resource.MustParse("64"), "memory": resource.MustParse("256Gi"), "pods": resource.MustParse("500"), "ephemeral-storage": resource.MustParse("1Ti")}
	now := metav1.Now()
	status := corev1.NodeStatus{Capacity: capacity, Allocatable: capacity,
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", LastHeartbeatTime: now, LastTransitionTime: now}},
		Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.128.0.2"}},
		NodeInfo:   corev1.NodeSystemInfo{KubeletVersion: "v1.36.3", OperatingSystem: "linux", Architecture: "amd64"}}
	for range 10 {
		node, err = c.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			node.Status = status
			if _, err = c.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{}); err == nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	go func() {
		secs := int32(40)
		for ctx.Err() == nil {
			t := metav1.NowMicro()
			l, err := c.CoordinationV1().Leases("kube-node-lease").Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				_, _ = c.CoordinationV1().Leases("kube-node-lease").Create(ctx, &coordv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name},
					Spec: coordv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &secs, RenewTime: &t}}, metav1.CreateOptions{})
			} else if err == nil {
				l.Spec.RenewTime = &t
				_, _ = c.CoordinationV1().Leases("kube-node-lease").Update(ctx, l, metav1.UpdateOptions{})
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Second):
			}
		}
	}()
	f := informers.NewSharedInformerFactory(c, 0)
	pods := f.Core().V1().Pods().Informer()
	n.pods = pods.GetIndexer()
	_, _ = pods.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(o any) { go n.pod(ctx, o) }, UpdateFunc: func(_, o any) { go n.pod(ctx, o) }})
	_, _ = f.Core().V1().Services().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: func(o any) { go n.service(ctx, o) }, UpdateFunc: func(_, o any) { go n.service(ctx, o) }})
	f.Start(ctx.Done())
	return n, nil
}

func (n *Nodes) pod(ctx context.Context, obj any) {
	pod := obj.(*corev1.Pod)
	if pod.Spec.NodeName == "" {
		return
	}
	if pod.DeletionTimestamp != nil {
		zero := int64(0)
		_ = n.c.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &zero, Preconditions: &metav1.Preconditions{UID: &pod.UID}})
		return
	}
	if pod.Status.StartTime != nil {
		return
	}
	pod = pod.DeepCopy()
	now := metav1.Now()
	st := &pod.Status
	st.StartTime, st.HostIP, st.Phase = &now, "10.128.0.2", corev1.PodRunning
	n.mu.Lock()
	n.ips++
	st.PodIP = fmt.Sprintf("10.244.%d.%d", n.ips/250, n.ips%250+1)
	n.mu.Unlock()
	st.PodIPs = []corev1.PodIP{{IP: st.PodIP}}
	for _, ct := range pod.Spec.Containers {
		yes := true
		st.ContainerStatuses = append(st.ContainerStatuses, corev1.ContainerStatus{Name: ct.Name, Image: ct.Image, ImageID: ct.Image, ContainerID: "containerd://" + string(pod.UID) + ct.Name,
			Ready: true, Started: &yes, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}})
	}
	for _, t := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		st.Conditions = append(st.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	_, _ = n.c.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
}

func (n *Nodes) service(ctx context.Context, obj any) {
	s := obj.(*corev1.Service)
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer || len(s.Status.LoadBalancer.Ingress) > 0 {
		return
	}
	time.Sleep(n.o.LBDelay)
	n.mu.Lock()
	for ip, name := range n.lbs {
		if name == s.Namespace+"/"+s.Name {
			n.mu.Unlock()
			_ = ip
			return
		}
	}
	ip := fmt.Sprintf("203.0.113.%d", len(n.lbs)+10)
	n.lbs[ip] = s.Namespace + "/" + s.Name
	n.mu.Unlock()
	s = s.DeepCopy()
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip}}
	_, _ = n.c.CoreV1().Services(s.Namespace).UpdateStatus(ctx, s, metav1.UpdateOptions{})
}

func (n *Nodes) HasLoadBalancer(host string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lbs[host] != ""
}

func (n *Nodes) ServeLoadBalancer(w http.ResponseWriter, r *http.Request, host string) {
	for _, o := range n.pods.List() {
		p := o.(*corev1.Pod)
		if p.DeletionTimestamp == nil && p.Status.Phase == corev1.PodRunning {
			fmt.Fprintf(w, "served by %s (pod %s)\n", p.Spec.Containers[0].Image, p.Name)
			return
		}
	}
	http.Error(w, "no pod", 502)
}

func (n *Nodes) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return nil, net.ErrClosed
}

func (n *Nodes) Close() { n.cancel() }
