package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	listers "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
)

const (
	// balancerAnnotation is how a test asks for a load balancer that a real
	// cloud gives on other grounds: "never" for one that gets no address,
	// "hostname" for one that gets a name instead.
	balancerAnnotation = "localcloud/load-balancer"
	// internalAnnotation is GKE's, and so is the older one.
	internalAnnotation    = "networking.gke.io/load-balancer-type"
	oldInternalAnnotation = "cloud.google.com/load-balancer-type"

	finalizer = "service.kubernetes.io/load-balancer-cleanup"
)

// quotaExceeded is what Google's API answers when a project has too many
// forwarding rules, as GKE's service controller passes it on.
const quotaExceeded = "Error syncing load balancer: failed to ensure load balancer: failed to create forwarding rule for load balancer (a%s(%s)): googleapi: Error 403: Quota 'FORWARDING_RULES' exceeded.  Limit: 15.0 globally., quotaExceeded"

// balancer is the cloud's service controller and its load balancers.
type balancer struct {
	nodes    *Nodes
	services listers.ServiceLister
	slices   discoverylisters.EndpointSliceLister
	queue    workqueue.TypedRateLimitingInterface[string]
	recorder record.EventRecorder

	mu     sync.Mutex
	given  map[string]*balance // by namespace/name
	next   int
	inside int
}

// balance is one load balancer.
type balance struct {
	due           time.Time // when it gets its address
	address, name string
	internal      bool
	pause         time.Duration // after a failure
	turn          int           // of the pods behind it
}

func newBalancer(ctx context.Context, n *Nodes, factory informers.SharedInformerFactory) (*balancer, error) {
	b := &balancer{
		nodes: n, given: map[string]*balance{}, services: factory.Core().V1().Services().Lister(), slices: factory.Discovery().V1().EndpointSlices().Lister(),
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()),
	}
	events, recorder := newRecorder(n.client, "service-controller", "")
	b.recorder = recorder
	context.AfterFunc(ctx, func() { events.Shutdown(); b.queue.ShutDown() })
	add := func(object any) {
		if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
			b.queue.Add(key)
		}
	}
	factory.Discovery().V1().EndpointSlices().Informer()
	_, err := factory.Core().V1().Services().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, o any) { add(o) }, DeleteFunc: add,
	})
	for range 4 {
		n.running.Go(func() { b.work(ctx) })
	}
	return b, err
}

func (b *balancer) work(ctx context.Context) {
	for {
		key, over := b.queue.Get()
		if over {
			return
		}
		switch again, err := b.sync(ctx, key); {
		case err != nil && ctx.Err() == nil:
			b.nodes.logf("load balancer of %s: %v", key, err)
			b.queue.AddRateLimited(key)
		case again > 0:
			b.queue.AddAfter(key, again)
		default:
			b.queue.Forget(key)
		}
		b.queue.Done(key)
	}
}

