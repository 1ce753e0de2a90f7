package kube

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/object"
)

const manifestJSON = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"m","namespace":"default"},"spec":{"replicas":2,"template":{"spec":{"containers":[{"name":"c","image":"new"}]}}}}`

// liveJSON is the Deployment as it is, with entries of managedFields.
func liveJSON(spec string, entries ...string) string {
	return `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"m","namespace":"default","uid":"u","resourceVersion":"7","managedFields":[` +
		strings.Join(entries, ",") + `]},"spec":` + spec + `}`
}

// entry is one of managedFields.
func entry(manager, operation, subresource, fields string) string {
	return fmt.Sprintf(`{"manager":%q,"operation":%q,"subresource":%q,"apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":%s}`, manager, operation, subresource, fields)
}

const (
	imageField    = `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`
	replicasField = `{"f:spec":{"f:replicas":{}}}`
	bothFields    = `{"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`
	oldSpec       = `{"replicas":2,"template":{"spec":{"containers":[{"name":"c","image":"old"}]}}}`
	newSpec       = `{"replicas":2,"template":{"spec":{"containers":[{"name":"c","image":"new"}]}}}`
	imagePath     = `.spec.template.spec.containers[name="c"].image`
)

// conflictWith is the answer to a dry run; each conflict is "message|path".
func conflictWith(conflicts ...string) error {
	var causes []metav1.StatusCause
	for _, c := range conflicts {
		message, path, _ := strings.Cut(c, "|")
		causes = append(causes, metav1.StatusCause{Type: metav1.CauseTypeFieldManagerConflict, Message: message, Field: path})
	}
	return statusError(status(409, "Conflict", "Apply failed", causes))
}

// said is a decision, or what is to be asked first, in one line.
func said(d decision, q *question, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	if q != nil {
		out := "ask"
		if q.force {
			out += " by force"
		}
		if q.merged != nil {
			out += " as merged"
		}
		return out + terms(q.terms).String()
	}
	if !d.pending() {
		return strings.Join(append([]string{"nothing"}, d.notes...), "; ")
	}
	out := "apply at " + d.body.GetResourceVersion()
	if uid := d.body.GetUID(); uid != "" {
		out += " of " + string(uid)
	}
	if d.managers != nil {
		out = "migrate, " + out
	}
	if d.force {
		out += " by force"
	}
	if d.fence {
		out += " as a fence"
	}
	if _, sent := fieldAt(d.body, replicasPath); !sent {
		out += " without replicas"
	}
	return strings.Join(slices.Concat([]string{out}, d.moved, d.notes), "; ")
}

// String lists terms, for tests.
func (t terms) String() string {
	var out string
	for _, path := range slices.Sorted(maps.Keys(t.yield)) {
		out += ", " + path + " is " + t.yield[path] + "'s"
	}
	for _, m := range t.migrate {
		out += ", migrating " + m.manager
	}
	for _, c := range t.take {
		out += ", taking " + c.path + " from " + c.manager
	}
	return out
}

