package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/candidate"
	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/rollout"
	"github.com/org/deploy-model-action/pkg/serving"
	"github.com/org/deploy-model-action/pkg/workload"
)

const (
	// candidateSpare is how much longer than it is waited for and asked a candidate
	// may live that nobody removes, because its run was killed.
	candidateSpare = 2 * time.Minute
	// goneLimit bounds the wait until the candidates are gone: they may hold what the
	// new pods need, and have a second to end.
	goneLimit = 20 * time.Second
	gonePoll  = 200 * time.Millisecond
)

// candidateKinds are what a candidate is made of, in the order of its removal.
var candidateKinds = []kube.Resource{core("pods"), core("configmaps"), core("secrets")}

func core(resource string) kube.Resource {
	return kube.Resource{GroupVersionResource: schema.GroupVersionResource{Version: "v1", Resource: resource}, Namespaced: true}
}

// CandidateError is a candidate that did not start, or answered wrong. Nothing
// that serves was changed.
type CandidateError struct {
	Workload object.ID
	Err      error
}

func (e *CandidateError) Error() string {
	return fmt.Sprintf("%s: its candidate failed, and nothing that serves was changed: %s", e.Workload, e.Err)
}

// Title says what went wrong, in a few words.
func (e *CandidateError) Title() string { return "Candidate failed" }

// About is the workload that the candidate stood for.
func (e *CandidateError) About() (object.ID, string) { return e.Workload, "" }

// Unwrap returns why it failed.
func (e *CandidateError) Unwrap() error { return e.Err }

// try starts a candidate of each changed workload, and lets the deploy go on if all
// of them start and answer right. None is left, however it ends.
func (d *deployment) try(ctx context.Context) (err error) {
	// Only in a namespace that is there can be checked what is to come into it.
	if err := d.plan.Ahead(ctx, isNamespace); err != nil {
		return d.explain(err)
	}
	if err := d.plan.Arrive(ctx); err != nil {
		return d.explain(err)
	}
	set, err := d.candidates(ctx)
	if err != nil || len(set.Candidates) == 0 {
		return err
	}
	// What the pods need to be accepted, and what nobody uses yet.
	if err := d.plan.Ahead(ctx, candidate.Needed); err != nil {
		return d.explain(err)
	}
	defer func() {
		if gone := d.removeCandidates(ctx); err == nil {
			err = gone
		}
	}()
	plan, err := apply.NewPlan(ctx, set.Objects(), apply.Options{
		Client: d.kube, Namespace: d.Namespace, Mark: d.mark(), Held: d.held,
		Report: func(c kube.Change) { d.log.Printf("%s", c) },
	})
	if err != nil {
		return d.explain(err)
	}
	changes, err := plan.Write(ctx)
	if err != nil {
		return d.explain(err)
	}
	pods := slices.DeleteFunc(changes, func(c kube.Change) bool { return c.Kind != "Pod" })
	o := d.rolloutOptions()
	o.Steady = map[object.ID]time.Duration{}
	for _, c := range set.Candidates {
		if c.Steady >= 0 {
			o.Steady[object.Of(c.Pod)] = c.Steady
		}
	}
	statuses, err := rollout.Wait(ctx, d.kube, pods, o)
	if newer := d.overtaken(ctx, err); newer != nil {
		return newer // it has removed them
	}
	if err = d.candidateFailed(set, statuses, err); err != nil {
		return err
	}
	return d.askCandidates(ctx, set, statuses)
}

func isNamespace(id object.ID) bool { return id.GroupKind().String() == "Namespace" }

// candidates makes the candidates, and removes what a run before this one left of its own.
func (d *deployment) candidates(ctx context.Context) (candidate.Set, error) {
	o := candidate.Options{
		Objects: d.plan.Objects(), Changed: d.plan.Pending, Nodes: d.nodes, Elastic: d.cluster.Autopilot,
		Release: d.Release, Run: d.runMark, Front: d.front(),
		Lifetime: int64((d.Timeout + d.HealthTimeout + candidateSpare).Seconds()),
	}
	if err := d.removeCandidates(ctx); err != nil {
		return candidate.Set{}, err
	}
	for _, namespace := range d.namespaces() {
		services, err := d.list(ctx, "services", namespace)
		if err != nil {
			return candidate.Set{}, err
		}
		claims, err := d.list(ctx, "persistentvolumeclaims", namespace)
		if err != nil {
			return candidate.Set{}, err
		}
		o.Services, o.Claims = append(o.Services, services...), append(o.Claims, claims...)
	}
	if len(d.nodes) > 0 {
		// Only to foresee what the scheduler would say: who may not read them does without.
		pods, err := d.kube.List(ctx, kube.Selection{Resource: core("pods"), Fields: "status.phase!=Succeeded,status.phase!=Failed", Limit: podsLimit})
		if err == nil {
			o.Pods = workload.ToPods(pods.Items)
		}
	}
	set, err := candidate.Build(o)
	if err != nil {
		return candidate.Set{}, err
	}
	if len(set.Candidates) == 0 {
		d.log.Printf("No workload changes, so there is no candidate to try")
	}
	return set, nil
}

// podsLimit bounds how many pods are read to know what is free on the nodes.
const podsLimit = 5000

