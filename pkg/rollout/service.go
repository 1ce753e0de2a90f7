package rollout

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/workload"
)

// endpointGrace is how long the control plane may take to make an endpoint of a pod
// that is ready.
const endpointGrace = 20 * time.Second

// exposure is what is known of the pods that a Service leads to.
type exposure struct {
	service  corev1.Service
	selected []object.ID                           // workloads of the set that it selects, or else all that may make its pods
	matched  bool                                  // it does select some
	others   []string                              // the labels of the set's pods, if it selects none of them
	fault    *diagnosis.Failure                    // what is wrong with it for certain
	note     string                                // what may be
	ill      []int32                               // ports that led nowhere before
	slices   map[string]*discoveryv1.EndpointSlice // by name; nil: not read yet
	pods     map[object.ID]published               // of those that are over
	since    time.Time                             // when the last of them was
	denied   string                                // why its endpoints cannot be read
}

// expose finds what a Service has to lead to; nil if there is nothing to find out:
// it selects no pods itself, or nothing of it and of its pods was changed.
func expose(s *state, all []*state) *exposure {
	if s.change.ID().GroupKind().String() != "Service" || s.change.Manifest == nil { // of a way back the workloads are enough
		return nil
	}
	e := &exposure{pods: map[object.ID]published{}, since: s.began}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(s.live.Object, &e.service) != nil ||
		len(e.service.Spec.Selector) == 0 || e.service.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	changed := s.change.Changed()
	hidden := false // some pods are made of what nobody here can read
	var makers []object.ID
	var templates, earlier []*corev1.PodTemplateSpec
	for _, other := range all {
		id := other.change.ID()
		if id.Namespace != s.change.Namespace || id.Kind == "Service" || id.Group == "networking.k8s.io" {
			continue
		}
		makers = append(makers, id)
		template := other.podTemplate()
		if template == nil || id.Kind == "Job" {
			hidden = hidden || id.Custom()
			continue
		}
		if e.selects(template.Labels) {
			e.selected, templates = append(e.selected, id), append(templates, template)
			changed = changed || other.renewed
			if other.change.Before != nil {
				earlier = append(earlier, workload.Template(other.change.Before))
			}
			continue
		}
		e.others = append(e.others, labels.Set(template.Labels).String())
		if other.renewed && other.change.Before != nil {
			before := workload.Template(other.change.Before)
			changed = changed || before != nil && e.selects(before.Labels)
		}
	}
	if !changed {
		return nil
	}
	if e.matched = len(e.selected) > 0; !e.matched {
		e.selected = makers
		if len(e.others) > 0 && !hidden {
			e.note = fmt.Sprintf("its selector %s matches no pod of what was deployed, which have the labels %s", labels.Set(e.service.Spec.Selector), object.JoinFirst(slices.Compact(e.others)))
		}
		return e
	}
	if !slices.ContainsFunc(all, func(other *state) bool {
		pods := workload.Pods(other.live)
		return slices.Contains(e.selected, other.change.ID()) && (pods.Wanted > 0 || pods.Kind == "DaemonSet")
	}) {
		return nil // nobody is to serve, which is said
	}
	e.comparePorts(s, templates, earlier)
	return e
}

// podTemplate is that of the object, read once.
func (s *state) podTemplate() *corev1.PodTemplateSpec {
	if !s.templated {
		s.template, s.templated = workload.Template(s.live), true
	}
	return s.template
}

func (e *exposure) selects(of map[string]string) bool {
	return labels.SelectorFromSet(e.service.Spec.Selector).Matches(labels.Set(of))
}

// comparePorts compares where the Service sends requests with what the containers
// declare. A name that none of them has leads nowhere; a number may all the same.
// What led nowhere before, and is unchanged, fails nothing.
func (e *exposure) comparePorts(s *state, templates, earlier []*corev1.PodTemplateSpec) {
	var declared []string
	names, numbers := map[string]bool{}, map[int32]bool{}
	for _, t := range templates {
		for _, p := range workload.Ports(&t.Spec) {
			names[p.Name], numbers[p.ContainerPort] = true, true
			declared = append(declared, strings.TrimSpace(p.Name+" "+strconv.Itoa(int(p.ContainerPort))))
		}
	}
	slices.Sort(declared)
	has := "none"
	if len(declared) > 0 {
		has = object.JoinFirst(slices.Compact(declared))
	}
	for _, p := range e.service.Spec.Ports {
		target := p.TargetPort
		switch {
		case target.Type == intstr.String && target.StrVal != "" && !names[target.StrVal]:
			cause := fmt.Sprintf("its port %d leads to targetPort %q, which no container of its pods declares (declared: %s)", p.Port, target.StrVal, has)
			if !s.change.Changed() && len(earlier) > 0 && !declares(earlier, target.StrVal) {
				e.note, e.ill = cause+", as before", append(e.ill, p.Port)
				continue
			}
			e.fault = s.failure("NoSuchPort", cause, "correct targetPort, or give the container's port that name")
			return
		case target.Type == intstr.Int && target.IntVal != 0 && len(numbers) > 0 && !numbers[target.IntVal]:
			if !s.change.Changed() && len(earlier) > 0 {
				continue // it was said when the Service was changed
			}
			e.note = fmt.Sprintf("its port %d leads to targetPort %d, which no container of its pods declares (declared: %s); if nothing listens there, nobody is answered", p.Port, target.IntVal, has)
		}
	}
}