// TestDecide is what is sent, of what is there and what the server says.
func TestDecide(t *testing.T) {
	t.Parallel()
	ours := entry(object.FieldManager, applies, "", bothFields)
	changed := liveJSON(newSpec, ours)
	scaledByHPA := entry("kube-controller-manager", updates, scaleSubresource, replicasField)
	noReplicas := strings.Replace(manifestJSON, `"replicas":2,`, "", 1)
	for _, tc := range []struct {
		name         string
		manifest     string
		live, answer string
		refuse       error
		asked        question
		o            WriteOptions
		scaler       string
		want         string
	}{
		{name: "it does not exist", answer: strings.Replace(changed, `"resourceVersion":"7",`, "", 1), want: "apply at 1"},
		{name: "nothing changes", live: changed, answer: changed, want: "nothing"},
		{name: "nothing changes, and a run before has not finished", live: changed, answer: changed, o: WriteOptions{Fence: true}, want: "apply at 7 of u as a fence"},
		{name: "another image", live: liveJSON(oldSpec, ours), answer: changed, want: "apply at 7 of u"},
		{name: "becoming the owner", live: liveJSON(newSpec), answer: changed, want: "apply at 7 of u"},
		{
			name: "kubectl applied it", live: liveJSON(oldSpec, entry(kubectlApply, updates, "", bothFields)),
			refuse: conflictWith(`conflict with "kubectl-client-side-apply" using apps/v1|` + imagePath),
			want:   "ask by force, migrating kubectl-client-side-apply",
		},
		{
			name: "kubectl applied it, asked by force", live: liveJSON(oldSpec, entry(kubectlApply, updates, "", bothFields)), answer: changed,
			asked: question{terms: terms{migrate: []tool{{kubectlApply, updates}}, force: true}},
			want:  "migrate, apply at 7 of u; fields that kubectl-client-side-apply set are now managed by deploy-model-action",
		},
		{
			name: "kubectl applied the same", live: liveJSON(newSpec, entry(kubectlApply, updates, "", bothFields)), answer: liveJSON(newSpec, entry(kubectlApply, updates, "", bothFields), ours),
			want: "migrate, apply at 7 of u; fields that kubectl-client-side-apply set are now managed by deploy-model-action",
		},
		{
			name: "kubectl applied it server-side", live: liveJSON(oldSpec, entry("kubectl", applies, "", bothFields)),
			refuse: conflictWith(`conflict with "kubectl"|` + imagePath),
			want:   "ask by force, migrating kubectl",
		},
		{
			name: "edited by hand", live: liveJSON(oldSpec, entry("kubectl-edit", updates, "", imageField)),
			refuse: conflictWith(`conflict with "kubectl-edit" using apps/v1|` + imagePath),
			want:   "ask by force, taking " + imagePath + " from kubectl-edit",
		},
		{
			name: "edited by hand, asked by force", live: liveJSON(oldSpec, ours, entry("kubectl-edit", updates, "", imageField)), answer: liveJSON(newSpec, ours, entry("kubectl-edit", updates, "", `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{}}}}}}}`)),
			asked: question{terms: terms{force: true}},
			want:  `apply at 7 of u by force; spec.template.spec.containers[0].image is taken over from "kubectl-edit", which had set it to something else`,
		},
		{
			name: "what a controller would lose by it, which nobody named", live: liveJSON(oldSpec, ours, entry("injector", updates, "", imageField)), answer: liveJSON(newSpec, ours, entry("injector", updates, "", `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{}}}}}}}`)),
			asked: question{terms: terms{force: true, take: []conflict{{path: imagePath, manager: "kubectl-edit", update: true}}}},
			want:  `error: Deployment default/m: spec.template.spec.containers[0].image: managed by "injector", which gave it another value: remove the field from the manifest, or set force_conflicts: true to take it over`,
		},
		{
			name: "Helm", live: liveJSON(oldSpec, entry("helm", updates, "", bothFields)),
			refuse: conflictWith(`conflict with "helm" using apps/v1|` + imagePath),
			want:   `error: Deployment default/m: spec.template.spec.containers[0].image: managed by "helm", which gave it another value: remove the field from the manifest, or set force_conflicts: true to take it over`,
		},
		{
			name: "Helm, by force", live: liveJSON(oldSpec, entry("helm", updates, "", bothFields)), o: WriteOptions{Force: true},
			refuse: conflictWith(`conflict with "helm" using apps/v1|` + imagePath),
			want:   "ask by force, migrating helm",
		},
		{
			name: "a controller, by force", live: liveJSON(oldSpec, entry("injector", updates, "", bothFields)), o: WriteOptions{Force: true},
			refuse: conflictWith(`conflict with "injector" using apps/v1|` + imagePath),
			want:   "ask by force, taking " + imagePath + " from injector",
		},
		{
			name: "an autoscaler", live: liveJSON(oldSpec, scaledByHPA), o: WriteOptions{Force: true},
			refuse: conflictWith(`conflict with "kube-controller-manager" with subresource "scale" using apps/v1|` + replicasPath),
			want:   "ask, .spec.replicas is kube-controller-manager's",
		},
		{
			name: "an autoscaler that agrees", live: liveJSON(newSpec, scaledByHPA), answer: changed,
			want: "ask, .spec.replicas is kube-controller-manager's",
		},
		{
			name: "an autoscaler, without its field", live: liveJSON(newSpec, entry(object.FieldManager, applies, "", imageField), scaledByHPA), answer: liveJSON(newSpec, entry(object.FieldManager, applies, "", imageField), scaledByHPA),
			asked: question{terms: terms{yield: map[string]string{replicasPath: "kube-controller-manager"}}},
			want:  `nothing; spec.replicas is left to "kube-controller-manager", which scales it`,
		},
		{
			name: "KEDA", live: liveJSON(oldSpec, entry("keda-operator", updates, "", replicasField)),
			refuse: conflictWith(`conflict with "keda-operator" using apps/v1|` + replicasPath),
			want:   "ask, .spec.replicas is keda-operator's",
		},
		{
			name: "KEDA to zero, which leaves no owner", live: liveJSON(strings.Replace(newSpec, `"replicas":2`, `"replicas":0`, 1), entry(object.FieldManager, applies, "", imageField)), answer: changed, scaler: "keda-hpa-m",
			want: "ask, .spec.replicas is keda-hpa-m's",
		},
		{
			name: "kubectl scale", live: liveJSON(oldSpec, entry("kubectl", updates, scaleSubresource, replicasField)),
			refuse: conflictWith(`conflict with "kubectl" with subresource "scale" using apps/v1|` + replicasPath),
			want:   "ask by force, taking .spec.replicas from kubectl",
		},
		{
			name: "we let replicas go", manifest: noReplicas, live: liveJSON(newSpec, ours), answer: liveJSON(strings.Replace(newSpec, `"replicas":2`, `"replicas":1`, 1), entry(object.FieldManager, applies, "", imageField)),
			want: "migrate, apply at 7 of u without replicas; spec.replicas stays as it is: the manifest does not hold it any more",
		},
		{
			name: "kubectl lets replicas go", manifest: noReplicas, live: liveJSON(newSpec, entry(kubectlApply, updates, "", bothFields)), answer: liveJSON(newSpec, entry(kubectlApply, updates, "", bothFields), entry(object.FieldManager, applies, "", imageField)),
			want: "migrate, apply at 7 of u without replicas; spec.replicas stays as it is: the manifest does not hold it any more; fields that kubectl-client-side-apply set are now managed by deploy-model-action",
		},
		{
			name: "we let replicas go, which an autoscaler holds", manifest: noReplicas, live: liveJSON(newSpec, ours, scaledByHPA), answer: liveJSON(newSpec, entry(object.FieldManager, applies, "", imageField), scaledByHPA),
			want: "apply at 7 of u without replicas",
		},
		{
			name: "refused, and a tool of a person is in the way", live: liveJSON(oldSpec, entry("kubectl-create", updates, "", bothFields)),
			refuse: statusError(status(422, "Invalid", "no", []metav1.StatusCause{{Field: "spec", Message: "Duplicate value"}})),
			want:   "ask as merged, migrating kubectl-create",
		},
		{
			name: "refused, and so is what it will be", live: liveJSON(oldSpec, ours),
			refuse: statusError(status(422, "Invalid", "no", nil)),
			want:   "error: no",
		},
		{
			name: "it needs what the set brings", live: liveJSON(oldSpec, ours), o: WriteOptions{InSet: func(id object.ID) bool { return id.String() == "PriorityClass high" }},
			refuse: statusError(status(403, "Forbidden", `pods "p" is forbidden: no PriorityClass with name high was found`, nil)),
			want:   "apply at 7 of u",
		},
		{
			name: "it needs what the set brings to another namespace", live: liveJSON(oldSpec, ours), o: WriteOptions{InSet: func(id object.ID) bool { return id.String() == "ServiceAccount other/x" }},
			refuse: statusError(status(403, "Forbidden", `error looking up service account default/x: serviceaccount "x" not found`, nil)),
			want:   `error: error looking up service account default/x: serviceaccount "x" not found`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.manifest == "" {
				tc.manifest = manifestJSON
			}
			a := applying{subjectOf(t, tc.manifest), tc.o}
			s := state{asked: tc.asked, refuse: tc.refuse, scaler: tc.scaler}
			for text, into := range map[string]**unstructured.Unstructured{tc.live: &s.live, tc.answer: &s.answer} {
				if text != "" {
					*into = decode(t, text)
				}
			}
			if tc.live != "" && tc.live == tc.answer {
				s.live, s.answer = decode(t, tc.live), decode(t, tc.answer)
			}
			if diff := cmp.Diff(tc.want, said(a.decide(s))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(decode(t, tc.manifest).Object, a.body.Object); diff != "" {
				t.Errorf("the manifest was modified: %s", diff)
			}
			if tc.live != "" {
				if diff := cmp.Diff(decode(t, tc.live).Object, s.live.Object); diff != "" {
					t.Errorf("what was read was modified: %s", diff)
				}
			}
		})
	}
}

