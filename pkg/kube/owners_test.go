package kube

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/pkg/object"
)

// asking plays what Write does with the questions of a decision: the answers of a
// server that takes everything but what is refused.
func asking(t *testing.T, a applying, s state, refuseMerged error) (asked []string, d decision, err error) {
	t.Helper()
	for range questionLimit {
		d, next, err := a.decide(s)
		if err != nil || next == nil {
			return asked, d, err
		}
		accepted := s.answer
		switch {
		case next.defaults && !s.asked.defaults && next.merged == nil:
			asked = append(asked, "defaults")
		case next.merged != nil:
			asked = append(asked, "merged")
			if s.answer, s.refuse = accepted, nil; refuseMerged != nil {
				s.answer, s.refuse = nil, refuseMerged
			}
		default:
			asked = append(asked, "apply")
		}
		s.asked = *next
	}
	t.Fatal("it never ends")
	return nil, decision{}, nil
}

// TestClaims is what becomes ours first, so that an apply takes it away, by who holds it.
func TestClaims(t *testing.T) {
	t.Parallel()
	const (
		spec       = `{"template":{"spec":{"containers":[{"name":"other","image":"x"},{"name":"c","image":"new"}]}}}`
		otherField = `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"other\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`
		imageOnly  = `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`
	)
	manifest := strings.Replace(manifestJSON, `"replicas":2,`, "", 1)
	refused := statusError(status(422, "Invalid", "…", []metav1.StatusCause{{Field: "spec", Message: "Forbidden: no"}}))
	for _, tc := range []struct {
		name    string
		manager string
		force   bool
		merged  error
		want    []string // what is asked
		claims  bool
		says    string
		err     string
	}{
		{name: "kubectl create", manager: "kubectl-create", want: []string{"merged"}, claims: true, says: `spec.template.spec.containers[name="other"] is removed, which "kubectl-create" had put there`},
		{name: "kubectl create, and the server refuses", manager: "kubectl-create", merged: refused, want: []string{"merged", "merged"}, err: "…"},
		{name: "kubectl edit", manager: "kubectl-edit", says: `containers[name="other"] stays, which is managed by "kubectl-edit"`},
		{name: "a controller", manager: "sidecar-operator", says: `containers[name="other"] stays, which is managed by "sidecar-operator"`},
		{name: "Helm", manager: "helm", err: `managed by "helm", and would stay beside what the manifest holds`},
		{name: "Helm by force", manager: "helm", force: true, want: []string{"merged"}, claims: true, says: "is removed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			live := liveJSON(spec, entry(object.FieldManager, applies, "", imageOnly), entry(tc.manager, updates, "", otherField))
			a := applying{subjectOf(t, manifest), WriteOptions{Force: tc.force}}
			asked, d, err := asking(t, a, state{live: decode(t, live), answer: decode(t, live)}, tc.merged)
			if diff := cmp.Diff(tc.want, asked); diff != "" {
				t.Errorf("asked, -want +got:\n%s", diff)
			}
			if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Fatalf("error %v", err)
			}
			if (d.managers != nil) != tc.claims || tc.claims && (strings.Contains(string(d.managers), `"`+tc.manager+`"`) || !strings.Contains(string(d.managers), `k:{\"name\":\"other\"}`)) {
				t.Errorf("managers %s", d.managers)
			}
			if said := strings.Join(d.notes, "; "); !strings.Contains(said, tc.says) {
				t.Errorf("it says %s", said)
			}
		})
	}
}

// TestDefaults: a default of an earlier manifest is asked for only where something
// changed on which one may depend, and one that the server keeps is left.
func TestDefaults(t *testing.T) {
	t.Parallel()
	const ourFields = `{"f:spec":{"f:minReadySeconds":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`
	of := func(image, pull string, ready int) string {
		return strings.NewReplacer("IMAGE", image, "PULL", pull, "READY", string(rune('0'+ready))).Replace(`{"minReadySeconds":READY,"template":{"spec":{"containers":[{"name":"c","image":"IMAGE","imagePullPolicy":"PULL"}]}}}`)
	}
	ours := entry(object.FieldManager, applies, "", ourFields)
	refused := statusError(status(422, "Invalid", "…", []metav1.StatusCause{{Field: "spec", Message: "Forbidden: no"}}))
	for _, tc := range []struct {
		name, before, now string // image
		ready             int    // 1 before
		will              string // the pull policy of one that is made anew
		merged            error
		want              []string
		claims            bool
	}{
		{name: "another version", before: "m:1", now: "m:2", ready: 1},
		{name: "from latest", before: "m:latest", now: "m:2", ready: 1, will: "IfNotPresent", want: []string{"defaults", "merged"}, claims: true},
		{name: "from latest, and the server keeps it", before: "m:latest", now: "m:2", ready: 1, will: "IfNotPresent", merged: refused, want: []string{"defaults", "merged"}},
		{name: "another field, and the same default", before: "m:1", now: "m:1", ready: 2, will: "Always", want: []string{"defaults"}},
		{name: "the server does not say", before: "m:latest", now: "m:2", ready: 1, want: []string{"defaults"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			manifest := strings.NewReplacer(`"replicas":2`, `"minReadySeconds":`+string(rune('0'+tc.ready)), `"image":"new"`, `"image":"`+tc.now+`"`).Replace(manifestJSON)
			s := state{live: decode(t, liveJSON(of(tc.before, "Always", 1), ours)), answer: decode(t, liveJSON(of(tc.now, "Always", tc.ready), ours))}
			if tc.will != "" {
				s.was, s.will = decode(t, liveJSON(of(tc.before, "Always", 1))), decode(t, liveJSON(of(tc.now, tc.will, tc.ready)))
			}
			asked, d, err := asking(t, applying{subjectOf(t, manifest), WriteOptions{}}, s, tc.merged)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, asked); diff != "" {
				t.Errorf("asked, -want +got:\n%s", diff)
			}
			if claims := strings.Contains(string(d.managers), "imagePullPolicy"); claims != tc.claims || d.body == nil {
				t.Errorf("managers %s, body %v", d.managers, d.body)
			}
		})
	}
}
