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
	"github.com/org/deploy-model-action/pkg/readiness"
	"github.com/org/deploy-model-action/pkg/workload"
)

const (
	// endpointPatience is how long the control plane may take to make an endpoint of a
	// pod that is ready: it takes less than a second, and some on a busy cluster.
	endpointPatience = 12 * time.Second
	// othersPatience is how long pods of somebody else may take, who may be deploying
	// them at this moment.
	othersPatience = 20 * time.Second
)

// exposure is what is known of the pods that a Service leads to.
type exposure struct {
	service  corev1.Service
	selected []object.ID                           // workloads of the set that it selects, or else all that may make its pods
	matched  bool                                  // it does select some
	hidden   bool                                  // it selects none, and of some nobody here can read what they make
	settled  bool                                  // nothing of it and of its pods was changed
	beside   bool                                  // something of the set was
	others   []string                              // the labels of the set's pods, if it selects none of them
	declared string                                // the ports of its pods
	fault    *diagnosis.Failure                    // what is wrong with it for certain
	note     string                                // what may be
	ill      []int32                               // ports that led nowhere before
	slices   map[string]*discoveryv1.EndpointSlice // by name; nil: not read yet
	pods     map[object.ID]published               // of those that are over
	since    time.Time                             // when the last of them was
	denied   string                                // why its endpoints cannot be read
}