// TestMarkSent: which marks are written over what is there.
func TestMarkSent(t *testing.T) {
	t.Parallel()
	mark := object.Mark{Run: "2-1", Commit: "abc", Cause: "ours"}
	held := func(manager string) string {
		return liveJSON(oldSpec, entry(manager, updates, "", `{"f:metadata":{"f:annotations":{"f:kubernetes.io/change-cause":{}}}}`))
	}
	for _, tc := range []struct {
		name, manifest, live string
		want                 map[string]string
		force                bool
	}{
		{"nothing there", manifestJSON, "", mark.Annotations(), false},
		{"the manifest's own", strings.Replace(manifestJSON, `"name":"m"`, `"name":"m","annotations":{"kubernetes.io/change-cause":"mine"}`, 1), "", map[string]string{object.RunAnnotation: "2-1", object.CommitAnnotation: "abc", object.ChangeCause: "mine"}, false},
		{"a person's", manifestJSON, held("kubectl-annotate"), mark.Annotations(), true},
		{"another tool's", manifestJSON, held("helm"), map[string]string{object.RunAnnotation: "2-1", object.CommitAnnotation: "abc"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := applying{subjectOf(t, tc.manifest), WriteOptions{Mark: mark}}
			s := state{answer: decode(t, liveJSON(newSpec))}
			if tc.live != "" {
				s.live = decode(t, tc.live)
			}
			d, _, err := a.decide(s)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, d.body.GetAnnotations()); diff != "" || d.force != tc.force {
				t.Errorf("force %t: %s", d.force, diff)
			}
		})
	}
}
