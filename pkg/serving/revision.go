package serving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
	"github.com/org/deploy-model-action/pkg/workload"
)

const revisionPause = 300 * time.Millisecond

// waitForNew waits until no pod of an earlier revision is among the endpoints of
// the Service, as it is the new one whose answer proves something.
func (p *prober) waitForNew(ctx context.Context) error {
	workloads := p.replaced()
	if len(workloads) == 0 {
		return nil
	}
	reported := ""
	for {
		old, err := p.oldEndpoints(ctx, workloads)
		if err == nil && len(old) == 0 {
			return nil
		}
		if names := object.JoinFirst(old); err == nil && names != reported {
			p.Progress("waiting until the earlier revision gets no more requests: " + names)
			reported = names
		}
		if ctx.Err() != nil && reported != "" {
			return &UnhealthyError{
				What: "ask the model", Service: object.Of(p.service),
				Cause: fmt.Sprintf("pods of an earlier revision still answer for %s: %s", object.Of(p.service), reported),
				Fix:   "look at why they do not end, or lower their terminationGracePeriodSeconds",
			}
		}
		if ctx.Err() != nil || apierrors.IsForbidden(err) || errors.Is(err, errUnknown) {
			return p.unchecked(err)
		}
		_ = retry.Sleep(ctx, revisionPause)
	}
}

// unchecked notes what could not be found out. It fails nothing.
func (p *prober) unchecked(err error) error {
	p.report.Notes = append(p.report.Notes, "not checked whether only the new revision answers: "+line(err.Error()))
	return nil
}

// errUnknown is that of no pod it is known whether it is of the new revision.
var errUnknown = errors.New("none of the pods can be told to be of the new revision")

// replaced are the workloads behind the Service that this deploy changed and
// whose rollout leaves no pod of an earlier revision.
func (p *prober) replaced() []*unstructured.Unstructured {
	var workloads []*unstructured.Unstructured
	for _, c := range p.Changes {
		if c.Changed() && c.Before != nil && selects(p.service, c.After) && replacesAll(c.After) {
			workloads = append(workloads, c.After)
		}
	}
	return workloads
}

// oldEndpoints are the pods of earlier revisions that requests go to.
func (p *prober) oldEndpoints(ctx context.Context, workloads []*unstructured.Unstructured) ([]string, error) {
	ready, err := p.readyPods(ctx)
	if err != nil {
		return nil, err
	}
	var old []string
	for _, u := range workloads {
		earlier, err := p.earlierPods(ctx, u, ready)
		if err != nil {
			return nil, err
		}
		old = append(old, earlier...)
	}
	slices.Sort(old)
	return old, nil
}

// earlierPods are those among ready that belong to an earlier revision of a workload.
func (p *prober) earlierPods(ctx context.Context, u *unstructured.Unstructured, ready []string) ([]string, error) {
	set := workload.Pods(u)
	selection := kube.Selection{Namespace: u.GetNamespace(), Labels: set.Selector}
	var replicaSets []*unstructured.Unstructured // nil if they may not be read
	if set.Kind == "Deployment" {
		selection.Resource = kube.ReplicaSets
		list, err := p.client.List(ctx, selection)
		switch {
		case err == nil:
			replicaSets = make([]*unstructured.Unstructured, 0, len(list.Items))
			for i := range list.Items {
				replicaSets = append(replicaSets, &list.Items[i])
			}
		case !apierrors.IsForbidden(err):
			return nil, err
		}
	}
	selection.Resource = kube.Pods
	list, err := p.client.List(ctx, selection)
	switch {
	case apierrors.IsForbidden(err):
		return nil, errUnknown
	case err != nil:
		return nil, err
	}
	revision, known := workload.NewRevision(u, replicaSets), false
	var earlier []string
	for _, pod := range workload.ToPods(list.Items) {
		if revision.Includes(pod) {
			known = true
		} else if slices.Contains(ready, pod.Name) {
			earlier = append(earlier, pod.Name)
		}
	}
	if !known && len(earlier) > 0 {
		return nil, errUnknown
	}
	return earlier, nil
}

// replacesAll reports whether a rollout leaves no pod of an earlier revision.
func replacesAll(u *unstructured.Unstructured) bool {
	switch workload.Pods(u).Kind {
	case "Deployment":
		return !object.Flag(u, "spec", "paused")
	case "StatefulSet", "DaemonSet":
		return object.Text(u, "spec", "updateStrategy", "type") != "OnDelete" && object.Number(u, 0, "spec", "updateStrategy", "rollingUpdate", "partition") == 0
	}
	return false
}

// readyPods are the names of the pods that the Service sends requests to.
func (p *prober) readyPods(ctx context.Context) ([]string, error) {
	list, err := p.client.List(ctx, kube.Selection{
		Resource: kube.EndpointSlices, Namespace: p.service.GetNamespace(),
		Labels: labels.Set{"kubernetes.io/service-name": p.service.GetName()}.String(),
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
