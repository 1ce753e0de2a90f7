package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
)

func phases(tb testing.TB) []*unstructured.Unstructured {
	tb.Helper()
	job := func(name, annotations string) *unstructured.Unstructured {
		return decode(tb, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"`+name+`","annotations":{`+annotations+`}},"spec":{}}`)
	}
	return []*unstructured.Unstructured{
		job("report", `"deploy-model-action/phase":"after"`),
		decode(tb, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"model"},"spec":{}}`),
		job("train", ``),
		job("migrate", `"deploy-model-action/phase":"before"`),
		configMap(tb, "settings"),
	}
}

// Jobs of a phase are written when their time has come, and waited for before what
// needs them to have succeeded is written.
func TestPhases(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{nil, errors.New("the migration failed"), joined{errors.New("one"), errors.New("two")}} {
		s := newServer(t, false)
		var reported []string
		s.options.Report = func(c kube.Change) { reported = append(reported, c.String()) }
		s.options.Await = func(_ context.Context, changes []kube.Change) error {
			if diff := cmp.Diff([]string{"job.batch/migrate created"}, strings.Split(said(changes), "\n")); diff != "" {
				t.Errorf("waits for %s", diff)
			}
			if n := s.count(func(r request) bool { return isWrite(r) && strings.Contains(r.Path, "/deployments/") }); n > 0 {
				t.Error("the Deployment is written before")
			}
			return failure
		}
		plan, err := NewPlan(t.Context(), phases(t), s.with())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(plan.Undo()); n != 5 {
			t.Errorf("the undo log has %d of 5 objects", n)
		}
		changes, err := plan.Write(t.Context())
		want := "configmap/settings created\njob.batch/migrate created"
		if failure == nil {
			want += "\ndeployment.apps/model created\njob.batch/train created"
		}
		if fmt.Sprint(err) != fmt.Sprint(failure) {
			t.Errorf("error %v, want %v", err, failure)
		}
		if diff := cmp.Diff(want, said(changes)); diff != "" {
			t.Error(diff)
		}
		if failure != nil {
			continue
		}
		if !plan.HasAfter() {
			t.Error("there is a Job for afterwards")
		}
		after, err := plan.WriteAfter(t.Context())
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff("job.batch/report created", said(after)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want+"\njob.batch/report created", strings.Join(reported, "\n")); diff != "" {
			t.Errorf("reported: %s", diff)
		}
	}
}

// joined is an error that says more than those that it joins.
type joined []error

func (j joined) Error() string   { return fmt.Sprintf("%d Jobs failed", len(j)) }
func (j joined) Unwrap() []error { return j }

func said(changes []kube.Change) string {
	var lines []string
	for _, c := range changes {
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}
