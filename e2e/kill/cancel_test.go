package kill_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

// patience is how long a cancelled run may take to end.
const patience = 5 * time.Second

// TestCancelRollback cancels a run at random moments of its way back. What it
// says then, in its outputs, its log and its summary, has to be what the cluster
// holds, and a way back that was complete counts as one.
func TestCancelRollback(t *testing.T) {
	t.Parallel()
	seed := cloudtest.Seed(t)
	n := cloudtest.Sample(5, 50)
	var mu sync.Mutex
	outcomes := map[string]int{}
	right := 0
	t.Cleanup(func() {
		cloudtest.Figure(t, "cancelled in the rollback: what the report says is what the cluster holds in %d of %d; outcomes %v", right, n, outcomes)
	})
	for i := range n {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			random := cloudtest.Random(seed, i)
			// From before its first write until after its last: three writes that take
			// a fifth of a second each, and the wait for the pods.
			delay := time.Duration(random.IntN(1500)) * time.Millisecond
			r, x := cancelRollback(t, delay)
			ok := says(t, x, r)
			mu.Lock()
			defer mu.Unlock()
			outcomes[r.Outputs["outcome"]]++
			if ok {
				right++
			}
		})
	}
}

// cancelRollback cancels a run so long after its way back has begun.
func cancelRollback(t *testing.T, delay time.Duration) (*runner.Result, *cloudtest.Test) {
	t.Helper()
	k := killed{before: true, crashes: true}
	x, y, s := k.place(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var cancelled time.Time
	back := cloudtest.AtRollback()
	x.Cloud.Proxy.SetHook(y.Client, proxy.Hook{Before: func(r proxy.Request) bool {
		mu.Lock()
		slow := back(r)
		mu.Unlock()
		if slow {
			select {
			case <-time.After(200 * time.Millisecond): // so that the cancel falls into a write now and then
			case <-r.Gone:
			}
		}
		return true
	}})
	s.OnLine = func(line string) {
		if line == "::group::Rollback" {
			time.AfterFunc(delay, func() {
				mu.Lock()
				cancelled = time.Now()
				mu.Unlock()
				cancel()
			})
		}
	}
	r, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	x.LogRun(fmt.Sprintf("cancelled %s after its rollback began", delay), r)
	mu.Lock()
	defer mu.Unlock()
	if !cancelled.IsZero() && ended.Sub(cancelled) > patience {
		t.Errorf("it ended %s after the cancel", ended.Sub(cancelled))
	}
	return r, x
}

// says compares the report with the cluster.
func says(t *testing.T, x *cloudtest.Test, r *runner.Result) bool {
	t.Helper()
	ok := true
	wrong := func(format string, args ...any) {
		ok = false
		t.Errorf(format, args...)
	}
	// What a write that was under way at the cancel did is known only now.
	time.Sleep(300 * time.Millisecond)
	outcome := r.Outputs["outcome"]
	if code := map[string]int{"cancelled": 3, "rolled-back": 1}[outcome]; code == 0 || code != r.ExitCode {
		wrong("exit code %d with outcome %q", r.ExitCode, outcome)
	}
	restored := map[string]bool{} // what the cluster holds
	for _, o := range x.CommitOf()[:3] {
		restored[o.Name] = o.Commit == x.SHA(0)
		if o.Commit != x.SHA(0) && o.Commit != x.SHA(1) {
			wrong("%s is of commit %s", o.Name, x.Short(o.Commit))
		}
	}
	for name, is := range restored {
		said, open := restoredInLog(r.Log, name)
		switch {
		case outcome == "rolled-back" && !is:
			wrong("rolled back, but %s is not restored", name)
		case said && !is && !open:
			wrong("%s was said to be restored, and is not", name)
		case is && !said && !open:
			wrong("%s was restored, and nobody says so", name)
		}
	}
	if slices.Contains(slices.Collect(maps.Values(restored)), true) && strings.Contains(r.Log, "what was applied stays as it is") {
		wrong("it says that what was applied stays")
	}
	if strings.Contains(r.Log, "nothing in the cluster was changed") {
		wrong("it says that nothing was changed")
	}
	if image := r.Outputs["image"]; image != "" {
		d, err := x.Kube.AppsV1().Deployments(x.Namespace).Get(x.Context(), "model", metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		_, open := restoredInLog(r.Log, "Deployment model")
		if live := d.Spec.Template.Spec.Containers[0].Image; live != image && !open {
			wrong("output image is %s, the cluster has %s", image, live)
		}
	}
	if !strings.Contains(r.Summary, "Deployment") {
		wrong("the summary does not name the objects")
	}
	return ok
}

// restoredInLog reports whether a log says that an object was restored, and
// whether it says that it may have been.
func restoredInLog(log, object string) (said, open bool) {
	kind, name, _ := strings.Cut(object, " ")
	forms := []string{object, strings.ToLower(kind) + "/" + name, strings.ToLower(kind) + ".apps/" + name}
	for line := range strings.Lines(log) {
		if !slices.ContainsFunc(forms, func(f string) bool { return strings.Contains(line, f) }) {
			continue
		}
		switch {
		case strings.Contains(line, "may have been"), strings.Contains(line, "uncertain"):
			open = true
		case strings.Contains(line, "not restored"), strings.Contains(line, "not put back"):
		case strings.Contains(line, "restored"):
			said = true
		}
	}
	return said, open
}
