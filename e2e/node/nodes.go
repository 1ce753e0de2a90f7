// Package node simulates the nodes of a cluster, the kubelets on them and the
// cloud around them: pods run as the labels of their image say, a LoadBalancer
// Service gets an address, a claim gets a volume.
//
// What a client of the API server can see is what a real kubelet, containerd 1.6
// and GKE's controllers would leave there: the same statuses and conditions, the
// same events with the same words, the same order and back-off. Only time is
// shorter where nothing is waited for. Scheduling, endpoints and everything else
// is done by the real control plane.
//
// Images come from the caller. The words by which an image says how it behaves
// are in behaviour.go; command model plays the same on a real node.
package node

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Options say what the nodes need from outside.
type Options struct {
	// Images looks an image up, as a pull does. A refusal of the registry is a
	// *transport.Error of go-containerregistry. Required.
	Images func(ctx context.Context, reference string) (Image, error)
	// LBDelay is how long a load balancer takes to get its address. Default 300 ms.
	LBDelay time.Duration
	// CrashPause is the first pause before a container that crashed is started
	// again; it doubles. Default 10 s, as of a kubelet that nobody configured.
	CrashPause time.Duration
	// Log is told what goes wrong in the simulation itself. Default, nobody.
	Log io.Writer
}

// Nodes are the simulated nodes of one cluster.
type Nodes struct {
	options  Options
	client   *kubernetes.Clientset
	machines map[string]*machine
	network  *network
	balancer *balancer
	cancel   context.CancelFunc
	running  sync.WaitGroup

	mu   sync.Mutex
	pods map[types.UID]*pod
}

// Start registers the nodes and returns when pods can be scheduled on them.
func Start(ctx context.Context, config *rest.Config, o Options) (*Nodes, error) {
	if o.LBDelay == 0 {
		o.LBDelay = 300 * time.Millisecond
	}
	if o.CrashPause == 0 {
		o.CrashPause = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	config = rest.CopyConfig(config)
	config.UserAgent, config.QPS = "kubelet/"+kubeletVersion, -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("nodes: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n := &Nodes{options: o, client: client, cancel: cancel, machines: map[string]*machine{}, pods: map[types.UID]*pod{}}
	if err := n.start(ctx, running); err != nil {
		n.Close()
		return nil, fmt.Errorf("nodes: %w", err)
	}
	return n, nil
}

func (n *Nodes) start(ctx, running context.Context) error {
	var err error
	if n.network, err = newNetwork(n); err != nil {
		return err
	}
	for i, name := range []string{"gke-mlops-cluster-default-pool-5f0c7a1b-2q8k", "gke-mlops-cluster-default-pool-5f0c7a1b-x7wz"} {
		m := newMachine(n, name, i)
		if err := m.register(ctx); err != nil {
			return err
		}
		n.machines[name] = m
		n.running.Go(func() { m.beat(running) })
		n.running.Go(func() { m.relist(running) })
	}
	if err := n.createStorage(ctx); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(n.client, 0)
	pods := factory.Core().V1().Pods().Informer()
	if _, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.seen(running, o) },
		UpdateFunc: func(_, o any) { n.seen(running, o) },
		DeleteFunc: n.gone,
	}); err != nil {
		return err
	}
	if err := n.provision(running, factory); err != nil {
		return err
	}
	if n.balancer, err = newBalancer(running, n, factory); err != nil {
		return err
	}
	factory.Start(running.Done())
	factory.WaitForCacheSync(ctx.Done())
	for _, m := range n.machines {
		if err := m.waitSchedulable(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close stops the nodes. What they left in the cluster stays.
func (n *Nodes) Close() {
	n.cancel()
	for _, m := range n.machines {
		m.close()
	}
	if n.network != nil {
		n.network.close()
	}
	n.running.Wait()
}

// seen takes in a pod as the API server has it now.
func (n *Nodes) seen(ctx context.Context, object any) {
	seen, ok := object.(*corev1.Pod)
	if !ok || seen.Spec.NodeName == "" {
		return
	}
	m := n.machines[seen.Spec.NodeName]
	if m == nil {
		return // a real node's
	}
	n.mu.Lock()
	p := n.pods[seen.UID]
	known := p != nil
	if !known {
		p = newPod(m, seen)
		n.pods[seen.UID] = p
	}
	n.mu.Unlock()
	if known {
		p.update(seen)
		return
	}
	n.running.Go(func() { p.run(ctx) })
}

// gone forgets a pod that the API server does not have any more.
func (n *Nodes) gone(object any) {
	if unknown, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = unknown.Obj
	}
	old, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	n.mu.Lock()
	p := n.pods[old.UID]
	delete(n.pods, old.UID)
	n.mu.Unlock()
	if p != nil {
		p.remove()
	}
}

// all are the pods on the nodes.
func (n *Nodes) all() []*pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Values(n.pods))
}

// pod finds a pod by its name.
func (n *Nodes) pod(namespace, name string) *pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pods {
		if p.namespace == namespace && p.name == name {
			return p
		}
	}
	return nil
}

func (n *Nodes) logf(format string, args ...any) {
	fmt.Fprintf(n.options.Log, "simulated node: "+format+"\n", args...)
}

// now is a moment as the API keeps it, to the second.
func now() metav1.Time { return metav1.Now().Rfc3339Copy() }
