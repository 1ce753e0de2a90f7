package serving

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// Askable reports whether a set of objects holds something that can be asked, as
// far as its manifests show: a Service with a port, or an object whose controller
// may make one.
func Askable(all []*unstructured.Unstructured) bool {
	return slices.ContainsFunc(all, func(u *unstructured.Unstructured) bool {
		switch id := object.Of(u); {
		case id.GroupKind().String() == "Service":
			return isAskable(u)
		case id.Group == "" || strings.HasSuffix(id.Group, ".k8s.io") || slices.Contains([]string{"apps", "batch", "autoscaling", "policy", "extensions"}, id.Group):
			return false
		}
		return true // KServe, Knative, Ray and what else makes Services of its own
	})
}

// isAskable reports whether a Service has a port, and pods or endpoints behind it.
func isAskable(service *unstructured.Unstructured) bool {
	_, ok := askPort(service)
	return ok && object.Text(service, "spec", "type") != "ExternalName"
}

// Front is the Service that Check would ask of these changes, with the one port
// that it would ask at; nil if there is none.
func Front(changes []kube.Change) *unstructured.Unstructured {
	chosen := Options{Changes: changes}.service()
	if chosen == nil {
		return nil
	}
	front := chosen.DeepCopy()
	p, _ := askPort(chosen)
	ports := slices.DeleteFunc(object.List(front.Object, "spec", "ports"), func(item any) bool {
		m, _ := item.(map[string]any)
		name, _ := m["name"].(string)
		return m["port"] != p.number || name != p.name
	})
	if err := unstructured.SetNestedSlice(front.Object, ports, "spec", "ports"); err != nil {
		return nil
	}
	return front
}

// service is the one to ask: the one that leads by HTTP to what this deploy
// changed. nil if there is none.
func (o Options) service() *unstructured.Unstructured {
	type candidate struct {
		*unstructured.Unstructured
		ranks []int // the less, the better; the first that differs decides
	}
	var all []candidate
	for _, c := range o.Changes {
		u := c.After
		if object.Of(u).GroupKind().String() != "Service" || !isAskable(u) {
			continue
		}
		port, _ := askPort(u)
		all = append(all, candidate{u, []int{
			rankOf(port.kind() != portOther || strings.Contains(u.GetName(), "metrics")),
			o.distance(u),
			rankOf(object.Text(u, "spec", "clusterIP") == "None"),
			rankOf(object.Of(u) != o.Address.Service),
		}})
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return slices.Compare(a.ranks, b.ranks) })
	if len(all) == 0 {
		return nil
	}
	return all[0].Unstructured
}

func rankOf(worse bool) int {
	if worse {
		return 1
	}
	return 0
}

// distance is how far a Service is from what was changed: 0 in front of a workload
// that was, 1 in front of another one of the set, 2 elsewhere.
func (o Options) distance(service *unstructured.Unstructured) int {
	nearest := 2
	for _, c := range o.Changes {
		switch {
		case !selects(service, c.After):
		case c.Changed():
			return 0
		default:
			nearest = 1
		}
	}
	return nearest
}

// selects reports whether a Service sends requests to a workload's pods.
func selects(service, workload *unstructured.Unstructured) bool {
	selector, _, _ := unstructured.NestedStringMap(service.Object, "spec", "selector")
	labels, _, _ := unstructured.NestedStringMap(workload.Object, "spec", "template", "metadata", "labels")
	if object.Of(workload).GroupKind().String() == "Pod" {
		labels = workload.GetLabels()
	}
	if service.GetNamespace() != workload.GetNamespace() || len(selector) == 0 {
		return false
	}
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// What a port is for, as far as its name and number say.
const (
	portOther   = iota
	portMetrics // of a program that watches programs
	portGRPC    // which no path can be asked of
)

func (p port) kind() int {
	name := strings.ToLower(p.name)
	switch {
	case strings.Contains(name, "metric") || strings.Contains(name, "prom") || p.number == 9090 || p.number == 9100:
		return portMetrics
	case strings.HasPrefix(name, "grpc") || strings.Contains(strings.ToLower(p.speaks), "grpc") || p.speaks == "kubernetes.io/h2c":
		return portGRPC
	}
	return portOther
}

// askPort chooses the port of a Service to ask at: by what it says that it speaks,
// by the numbers that HTTP uses, and the first else. Unlike for an address that
// people are told, what is not encrypted is first: no certificate is made out to
// a load balancer's number.
func askPort(service *unstructured.Unstructured) (port, bool) {
	ports := tcpPorts(service)
	if len(ports) == 0 {
		return port{}, false
	}
	rank := func(p port) int {
		name, speaks := strings.ToLower(p.name), strings.ToLower(p.speaks)
		switch {
		case p.kind() != portOther:
			return 6
		case p.scheme == "https":
			return 4
		case name == "http" || speaks == "http":
			return 0
		case strings.HasPrefix(name, "http") || strings.HasPrefix(name, "web"):
			return 1
		case p.number == 80:
			return 2
		case slices.Contains([]int64{8080, 8000, 3000, 5000, 8501, 8081}, p.number):
			return 3
		}
		return 5
	}
	return slices.MinFunc(ports, func(a, b port) int { return cmp.Compare(rank(a), rank(b)) }), true
}

// made are the ways to ask what the controller of a custom resource made: the URL
// that its status names, and the Service of the cluster behind it.
func (p *prober) made() []way {
	var outside, inside []way
	for _, c := range p.Changes {
		for _, a := range findCustom(c.After) {
			to, err := url.Parse(a.URL)
			if err != nil {
				continue
			}
			if !a.Internal {
				w := direct(url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}, p.HTTP)
				w.routed = true
				outside = append(outside, w)
				continue
			}
			name, rest, _ := strings.Cut(to.Hostname(), ".")
			namespace, _, _ := strings.Cut(rest, ".")
			if !isInside(to.Hostname()) || namespace != c.After.GetNamespace() {
				continue // no object leads into another team's namespace
			}
			if w, ok := p.proxied("services", namespace, name, to.Scheme, portNumber(to)); ok {
				w.routed = true
				inside = append(inside, w)
			}
		}
	}
	return append(outside, inside...)
}

// isInside reports whether a host is a Service's name within the cluster.
func isInside(host string) bool {
	return strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".svc.cluster.local")
}

// portNumber is the port of a URL, also if it is the scheme's own.
func portNumber(u *url.URL) int64 {
	switch u.Port() {
	case "":
		if u.Scheme == "https" {
			return 443
		}
		return 80
	}
	var n int64
	for _, digit := range u.Port() {
		n = n*10 + int64(digit-'0')
	}
	return n
}