// declares reports whether a container of some pods has a port of that name.
func declares(templates []*corev1.PodTemplateSpec, name string) bool {
	return slices.ContainsFunc(templates, func(t *corev1.PodTemplateSpec) bool {
		return t != nil && slices.ContainsFunc(workload.Ports(&t.Spec), func(p corev1.ContainerPort) bool { return p.Name == name })
	})
}

// selection is where its endpoints are.
func (e *exposure) selection() kube.Selection {
	return kube.Selection{Resource: kube.EndpointSlices, Namespace: e.service.Namespace, Labels: discoveryv1.LabelServiceName + "=" + e.service.Name}
}

// observe takes in what a list or watch of endpoints brought.
func (e *exposure) observe(u kube.ListUpdate) {
	add := func(o *unstructured.Unstructured) {
		slice := &discoveryv1.EndpointSlice{}
		if runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, slice) == nil {
			e.slices[o.GetName()] = slice
		}
	}
	switch {
	case u.Err != nil:
		e.denied = line(u.Err.Error())
		return
	case u.Listed:
		e.denied, e.slices = "", map[string]*discoveryv1.EndpointSlice{}
		for i := range u.All {
			add(&u.All[i])
		}
	case u.Object == nil || e.slices == nil:
	case u.Deleted:
		delete(e.slices, u.Object.GetName())
	default:
		add(u.Object)
	}
}

// observePublished takes in what became of an object that may make its pods.
func (e *exposure) observePublished(id object.ID, p published, now time.Time) {
	e.pods[id], e.since = p, now
}

// leads reports whether the Service leads to a pod that is ready, and if not, why.
func (e *exposure) leads() (yes bool, why string) {
	found, other, port := 0, "", ""
	for _, slice := range e.slices {
		for _, endpoint := range slice.Endpoints {
			found++
			switch {
			case endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready:
			case !e.ours(endpoint):
				other = endpoint.TargetRef.Name
			case e.unled(slice) != "":
				port = e.unled(slice)
			default:
				return true, ""
			}
		}
	}
	switch {
	case port != "":
		return false, fmt.Sprintf("its port %s leads to no port of its pods", port)
	case other != "":
		return false, fmt.Sprintf("it leads to other pods than those of what was deployed, such as %q: its selector is %s", other, labels.Set(e.service.Spec.Selector))
	case found > 0:
		return false, fmt.Sprintf("none of its pods is ready to be sent requests (%d of them)", found)
	}
	why = fmt.Sprintf("it selects no pod: its selector is %s", labels.Set(e.service.Spec.Selector))
	if len(e.others) > 0 {
		why += ", and the pods of what was deployed have the labels " + object.JoinFirst(slices.Compact(slices.Clone(e.others)))
	}
	return false, why
}

// ours reports whether an endpoint is a pod of a live revision, as far as that is known.
func (e *exposure) ours(endpoint discoveryv1.Endpoint) bool {
	if !e.matched || endpoint.TargetRef == nil {
		return true
	}
	for _, p := range e.pods {
		if p.holds(endpoint.TargetRef.Name, endpoint.TargetRef.UID) {
			return true
		}
	}
	return false
}

// unled is a port of the Service that leads nowhere in a slice; "" if there is none.
func (e *exposure) unled(slice *discoveryv1.EndpointSlice) string {
	for _, p := range e.service.Spec.Ports {
		if slices.Contains(e.ill, p.Port) {
			continue
		}
		if !slices.ContainsFunc(slice.Ports, func(led discoveryv1.EndpointPort) bool {
			return led.Port != nil && (led.Name == nil && p.Name == "" || led.Name != nil && *led.Name == p.Name)
		}) {
			return strconv.Itoa(int(p.Port))
		}
	}
	return ""
}

// pending reports whether something that makes its pods is still waited for, and
// idle whether nothing wants any pod of it.
func (e *exposure) pending() (pending, idle bool) {
	wanted := int64(0)
	for _, p := range e.pods {
		wanted += p.wanted
	}
	return len(e.pods) < len(e.selected), e.matched && wanted == 0
}

// withEndpoints takes into account whether a Service that is ready leads somewhere.
func (v verdict) withEndpoints(s *state, o Options, now time.Time) (verdict, bool) {
	e := s.exposes
	if e == nil || !s.followed && e.fault == nil {
		return v, e == nil
	}
	if e.note != "" {
		v.notes = append(v.notes, note{key: e.note, text: e.note, warning: true})
	}
	pending, idle := e.pending()
	leads, why := e.leads()
	switch {
	case e.fault != nil:
		return v, false
	case e.denied != "":
		text := "whether it leads to a pod is not known: " + e.denied
		v.notes = append(v.notes, note{key: text, text: text, warning: true})
		return v, true
	case pending || e.slices == nil:
		v.message, v.waitsForPods = v.message+"; waiting for its pods", true
		return v, false
	case leads, idle:
		return v, true
	}
	grace := endpointGrace
	if len(e.selected) == 0 {
		grace = o.Persist
	}
	left := e.since.Add(grace).Sub(now)
	v.message += "; " + why
	if left <= 0 {
		v.pending = s.failure("NoEndpoints", why, "correct spec.selector and the ports of the Service, or the labels and ports of the pods")
	}
	return v.recheck(max(left, 0)), false
}
