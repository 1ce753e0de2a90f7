package apply_test

import (
	"fmt"
	"strings"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/apply"
	"github.com/org/deploy-model-action/pkg/diff"
	"github.com/org/deploy-model-action/pkg/kube"
)

// foretell is what a plan says of the next deploy. It writes nothing.
func (s *sequence) foretell(manifest tree) ([]kube.Change, error) {
	s.Helper()
	o := s.options(fmt.Sprintf("%d-1", s.runs+1))
	o.Client = kube.NewClient(s.dynamic, s.rest, kube.Options{Foresee: true})
	before := s.read()
	plan, err := apply.NewPlan(s.Context(), []*unstructured.Unstructured{{Object: manifest}}, o)
	if after := s.read(); written(before) != written(after) {
		s.Errorf("a plan changed the object\nbefore %s\nafter %s", asJSON(before.Object), asJSON(after.Object))
	}
	if err != nil {
		return nil, err
	}
	return plan.Planned(), nil
}

// written names who wrote an object last, when and what: of all but its status, which
// controllers write all the time.
func written(u *unstructured.Unstructured) string {
	if u == nil {
		return "none"
	}
	parts := []string{string(u.GetUID())}
	for _, m := range u.GetManagedFields() {
		if m.Subresource != "status" && (m.Manager == "deploy-model-action" || m.Operation == metav1.ManagedFieldsOperationApply) {
			parts = append(parts, fmt.Sprintf("%s %s %s", m.Manager, m.Time, m.FieldsV1))
		}
	}
	return strings.Join(parts, " ")
}

// asPlanned compares a deploy with what its plan said.
func (s *sequence) asPlanned(planned []kube.Change, refusal error, done []kube.Change, err error) {
	s.Helper()
	if (refusal != nil) != (err != nil) {
		s.Errorf("planned: %v; deployed: %v", refusal, err)
		return
	}
	if err != nil {
		s.tally.add("plans of what was refused")
		return
	}
	s.tally.add("plans compared")
	if len(planned) != 1 || len(done) != 1 || planned[0].Action != done[0].Action {
		s.Errorf("planned: %s; deployed: %s", lines(planned), lines(done))
		return
	}
	want := diff.Lines(planned[0].Before, planned[0].After, planned[0].Manifest)
	got := diff.Lines(done[0].Before, done[0].After, done[0].Manifest)
	if difference := cmp.Diff(want, got); difference != "" {
		s.Errorf("what was planned and what was done of %s (-planned +done):\n%s\nlive before: %s\nafter: %s", planned[0], difference, asJSON(done[0].Before.Object), asJSON(done[0].After.Object))
		return
	}
	if len(got) > 0 {
		s.tally.add("plans with a diff, as it was then done")
	}
}
