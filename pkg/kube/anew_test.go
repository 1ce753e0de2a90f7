package kube

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/workload"
)

func jobAt(tb testing.TB, state, deleted string) *unstructured.Unstructured {
	tb.Helper()
	conditions := ""
	if state != "" {
		conditions = `{"type":"` + state + `","status":"True"}`
	}
	return decode(tb, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j","namespace":"default","uid":"u","resourceVersion":"7"`+deleted+`},"spec":{},"status":{"conditions":[`+conditions+`]}}`)
}

func TestAJobThatHasEndedGivesItsPlace(t *testing.T) {
	t.Parallel()
	manifest := decode(t, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j","namespace":"default"},"spec":{}}`)
	ref := RefOf(manifest, Resource{schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, true})
	immutable := statusError(status(422, "Invalid", "Job is invalid", []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Message: "Invalid value: core.PodTemplateSpec{}: field is immutable", Field: "spec.template"}}))
	wrong := statusError(status(422, "Invalid", "Job is invalid", []metav1.StatusCause{{Type: metav1.CauseTypeFieldValueInvalid, Message: `Unsupported value: "Always"`, Field: "spec.template.spec.restartPolicy"}}))
	for _, c := range []struct {
		name   string
		live   *unstructured.Unstructured
		refuse error
		rerun  bool
		want   string
	}{
		{"complete", jobAt(t, "Complete", ""), immutable, false, "anew"},
		{"failed", jobAt(t, "Failed", ""), immutable, false, "anew"},
		{"running", jobAt(t, "", ""), immutable, false, "is still running"},
		{"being stopped", jobAt(t, "FailureTarget", ""), immutable, false, "is still running"},
		{"being deleted", jobAt(t, "", `,"deletionTimestamp":"2026-01-01T00:00:00Z"`), immutable, false, "anew"},
		{"another mistake", jobAt(t, "Complete", ""), wrong, false, "Job is invalid"},
		{"failed, as it was", jobAt(t, "Failed", ""), nil, false, "as it is"},
		{"failed, and has to succeed", jobAt(t, "Failed", ""), nil, true, "anew"},
		{"complete, and has to succeed", jobAt(t, "Complete", ""), nil, true, "as it is"},
		{"running, and has to succeed", jobAt(t, "", ""), nil, true, "as it is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := applying{subject{ref, manifest}, WriteOptions{Rerun: c.rerun, Mark: object.Mark{Run: "2"}}}
			s := state{live: c.live, refuse: c.refuse}
			if c.refuse == nil {
				s.answer = c.live
			}
			d, next, err := a.decide(s)
			got := "as it is"
			switch {
			case err != nil:
				got = err.Error()
			case next != nil && next.anew:
				got = "anew"
			case d.recreate:
				got = "recreated without a question"
			}
			if !strings.Contains(got, c.want) {
				t.Fatalf("%s, want %s", got, c.want)
			}
			if got != "anew" {
				return
			}
			s.asked, s.refuse, s.answer = *next, nil, manifest
			d, next, err = a.decide(s)
			if err != nil || next != nil || !d.recreate || d.body.GetResourceVersion() != absent || runOf(d.body) != "2" {
				t.Errorf("%+v, %v, %v", d, next, err)
			}
			s.refuse, s.answer = wrong, nil
			if _, _, err = a.decide(s); err == nil {
				t.Error("it goes for one that is refused")
			}
		})
	}
}

// The dry run of the new Job is of another object: that it has no status takes the
// Job controller nothing away.
func TestAJobOfAnotherToolGivesItsPlace(t *testing.T) {
	t.Parallel()
	manifest := decode(t, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"j","namespace":"default"},"spec":{}}`)
	ref := RefOf(manifest, Resource{schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}, true})
	live := jobAt(t, "Failed", "")
	object.Map(live.Object, "metadata")["managedFields"] = []any{map[string]any{
		"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsType": "FieldsV1", "apiVersion": "batch/v1",
		"fieldsV1": map[string]any{"f:status": map[string]any{"f:conditions": map[string]any{}}},
	}}
	a := applying{subject{ref, manifest}, WriteOptions{}}
	d, next, err := a.decide(state{live: live, asked: question{terms: terms{force: true}, anew: true}, answer: manifest})
	if err != nil || next != nil || !d.recreate {
		t.Errorf("%+v, %v, %v", d, next, err)
	}
}

// The pods of a workload are replaced for what they read, and for nothing else.
func TestRolled(t *testing.T) {
	t.Parallel()
	const reads = `{"template":{"spec":{"containers":[{"name":"c","image":"new","envFrom":[{"configMapRef":{"name":"s"}}]}]}}}`
	manifest := decode(t, `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"m","namespace":"default"},"spec":`+reads+`}`)
	ref := RefOf(manifest, Resource{schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}, true})
	live := func(run, noted string) *unstructured.Unstructured {
		u := decode(t, liveJSON(reads))
		notes := map[string]string{}
		if run != "" {
			notes[object.RunAnnotation] = run
		}
		if noted != "" {
			notes[object.ConfigAnnotation] = noted
		}
		u.SetAnnotations(notes)
		return u
	}
	v := func(version string) workload.Versions {
		if version == "" {
			return workload.Versions{}
		}
		return workload.Versions{"ConfigMap/s": version}
	}
	for _, c := range []struct {
		name     string
		live     *unstructured.Unstructured
		now, was string
		keep     bool
		rolls    bool
		noted    string // on what is written; "-": nothing is
	}{
		{"new", nil, "1", "", false, false, "1"},
		{"new, and reads what nobody changed", nil, "", "", false, false, ""},
		{"as noted", live("1", "ConfigMap/s=1"), "1", "1", false, false, "-"},
		{"changed", live("1", "ConfigMap/s=1"), "2", "1", false, true, "2"},
		{"changed by a run that died", live("1", "ConfigMap/s=1"), "2", "2", false, true, "2"},
		{"ours, changed for the first time", live("1", ""), "1", "", false, true, "1"},
		{"ours, changed for the first time by a run that died", live("1", ""), "1", "1", false, true, "1"},
		{"not ours", live("", ""), "1", "1", false, false, "-"},
		{"not ours, changed", live("", ""), "2", "1", false, true, "2"},
		{"opted out", live("1", "ConfigMap/s=1"), "2", "1", true, false, "-"},
		{"what it reads is not in the set any more", live("1", "ConfigMap/s=1"), "", "", false, false, "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := applying{subject{ref, manifest}, WriteOptions{Config: &Config{Versions: v(c.now), Before: v(c.was), Keep: c.keep}}}
			d, next, err := a.decide(state{live: c.live, answer: c.live})
			if err != nil || next != nil {
				t.Fatal(next, err)
			}
			if c.live == nil {
				d, _, _ = a.decide(state{answer: manifest})
			}
			for range 2 { // it is decided on again when more is known
				got := a.rolled(d)
				if c.noted == "-" {
					if got.pending() {
						t.Errorf("it is written: %v", got.body)
					}
					continue
				}
				if !got.pending() {
					t.Fatal("it is not written")
				}
				want := v(c.noted).String()
				if noted := got.body.GetAnnotations()[object.ConfigAnnotation]; noted != want {
					t.Errorf("noted %q, want %q", noted, want)
				}
				mark := object.Map(got.body.Object, "spec", "template", "metadata", "annotations")[object.ConfigAnnotation]
				if c.rolls != (mark == want) || c.rolls != (len(got.notes) == 1) {
					t.Errorf("the template is marked %v, %q is said", mark, got.notes)
				}
			}
		})
	}
}
