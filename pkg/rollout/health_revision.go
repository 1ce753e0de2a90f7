package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var sliceResource = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}

const revisionPause = 300 * time.Millisecond

// expectNew waits until no pod of an earlier revision is among the endpoints of
// the Service, as it is the new one whose answer proves something.
func (e *examiner) expectNew(ctx context.Context) error {
	workloads := e.replaced()
	if len(workloads) == 0 {
		return nil
	}
	told := ""
	for {
		old, err := e.oldEndpoints(ctx, workloads)
		if err == nil && len(old) == 0 {
			return nil
		}
		if names := some(old); err == nil && names != told {
			e.options.Progress("waiting until the earlier revision gets no more requests: " + names)
			told = names
		}
		if ctx.Err() != nil && told != "" {
			return &UnhealthyError{
				Cause: fmt.Sprintf("pods of an earlier revision still answer for %s: %s", kindAndName(e.service), told),
				Fix:   "look at why they do not end, or lower their terminationGracePeriodSeconds",
			}
		}
		if ctx.Err() != nil || apierrors.IsForbidden(err) || errors.Is(err, errUnknown) {
			return e.unchecked(err)
		}
		pauseFor(ctx, revisionPause)
	}
}

// unchecked notes what could not be found out. It fails nothing.
func (e *examiner) unchecked(err error) error {
	e.answer.Notes = append(e.answer.Notes, "not checked whether only the new revision answers: "+clean(err.Error(), phraseLimit))
	return nil
}

// errUnknown tells that no pod can be told to be of the new revision.
var errUnknown = errors.New("none of the pods can be told to be of the new revision")

// replaced are the workloads behind the Service that this deploy changed and
// whose rollout leaves no pod of an earlier revision.
func (e *examiner) replaced() []Status {
	var workloads []Status
	for _, s := range e.Statuses {
		if s.Changed && s.Before != nil && s.Waited && s.Live != nil && fronts(e.service, s.Live) && replacesAll(s.Live) {
			workloads = append(workloads, s)
		}
	}
	return workloads
}

// oldEndpoints are the pods of earlier revisions that requests go to.
func (e *examiner) oldEndpoints(ctx context.Context, workloads []Status) ([]string, error) {
	ready, err := e.readyPods(ctx)
	if err != nil {
		return nil, err
	}
	var old []string
	for _, s := range workloads {
		d := newDiagnosis(s.Target, e.options)
		if err := d.catchUp(ctx); err != nil {
			return nil, err
		}
		d.mu.Lock()
		made, known := d.revision(s.Live), false
		var earlier []string
		for _, t := range d.pods {
			if made(t.pod) {
				known = true
			} else if slices.Contains(ready, t.pod.Name) {
				earlier = append(earlier, t.pod.Name)
			}
		}
		d.mu.Unlock()
		if !known && (len(earlier) > 0 || d.lacks("pods") != "") {
			return nil, errUnknown
		}
		old = append(old, earlier...)
	}
	slices.Sort(old)
	return old, nil
}

// replacesAll tells whether a rollout leaves no pod of an earlier revision.
func replacesAll(workload *unstructured.Unstructured) bool {
	v := view{live: workload}
	switch kindOf(workload) {
	case "apps/Deployment":
		return true
	case "apps/StatefulSet", "apps/DaemonSet":
		return v.text("spec", "updateStrategy", "type") != "OnDelete" && v.spec(0, "updateStrategy", "rollingUpdate", "partition") == 0
	}
	return false
}

// readyPods are the names of the pods that the Service sends requests to.
func (e *examiner) readyPods(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	list, err := e.options.Dynamic.Resource(sliceResource).Namespace(e.service.GetNamespace()).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{"kubernetes.io/service-name": e.service.GetName()}.String(),
	})
	if apierrors.IsForbidden(err) {
		return nil, fmt.Errorf(`%w; allow "list" on endpointslices.discovery.k8s.io`, err)
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, slice := range list.Items {
		endpoints, _, _ := unstructured.NestedSlice(slice.Object, "endpoints")
		for _, item := range endpoints {
			endpoint, _ := item.(map[string]any)
			if ready, ok, _ := unstructured.NestedBool(endpoint, "conditions", "ready"); ok && !ready {
				continue
			}
			if kind, _, _ := unstructured.NestedString(endpoint, "targetRef", "kind"); !strings.EqualFold(kind, "Pod") {
				continue
			}
			name, _, _ := unstructured.NestedString(endpoint, "targetRef", "name")
			names = append(names, name)
		}
	}
	return names, nil
}