// namespaces are those of the set's objects.
func (d *deployment) namespaces() []string {
	var all []string
	for _, u := range d.plan.Objects() {
		if n := u.GetNamespace(); n != "" && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

func (d *deployment) list(ctx context.Context, resource, namespace string) ([]*unstructured.Unstructured, error) {
	found, err := d.kube.List(ctx, kube.Selection{Resource: core(resource), Namespace: namespace})
	if err != nil {
		return nil, d.explain(d.kube.Explain(ctx, kube.Ref{Resource: core(resource), Namespace: namespace, Kind: resource}, err))
	}
	all := make([]*unstructured.Unstructured, len(found.Items))
	for i := range found.Items {
		all[i] = &found.Items[i]
		if all[i].GetKind() == "" { // items of a list may leave it out
			all[i].SetKind(strings.TrimSuffix(found.GetKind(), "List"))
		}
	}
	return all, nil
}

// removeCandidates removes what there is of this release's candidates, and waits
// until the pods are gone.
func (d *deployment) removeCandidates(ctx context.Context) error {
	if ctx.Err() != nil { // cancelled, and the more so they have to go
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		ctx = bounded
	}
	var errs []error
	var pods []kube.Ref
	for _, namespace := range d.namespaces() {
		for _, r := range candidateKinds {
			found, err := d.kube.List(ctx, kube.Selection{Resource: r, Namespace: namespace, Labels: candidate.Label + "=" + candidate.Value(d.Release)})
			if err != nil {
				errs = append(errs, fmt.Errorf("list %s of candidates in namespace %q: %w", r.Resource, namespace, err))
				continue
			}
			for i := range found.Items {
				u := &found.Items[i]
				ref := kube.Ref{Resource: r, Namespace: namespace, Name: u.GetName(), Kind: strings.TrimSuffix(found.GetKind(), "List")}
				uid := u.GetUID()
				if err := d.kube.Delete(ctx, ref, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}); err != nil {
					errs = append(errs, fmt.Errorf("remove %s of a candidate: %w", ref.ID(), err))
				} else if r == candidateKinds[0] {
					pods = append(pods, ref)
				}
			}
		}
	}
	d.awaitGone(ctx, pods)
	if err := errors.Join(errs...); err != nil {
		return d.explain(err)
	}
	return nil
}

// awaitGone waits for pods to be gone; a node that does not answer keeps them for
// ever, and then nobody waits for it.
func (d *deployment) awaitGone(ctx context.Context, pods []kube.Ref) {
	ctx, cancel := context.WithTimeout(ctx, goneLimit)
	defer cancel()
	for _, ref := range pods {
		for {
			found, err := d.kube.Get(ctx, ref, kube.Patience{})
			if found == nil || err != nil {
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(gonePoll):
			}
		}
	}
}

// candidateFailed turns the failure of a pod that is gone soon into one of the
// workload that it stood for.
func (d *deployment) candidateFailed(set candidate.Set, statuses []rollout.Status, err error) error {
	workloadOf := func(id object.ID) object.ID {
		for _, c := range set.Candidates {
			if object.Of(c.Pod) == id {
				return c.Workload
			}
		}
		return id
	}
	for _, s := range statuses {
		if !s.Waited {
			continue
		}
		d.result.Rollouts = append(d.result.Rollouts, Rollout{
			Object: "candidate of " + workloadOf(s.ID()).String(), Ready: s.Ready, Message: s.Message, Started: s.Began, Finished: s.Ended,
		})
		if s.Failure != nil {
			d.recordFailure(*s.Failure)
		}
	}
	if err == nil {
		return nil
	}
	var errs []error
	add := func(f diagnosis.Failure) {
		errs = append(errs, &CandidateError{Workload: workloadOf(f.Object), Err: errors.New(strings.TrimPrefix(f.String(), f.Object.String()+": "))})
	}
	var failed *rollout.FailedError
	var late *rollout.TimeoutError
	switch {
	case errors.As(err, &failed):
		for _, f := range failed.Failures {
			add(f)
		}
	case errors.As(err, &late):
		for _, s := range late.Waiting {
			if s.Failure != nil {
				add(*s.Failure)
			}
		}
	}
	if len(errs) == 0 {
		return err
	}
	return errors.Join(errs...)
}

// front is the Service that is going to be asked.
func (d *deployment) front() *unstructured.Unstructured {
	if d.questions() == "" {
		return nil
	}
	var changes []kube.Change
	for _, u := range d.plan.Objects() {
		c := kube.Change{After: u, Action: kube.Unchanged}
		if d.plan.Pending(object.Of(u)) {
			c.Action = kube.Configured
		}
		changes = append(changes, c)
	}
	return serving.Front(changes)
}

// askCandidates asks those behind the Service that is asked when the model serves.
func (d *deployment) askCandidates(ctx context.Context, set candidate.Set, statuses []rollout.Status) error {
	var errs []error
	for _, c := range set.Candidates {
		if c.Port == 0 {
			continue
		}
		o := d.askOptions()
		o.Changes, o.Pod = nil, serving.Pod{Namespace: c.Pod.GetNamespace(), Name: c.Pod.GetName(), Port: c.Port}
		started := time.Now()
		report, failed, err := d.question(ctx, o, statuses)
		if newer := d.overtaken(ctx, err); newer != nil {
			return newer
		}
		unasked := report.Unasked
		report.Unasked = nil // it is asked once more when it serves
		d.recordAnswers(report, time.Since(started))
		switch {
		case len(failed) > 0:
			err = d.candidateFailed(set, failed, err)
		case err != nil:
			err = &CandidateError{Workload: c.Workload, Err: err}
		case unasked != nil:
			d.log.Warning("the candidate was not asked: " + unasked.Error())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