// sync brings one Service's load balancer on, and says when to look again.
func (b *balancer) sync(ctx context.Context, key string) (time.Duration, error) {
	namespace, name, _ := cache.SplitMetaNamespaceKey(key)
	service, err := b.services.Services(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		b.mu.Lock()
		delete(b.given, key)
		b.mu.Unlock()
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer || service.Spec.LoadBalancerClass != nil || service.DeletionTimestamp != nil {
		return 0, b.withdraw(ctx, key, service)
	}
	if !slices.Contains(service.Finalizers, finalizer) {
		return 0, b.setFinalizers(ctx, service, append(slices.Clone(service.Finalizers), finalizer))
	}
	b.mu.Lock()
	g := b.given[key]
	if g == nil {
		g = &balance{due: time.Now().Add(b.nodes.options.LBDelay)}
		b.given[key] = g
		b.recorder.Event(service, corev1.EventTypeNormal, "EnsuringLoadBalancer", "Ensuring load balancer")
	}
	left := time.Until(g.due)
	if g.address == "" && g.name == "" && left <= 0 {
		b.give(key, service, g)
	}
	ingress := g.ingress()
	b.mu.Unlock()
	switch {
	case left > 0:
		return left, nil
	case len(ingress) == 0:
		return g.pause, nil
	case len(service.Status.LoadBalancer.Ingress) > 0 && service.Status.LoadBalancer.Ingress[0].IP == ingress[0].IP && service.Status.LoadBalancer.Ingress[0].Hostname == ingress[0].Hostname:
		return 0, nil
	}
	if err := b.setStatus(ctx, service, ingress); err != nil {
		return 0, err
	}
	b.recorder.Event(service, corev1.EventTypeNormal, "EnsuredLoadBalancer", "Ensured load balancer")
	return 0, nil
}

// give chooses the address. The caller holds mu.
func (b *balancer) give(key string, service *corev1.Service, g *balance) {
	wish := service.Annotations[balancerAnnotation]
	g.internal = service.Annotations[internalAnnotation] == "Internal" || service.Annotations[oldInternalAnnotation] == "Internal"
	switch {
	case wish == "never":
		// The service controller waits 5 s at first, and at most 5 minutes.
		g.pause = min(max(2*g.pause, 5*time.Second), 5*time.Minute)
		g.due = time.Now().Add(g.pause)
		b.recorder.Event(service, corev1.EventTypeWarning, "SyncLoadBalancerFailed", fmt.Sprintf(quotaExceeded, string(service.UID)[:8], key))
	case wish == "hostname":
		g.name = fmt.Sprintf("%s-%s.lb.example.com", service.Name, string(service.UID)[:8])
	case service.Spec.LoadBalancerIP != "":
		g.address = service.Spec.LoadBalancerIP
	case g.internal:
		b.inside++
		g.address = fmt.Sprintf("10.128.%d.%d", 1+b.inside/250, 2+b.inside%250)
	default:
		for g.address == "" {
			address := fmt.Sprintf("203.0.113.%d", 10+b.next%240)
			b.next++
			if b.byAddress(address) == "" {
				g.address = address
			}
		}
	}
}

func (g *balance) ingress() []corev1.LoadBalancerIngress {
	mode := corev1.LoadBalancerIPModeVIP
	switch {
	case g.address != "":
		return []corev1.LoadBalancerIngress{{IP: g.address, IPMode: &mode}}
	case g.name != "":
		return []corev1.LoadBalancerIngress{{Hostname: g.name}}
	}
	return nil
}

// byAddress finds the Service that has an address or name. The caller holds mu.
func (b *balancer) byAddress(host string) string {
	for key, g := range b.given {
		if g.address == host || g.name == host {
			return key
		}
	}
	return ""
}

// withdraw takes the load balancer away from a Service that has no more use for it.
func (b *balancer) withdraw(ctx context.Context, key string, service *corev1.Service) error {
	b.mu.Lock()
	had := b.given[key] != nil
	delete(b.given, key)
	b.mu.Unlock()
	if had {
		b.recorder.Event(service, corev1.EventTypeNormal, "DeletingLoadBalancer", "Deleting load balancer")
	}
	if len(service.Status.LoadBalancer.Ingress) > 0 && service.DeletionTimestamp == nil && service.Spec.LoadBalancerClass == nil {
		if err := b.setStatus(ctx, service, nil); err != nil {
			return err
		}
	}
	if !slices.Contains(service.Finalizers, finalizer) {
		return nil
	}
	others := slices.DeleteFunc(slices.Clone(service.Finalizers), func(f string) bool { return f == finalizer })
	if err := b.setFinalizers(ctx, service, others); err != nil {
		return err
	}
	if had {
		b.recorder.Event(service, corev1.EventTypeNormal, "DeletedLoadBalancer", "Deleted load balancer")
	}
	return nil
}

func (b *balancer) setFinalizers(ctx context.Context, service *corev1.Service, finalizers []string) error {
	return b.patch(ctx, service, map[string]any{"metadata": map[string]any{
		"finalizers": finalizers, "resourceVersion": service.ResourceVersion, // the list is replaced as a whole
	}})
}

func (b *balancer) setStatus(ctx context.Context, service *corev1.Service, ingress []corev1.LoadBalancerIngress) error {
	return b.patch(ctx, service, map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": ingress}}}, "status")
}

func (b *balancer) patch(ctx context.Context, service *corev1.Service, change map[string]any, subresource ...string) error {
	content, err := json.Marshal(change)
	if err != nil {
		return err
	}
	_, err = b.nodes.client.CoreV1().Services(service.Namespace).Patch(ctx, service.Name, types.MergePatchType, content, metav1.PatchOptions{}, subresource...)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // another look follows, with the newer version
	}
	return err
}
