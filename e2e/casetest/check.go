package casetest

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/org/deploy-model-action/e2e/runner"
)

// check compares how a run ended with what is expected.
func (e Expect) check(r *runner.Result) []string {
	var all []string
	fail := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if e.Exit != nil && r.ExitCode != *e.Exit {
		fail("exit %d, want %d", r.ExitCode, *e.Exit)
	}
	if got := r.Outputs["outcome"]; e.Outcome != "" && got != e.Outcome {
		fail("outcome %q, want %q", got, e.Outcome)
	}
	lines := strings.Split(r.Log, "\n")
	for _, l := range e.Log {
		if !slices.ContainsFunc(lines, l.MatchString) {
			fail("no line of the log matches %s", l)
		}
	}
	for _, l := range e.NoLog {
		if i := slices.IndexFunc(lines, l.MatchString); i >= 0 {
			fail("a line of the log matches %s: %s", l, lines[i])
		}
	}
	if e.Within > 0 && r.Duration > e.within() {
		fail("it took %.1fs, want %ds at most", r.Duration.Seconds(), e.Within)
	}
	for _, w := range r.Warnings {
		fail("the runner says: %s", w)
	}
	if len(r.Files) > 0 {
		fail("the action changed files: %s", strings.Join(r.Files, ", "))
	}
	return all
}

// finder finds the objects that are meant.
type finder func(context.Context, thing) ([]unstructured.Unstructured, error)

// checkObjects waits until the objects are what is expected, or the time is over.
func (e Expect) checkObjects(ctx context.Context, settle time.Duration, find finder) []string {
	for deadline := time.Now().Add(settle); ; {
		var all []string
		for _, t := range e.Objects {
			found, err := find(ctx, t)
			if err != nil {
				all = append(all, fmt.Sprintf("%s: %v", t, err))
				continue
			}
			all = append(all, t.check(found)...)
		}
		if len(all) == 0 || time.Now().After(deadline) {
			return all
		}
		select {
		case <-ctx.Done():
			return all
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// check compares the objects that were found with what is expected of each.
func (t thing) check(found []unstructured.Unstructured) []string {
	switch {
	case t.Absent && len(found) > 0:
		return []string{fmt.Sprintf("%s: it is there, and should not be", t)}
	case !t.Absent && len(found) == 0:
		return []string{fmt.Sprintf("%s: it is not there", t)}
	}
	var all []string
	for _, o := range found {
		about := t.Kind + " " + o.GetName()
		for _, c := range t.That {
			if holds, got := c.Holds(o.Object); !holds {
				all = append(all, fmt.Sprintf("%s: %s does not hold: %s", about, c.String(), is(got)))
			}
		}
		for _, c := range t.Not {
			if holds, got := c.Holds(o.Object); holds {
				all = append(all, fmt.Sprintf("%s: %s holds, and should not: %s", about, c.String(), is(got)))
			}
		}
	}
	return all
}

func is(got string) string {
	if got == "" {
		return "nothing is there"
	}
	return fmt.Sprintf("it is %q", got)
}

// find finds objects in a namespace.
func (w *World) find(namespace string) finder {
	return func(ctx context.Context, t thing) ([]unstructured.Unstructured, error) {
		at, err := w.resource(t.Kind)
		if err != nil {
			return nil, err
		}
		var objects dynamic.ResourceInterface = w.objects.Resource(at.GroupVersionResource)
		if at.namespaced {
			objects = w.objects.Resource(at.GroupVersionResource).Namespace(cmp.Or(t.Namespace, namespace))
		}
		if !strings.Contains(t.Name, "*") {
			o, err := objects.Get(ctx, t.Name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil, nil
			} else if err != nil {
				return nil, err
			}
			return []unstructured.Unstructured{*o}, nil
		}
		list, err := objects.List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(list.Items, func(o unstructured.Unstructured) bool {
			fits, err := path.Match(t.Name, o.GetName())
			return err != nil || !fits
		}), nil
	}
}

// resource is where objects of a kind are, as the API server says it.
func (w *World) resource(kind string) (location, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if known, ok := w.kinds[kind]; ok {
		return known, nil
	}
	want := schema.ParseGroupKind(kind)
	lists, err := w.kube.Discovery().ServerPreferredResources()
	if len(lists) == 0 {
		return location{}, err // an error with lists is another case's definition that comes or goes
	}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil || want.Group != "" && want.Group != version.Group {
			continue
		}
		for _, r := range list.APIResources {
			if r.Kind == want.Kind && !strings.Contains(r.Name, "/") {
				w.kinds[kind] = location{version.WithResource(r.Name), r.Namespaced}
				return w.kinds[kind], nil
			}
		}
	}
	return location{}, fmt.Errorf("the cluster has no kind %q", kind)
}

// location is where the API server has the objects of a kind.
type location struct {
	schema.GroupVersionResource
	namespaced bool
}