// expose finds what a Service has to lead to; nil if there is nothing to find out:
// it selects no pods itself, or none is wanted. What was not changed is looked at as
// well: that it is as it was does not say that it was well.
func expose(s *state, all []*state) *exposure {
	if s.change.ID().GroupKind().String() != "Service" || s.change.Manifest == nil { // of a way back the workloads are enough
		return nil
	}
	e := &exposure{pods: map[object.ID]published{}, since: s.began}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(s.live.Object, &e.service) != nil ||
		len(e.service.Spec.Selector) == 0 || e.service.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	changed, ready := s.change.Changed(), true // ready says that all that it selects is, as it was written
	ends := false                              // it selects pods of a Job, by which they find each other
	var makers, jobs []object.ID
	var templates, earlier []*corev1.PodTemplateSpec
	for _, other := range all {
		id := other.change.ID()
		if id.Namespace != s.change.Namespace || id.Kind == "Service" || id.Group == "networking.k8s.io" {
			continue
		}
		template := other.podTemplate()
		switch {
		case id.GroupKind().String() == "Job.batch":
			jobs, ends = append(jobs, id), ends || template != nil && e.selects(template.Labels)
			continue
		case template == nil && makesPods(id):
			makers, e.hidden = append(makers, id), true
			continue
		case template == nil:
			continue
		}
		makers = append(makers, id)
		if e.selects(template.Labels) {
			e.selected, templates = append(e.selected, id), append(templates, template)
			ready = ready && !other.readySince.IsZero()
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
	if ends && len(e.selected) == 0 {
		return nil
	}
	e.settled, e.beside = !changed, changes(all)
	if e.matched = len(e.selected) > 0; !e.matched {
		if e.selected = makers; len(makers) == 0 {
			e.selected = jobs // which may make what no manifest shows
		}
		if len(e.others) > 0 && !e.hidden && changed {
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
	if e.comparePorts(s, templates, earlier); e.fault == nil && e.settled && ready {
		return nil // what matches and is ready has endpoints: that need not be asked
	}
	return e
}

// podless are API groups of custom kinds that make no pods.
var podless = []string{
	"networking.gke.io", "cloud.google.com", "cert-manager.io", "monitoring.coreos.com", "monitoring.googleapis.com", "external-secrets.io", "keda.sh",
}

// makesPods reports whether an object is of a kind that Kubernetes itself does not
// have, and whose controller may make pods.
func makesPods(id object.ID) bool {
	return id.Custom() && !slices.Contains(podless, id.Group)
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
	e.declared = has
	for _, p := range e.service.Spec.Ports {
		target := p.TargetPort
		switch {
		case target.Type == intstr.String && target.StrVal != "" && !names[target.StrVal]:
			cause := fmt.Sprintf("its port %d leads to targetPort %q, which no container of its pods declares (declared: %s)", p.Port, target.StrVal, has)
			if !s.change.Changed() && !s.unverified && e.beside && len(earlier) > 0 && !declares(earlier, target.StrVal) {
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
	if _, known := e.pods[id]; known {
		return
	}
	if !p.ready.IsZero() {
		now = p.ready // it may have had to go on since
	}
	e.pods[id] = p
	if now.After(e.since) {
		e.since = now
	}
}

// leads counts the pods that the Service leads to, which are ready, and says if there
// is none why, and what to do.
func (e *exposure) leads() (ready int, why, fix string) {
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
				ready++
			}
		}
	}
	selector := labels.Set(e.service.Spec.Selector)
	switch {
	case ready > 0:
	case port != "":
		return 0, fmt.Sprintf("its port %s leads to no port of its pods (declared: %s)", port, e.declared), "correct targetPort, or the ports that the containers declare"
	case other != "":
		return 0, fmt.Sprintf("it leads to other pods than those of what was deployed, such as %q: its selector is %s", other, selector), "correct spec.selector, or the labels of the pods"
	case found > 0:
		return 0, fmt.Sprintf("none of its pods is ready to be sent requests (%d of them)", found), "look at their conditions: kubectl get pods --selector=" + selector.String() + " --namespace=" + e.service.Namespace
	case e.matched:
		return 0, fmt.Sprintf("no pod is behind it: its selector is %s", selector), "look at its pods: kubectl get pods --selector=" + selector.String() + " --namespace=" + e.service.Namespace
	default:
		why, fix = fmt.Sprintf("it selects no pod: its selector is %s", selector), "correct spec.selector, or the labels of the pods"
		if len(e.others) > 0 {
			why += ", and the pods of what was deployed have the labels " + object.JoinFirst(slices.Compact(slices.Clone(e.others)))
		}
	}
	return ready, why, fix
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

// pending reports whether something that makes its pods is still waited for, or
// was in vain, and idle whether nothing wants any pod of it.
func (e *exposure) pending() (pending, idle bool) {
	wanted := int64(0)
	for _, p := range e.pods {
		wanted += p.wanted
		pending = pending || p.unready
	}
	return pending || len(e.pods) < len(e.selected), e.matched && wanted == 0
}

// patience is how long a Service that leads nowhere may go on so since its pods could
// be there; forever where time may heal it and nobody says when.
func (e *exposure) patience(o Options) (patience time.Duration, forever bool) {
	certain := false // pods of it are ready, as the wait for them says
	for _, p := range e.pods {
		certain = certain || !p.ready.IsZero() && p.wanted > 0
	}
	switch {
	case len(e.selected) == 0:
		return o.Persist, false
	case e.matched && !certain:
		return 0, true // its pods are not waited for, and may be loading
	case e.hidden && !certain:
		return o.Persist, false
	case e.matched || e.empty() && !e.hidden:
		return endpointPatience, false
	}
	return othersPatience, false
}

// empty reports whether no pod at all is selected.
func (e *exposure) empty() bool {
	for _, slice := range e.slices {
		if len(slice.Endpoints) > 0 {
			return false
		}
	}
	return true
}

// withEndpoints takes into account whether a Service leads somewhere.
func (v verdict) withEndpoints(s *state, o Options, now time.Time) (verdict, bool) {
	e := s.exposes
	if e == nil {
		return v, true
	}
	if e.note != "" && s.followed {
		v.notes = append(v.notes, note{key: e.note, text: e.note, warning: true})
	}
	pending, idle := e.pending()
	ready, why, fix := e.leads()
	switch {
	case e.fault != nil:
		v.pending = e.fault
		return v, false
	case e.denied != "":
		text := "whether it leads to a pod is not known: " + e.denied
		v.notes = append(v.notes, note{key: text, text: text, warning: true})
		return v, true
	case pending || e.slices == nil:
		if v.outcome == readiness.Ready {
			v.message, v.waitsForPods = v.message+"; waiting for its pods", true
		}
		return v, false
	case ready > 0:
		if v.outcome != readiness.Ready {
			return v, true // what it lacks is to be read, not what it has
		}
		v.message += fmt.Sprintf(", %d endpoint", ready)
		if ready > 1 {
			v.message += "s"
		}
		v.message += " ready"
		return v, true
	case idle:
		return v, true
	}
	patience, forever := e.patience(o)
	left := e.since.Add(patience).Sub(now)
	v.message += "; " + why
	v.pending, v.unproved = s.failure("NoEndpoints", why, fix), forever || left > 0
	if forever {
		v.pending.Fix += "; if they only need longer, raise timeout, or annotate the Service " + object.WaitAnnotation + `: "false"`
		return v, false
	}
	return v.recheck(max(left, 0)), false
}
