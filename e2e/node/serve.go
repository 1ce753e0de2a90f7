package node

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
)

// HasLoadBalancer tells whether a load balancer answers at an address or name
// now. One that is internal does not: nobody outside the network reaches it.
func (n *Nodes) HasLoadBalancer(host string) bool {
	b := n.balancer
	b.mu.Lock()
	defer b.mu.Unlock()
	key := b.byAddress(host)
	return key != "" && !b.given[key].internal
}

// ServeLoadBalancer answers as the load balancer at host: one of the pods that
// are ready behind the request's port answers, in turn. Without one the answer
// is 502; a port that the Service does not have is not open.
func (n *Nodes) ServeLoadBalancer(w http.ResponseWriter, r *http.Request, host string) {
	b := n.balancer
	b.mu.Lock()
	key := b.byAddress(host)
	turn := 0
	if g := b.given[key]; g != nil {
		g.turn++
		turn = g.turn
	}
	b.mu.Unlock()
	namespace, name, _ := cache.SplitMetaNamespaceKey(key)
	service, err := b.services.Services(namespace).Get(name)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	port := 80
	if p := r.URL.Port(); p != "" {
		port, _ = strconv.Atoi(p)
	} else if _, p, ok := strings.Cut(r.Host, ":"); ok {
		port, _ = strconv.Atoi(p)
	}
	open := false
	for _, p := range service.Spec.Ports {
		if int(p.Port) == port {
			open = true
			backends := b.ready(name, p.Name, b.slices.EndpointSlices(namespace).List)
			if len(backends) == 0 {
				// What every client of the API server can see already, this one's cache may
				// not hold yet.
				backends = b.ready(name, p.Name, b.listed(r.Context(), namespace))
			}
			if len(backends) > 0 {
				chosen := backends[turn%len(backends)]
				chosen.pod.serve(w, r, chosen.port)
				return
			}
		}
	}
	if !open {
		panic(http.ErrAbortHandler)
	}
	http.Error(w, "no healthy backend", http.StatusBadGateway)
}

// listed asks the API server for a namespace's slices.
func (b *balancer) listed(ctx context.Context, namespace string) func(labels.Selector) ([]*discoveryv1.EndpointSlice, error) {
	return func(selector labels.Selector) ([]*discoveryv1.EndpointSlice, error) {
		found, err := b.nodes.client.DiscoveryV1().EndpointSlices(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
		if err != nil {
			return nil, err
		}
		all := make([]*discoveryv1.EndpointSlice, len(found.Items))
		for i := range found.Items {
			all[i] = &found.Items[i]
		}
		return all, nil
	}
}

// backend is one pod behind a port of a Service.
type backend struct {
	pod  *pod
	port int
}

// ready finds the pods that the control plane holds to be ready. Those that the
// node has been told to stop are left out at once: on GKE a pod serves on while
// the network learns of it.
func (b *balancer) ready(service, port string, list func(labels.Selector) ([]*discoveryv1.EndpointSlice, error)) []backend {
	found, err := list(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service}))
	if err != nil {
		return nil
	}
	var backends []backend
	for _, slice := range found {
		number := 0
		for _, p := range slice.Ports {
			if p.Port != nil && (p.Name == nil && port == "" || p.Name != nil && *p.Name == port) {
				number = int(*p.Port)
			}
		}
		if number == 0 {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Conditions.Ready == nil || !*e.Conditions.Ready {
				continue
			}
			for _, address := range e.Addresses {
				if p := b.nodes.network.pod(address); p != nil && p.serving() {
					backends = append(backends, backend{p, number})
				}
			}
		}
	}
	slices.SortFunc(backends, func(x, y backend) int { return strings.Compare(x.pod.name, y.pod.name) })
	return backends
}
