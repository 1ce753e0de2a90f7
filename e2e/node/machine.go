package node

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/client-go/util/retry"
)

const (
	kubeletVersion = "v1.36.3"
	kubeletPort    = 10250
	architecture   = "amd64"
	// Platform is that of every simulated node.
	Platform = "linux/" + architecture
)

// machine is one node with its kubelet.
type machine struct {
	nodes   *Nodes
	name    string
	address string
	podCIDR netip.Prefix
	// Each pod has its events written by one of these: a single one would be
	// behind by a minute when a whole test suite runs on two nodes.
	recorders []record.EventRecorder
	events    []record.EventBroadcaster

	// The kubelet's, with its figures: pkg/kubelet/kubelet.go.
	crashes *flowcontrol.Backoff
	pulls   *flowcontrol.Backoff

	mu     sync.Mutex
	images map[string]Image // on the node's disk
	used   map[netip.Addr]bool
	last   netip.Addr
}

func newMachine(n *Nodes, name string, index int) *machine {
	m := &machine{
		nodes: n, name: name, address: fmt.Sprintf("10.128.0.%d", 2+index),
		podCIDR: netip.MustParsePrefix(fmt.Sprintf("10.244.%d.0/22", 4*index)),
		crashes: flowcontrol.NewBackOff(n.options.CrashPause, 300*time.Second),
		pulls:   flowcontrol.NewBackOff(10*time.Second, 300*time.Second),
		images:  map[string]Image{}, used: map[netip.Addr]bool{},
	}
	m.last = m.podCIDR.Addr().Next() // the bridge's
	for range 8 {
		events, recorder := newRecorder(n.client, "kubelet", name)
		m.events, m.recorders = append(m.events, events), append(m.recorders, recorder)
	}
	return m
}

func (m *machine) close() {
	for _, e := range m.events {
		e.Shutdown()
	}
}

func (m *machine) object() *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: m.name, Labels: map[string]string{
			"kubernetes.io/hostname": m.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": architecture,
			"beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": architecture,
			"node.kubernetes.io/instance-type": "n2-standard-64", "beta.kubernetes.io/instance-type": "n2-standard-64",
			"topology.kubernetes.io/region": "europe-west6", "topology.kubernetes.io/zone": "europe-west6-a",
			"cloud.google.com/gke-nodepool": "default-pool", "cloud.google.com/gke-os-distribution": "cos",
			"cloud.google.com/machine-family": "n2",
		}},
		Spec: corev1.NodeSpec{
			ProviderID: "gce://local-project/europe-west6-a/" + m.name,
			PodCIDR:    m.podCIDR.String(), PodCIDRs: []string{m.podCIDR.String()},
		},
	}
}

func (m *machine) status() corev1.NodeStatus {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"), corev1.ResourcePods: resource.MustParse("500"),
	}
	status := corev1.NodeStatus{
		Capacity: capacity, Allocatable: capacity.DeepCopy(),
		Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: m.address}, {Type: corev1.NodeHostName, Address: m.name}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{
			KubeletEndpoint: corev1.DaemonEndpoint{Port: kubeletPort},
		},
		NodeInfo: corev1.NodeSystemInfo{
			MachineID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", SystemUUID: "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9", BootID: "5b1d5f0e-52a7-4f0f-9f62-0d6a0d1f9d11",
			KernelVersion: "6.12.55+", OSImage: "Container-Optimized OS from Google", ContainerRuntimeVersion: "containerd://1.6.20",
			KubeletVersion: kubeletVersion, OperatingSystem: "linux", Architecture: architecture,
		},
	}
	// The words are the kubelet's: pkg/kubelet/nodestatus/setters.go.
	for _, c := range []struct {
		kind                     corev1.NodeConditionType
		reason, message, isKnown string
	}{
		{corev1.NodeMemoryPressure, "KubeletHasSufficientMemory", "kubelet has sufficient memory available", "False"},
		{corev1.NodeDiskPressure, "KubeletHasNoDiskPressure", "kubelet has no disk pressure", "False"},
		{corev1.NodePIDPressure, "KubeletHasSufficientPID", "kubelet has sufficient PID available", "False"},
		{corev1.NodeReady, "KubeletReady", "kubelet is posting ready status", "True"},
	} {
		status.Conditions = append(status.Conditions, corev1.NodeCondition{
			Type: c.kind, Status: corev1.ConditionStatus(c.isKnown), Reason: c.reason, Message: c.message,
			LastHeartbeatTime: now(), LastTransitionTime: now(),
		})
	}
	return status
}

func (m *machine) register(ctx context.Context) error {
	_, err := m.nodes.client.CoreV1().Nodes().Create(ctx, m.object(), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return m.report(ctx)
}

// report writes the node's status.
func (m *machine) report(ctx context.Context) error {
	nodes := m.nodes.client.CoreV1().Nodes()
	return retry.OnError(retry.DefaultBackoff, func(err error) bool { return ctx.Err() == nil && !apierrors.IsNotFound(err) }, func() error {
		node, err := nodes.Get(ctx, m.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		node.Status = m.status()
		_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
		return err
	})
}

// beat renews the node's lease, without which the control plane gives the node
// up, and reports again if it has.
func (m *machine) beat(ctx context.Context) {
	leases := m.nodes.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	seconds := int32(40)
	for ctx.Err() == nil {
		renewed := metav1.NowMicro()
		spec := coordinationv1.LeaseSpec{HolderIdentity: &m.name, LeaseDurationSeconds: &seconds, RenewTime: &renewed}
		lease, err := leases.Get(ctx, m.name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			_, _ = leases.Create(ctx, &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: m.name}, Spec: spec}, metav1.CreateOptions{})
		case err == nil:
			lease.Spec = spec
			_, _ = leases.Update(ctx, lease, metav1.UpdateOptions{})
		}
		if node, err := m.nodes.client.CoreV1().Nodes().Get(ctx, m.name, metav1.GetOptions{}); err == nil && !nodeReady(node) {
			if err := m.report(ctx); err != nil && ctx.Err() == nil {
				m.nodes.logf("node %s: %v", m.name, err)
			}
		}
		sleep(ctx, 10*time.Second)
	}
}

func nodeReady(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// waitSchedulable waits until the control plane has taken away the taint that
// every new node has.
func (m *machine) waitSchedulable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		node, err := m.nodes.client.CoreV1().Nodes().Get(ctx, m.name, metav1.GetOptions{})
		if err == nil && nodeReady(node) && len(node.Spec.Taints) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("node %q does not become schedulable: %w", m.name, ctx.Err())
		}
		sleep(ctx, 50*time.Millisecond)
	}
}

// relist has the kubelet look at all containers of the node, again and again.
func (m *machine) relist(ctx context.Context) {
	ticker := time.NewTicker(relistPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, p := range m.nodes.all() {
			if p.machine == m {
				p.relist()
			}
		}
	}
}

// giveAddress takes the next free address of the node, one that was not in use
// for as long as possible.
func (m *machine) giveAddress() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		m.last = m.last.Next()
		if !m.podCIDR.Contains(m.last.Next()) {
			m.last = m.podCIDR.Addr().Next().Next()
		}
		if !m.used[m.last] {
			m.used[m.last] = true
			return m.last.String()
		}
	}
}

func (m *machine) freeAddress(address string) {
	if a, err := netip.ParseAddr(address); err == nil {
		m.mu.Lock()
		delete(m.used, a)
		m.mu.Unlock()
	}
}

// sleep waits, but not longer than ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
