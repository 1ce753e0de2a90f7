package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

var modelResource = schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "models"}

// model is an object that a deploy changed, in one of its states.
func model(name, spec, run, extra string) string {
	return fmt.Sprintf(`{"apiVersion": "example.com/v1", "kind": "Model", "metadata": {"name": %q, "namespace": "default", "uid": "uid-%s", "resourceVersion": "5",
"annotations": {"deploy-model-action/run": %q}, "managedFields": [{"manager": "deploy-model-action", "operation": "Apply", "fieldsType": "FieldsV1",
"fieldsV1": {"f:metadata": {"f:annotations": {"f:deploy-model-action/run": {}}}, "f:spec": {"f:image": {}}}}%s]}, "spec": %s}`, name, name, run, extra, spec)
}

const (
	oldSpec = `{"image": "v1", "leftover": 1}`
	newSpec = `{"image": "v2", "leftover": 1}`
)

func modelTarget(t *testing.T, name string) Target {
	t.Helper()
	return Target{
		Before: fromYAML(t, model(name, oldSpec, "1", "")), Object: fromYAML(t, model(name, newSpec, "2", "")),
		Resource: modelResource, Namespaced: true, Changed: true,
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	type reply struct {
		status int // 0: the reply is lost
		body   string
	}
	ok := func(body string) reply { return reply{200, body} }
	no := func(code int, reason, message string) reply {
		c, b := refuse(code, reason, message)
		return reply{c, b}
	}
	good := ok(model("m", oldSpec, "1", ""))
	now := ok(model("m", newSpec, "2", ""))
	fieldConflict := reply{409, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict: conflict with \"other\" using v1: .spec.image", "details": {"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"other\" using v1", "field": ".spec.image"}]}}`}
	updated := model("m", oldSpec, "1", `, {"manager": "deploy-model-action", "operation": "Update", "apiVersion": "example.com/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:leftover": {}}}}`)

	const hpa = `, {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:leftover": {}}}}`
	aliased := ok(model("m", `{"image": "v1", "leftover": 1, "alias": 2}`, "1", ""))
	tests := []struct {
		name    string
		replies []reply // after one to see whether a newer run was there
		asked   string
		action  RestoreAction
		message string
	}{
		{"restored", []reply{now, now, good, good}, "GET, GET, PATCH dry, PATCH", ActionRestored, ""},
		{"others write in between", []reply{now, now, good, no(409, "Conflict", "the object has been modified"), now, good, good}, "GET, GET, PATCH dry, PATCH, GET, PATCH dry, PATCH", ActionRestored, ""},
		{"the server stumbles", []reply{no(500, "InternalError", "no"), no(503, "ServiceUnavailable", "down"), now, no(500, "InternalError", "etcdserver: leader changed"), now, good, good}, "GET, GET, GET, PATCH dry, GET, PATCH dry, PATCH", ActionRestored, ""},
		{"the answer is lost after the write", []reply{now, now, good, {}, good, good, good}, "GET, GET, PATCH dry, PATCH, GET, PATCH dry, PATCH", ActionRestored, ""},
		{"a field is taken at that moment", []reply{now, now, fieldConflict, fieldConflict}, "GET, GET, PATCH dry, PATCH", ActionNotRestored, `Apply failed with 1 conflict: conflict with "other" using v1: .spec.image; compare it with the earlier manifest and apply that by hand`},
		{"no right", []reply{now, now, no(403, "Forbidden", "you may not"), no(403, "Forbidden", "you may not")}, "GET, GET, PATCH dry, PATCH", ActionNotRestored, "you may not; compare it with the earlier manifest and apply that by hand"},
		{"deleted since", []reply{now, no(404, "NotFound", "gone")}, "GET, GET", ActionNotRestored, "somebody deleted it since; apply its earlier manifest by hand"},
		{"created anew since", []reply{now, ok(strings.ReplaceAll(model("m", newSpec, "2", ""), "uid-m", "other"))}, "GET, GET", ActionNotRestored, "somebody deleted it and created it anew since; left as it is"},
		{"deployed by a newer run", []reply{ok(model("m", newSpec, "3", ""))}, "GET", ActionNotRestored, "a newer run has deployed Model default/m since, and counts on what is there; left as it is"},
		{"deployed by a newer run at that moment", []reply{now, ok(model("m", newSpec, "3", ""))}, "GET, GET", ActionNotRestored, "a newer run has deployed it since; left as it is"},
		{
			"what an apply cannot say is replaced, and migrated",
			[]reply{now, now, aliased, ok(updated), good},
			"GET, GET, PATCH dry, PUT, PATCH", ActionRestored, "",
		},
		{
			"without the right to update, the difference is told",
			[]reply{now, now, aliased, no(403, "Forbidden", "no"), aliased},
			"GET, GET, PATCH dry, PUT, PATCH", ActionNotRestored, "still different from before: spec.alias; compare it with the earlier manifest and apply that by hand",
		},
		{
			"what an autoscaler holds is left to it",
			[]reply{now, now, ok(model("m", `{"image": "v1", "leftover": 7}`, "1", hpa)), ok(model("m", `{"image": "v1", "leftover": 7}`, "1", hpa))},
			"GET, GET, PATCH dry, PATCH", ActionRestored, `left to others: spec.leftover (held by "hpa")`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var asked []string
				replies := tt.replies
				o, _ := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					step := r.Method
					if r.URL.Query().Get("dryRun") != "" {
						step += " dry"
					}
					asked = append(asked, step)
					if r.Header.Get("Content-Type") == "application/apply-patch+yaml" {
						checkApply(t, r)
					}
					if len(replies) == 0 {
						t.Errorf("%s was not expected", step)
						hangUp(w, r)
					}
					reply := replies[0]
					replies = replies[1:]
					if reply.status == 0 {
						hangUp(w, r)
					}
					answer(reply.status, reply.body)(w, r)
				}))
				target := modelTarget(t, "m")
				all, err := Restore(t.Context(), []Target{target}, o)
				if len(all) != 1 || all[0].Action != tt.action {
					t.Fatalf("%+v, %v; want %s", all, err, tt.action)
				}
				want := ""
				if tt.action == ActionNotRestored {
					want = "restore Model default/m: " + tt.message
				}
				if got := errorText(err); got != want || errorText(all[0].Err) != want || all[0].Message != tt.message {
					t.Errorf("%s\nmessage %q", cmp.Diff(want, got), all[0].Message)
				}
				if got := strings.Join(asked, ", "); got != tt.asked {
					t.Errorf("asked %s, want %s", got, tt.asked)
				}
			})
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// checkApply holds every apply to the rules: our manager, never forced, only
// on the state that was read, and only the earlier fields.
func checkApply(t *testing.T, r *http.Request) {
	t.Helper()
	q := r.URL.Query()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Error(err)
	}
	want := map[string]any{
		"apiVersion": "example.com/v1", "kind": "Model", "spec": map[string]any{"image": "v1"},
		"metadata": map[string]any{"name": "m", "namespace": "default", "uid": "uid-m", "resourceVersion": "5", "annotations": map[string]any{"deploy-model-action/run": "1"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if q.Get("fieldManager") != "deploy-model-action" || q.Get("force") != "false" {
		t.Errorf("query %s", r.URL.RawQuery)
	}
}

func TestRestoreOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		targets := []Target{modelTarget(t, "first"), modelTarget(t, "made"), modelTarget(t, "same"), modelTarget(t, "last")}
		targets[1].Before = nil
		targets[2].Changed = false
		targets[3].Resource.Resource = "others"
		o, journal := serve(t, restorable())
		all, err := Restore(t.Context(), targets, o)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, r := range all {
			lines = append(lines, r.String())
		}
		if diff := cmp.Diff([]string{
			"model.example.com/first restored",
			"model.example.com/made left: this deploy created it, so there is nothing to go back to; left for inspection",
			"model.example.com/same untouched",
			"model.example.com/last restored",
		}, lines); diff != "" {
			t.Error(diff)
		}
		var asked []string
		for _, request := range journal.requests()[3:] { // without those that look for newer runs
			path, _, _ := strings.Cut(request, "?")
			asked = append(asked, strings.ReplaceAll(path, "/apis/example.com/v1/namespaces/default/", ""))
		}
		want := []string{"GET others/last", "PATCH others/last", "PATCH others/last", "GET models/first", "PATCH models/first", "PATCH models/first"}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Error(diff)
		}
	})
}

// restorable serves every model as this deploy left it, and takes what is restored.
func restorable() replier {
	return func(r *http.Request) (int, string) {
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		if r.Method == http.MethodGet {
			return 200, model(name, newSpec, "2", "")
		}
		return 200, model(name, oldSpec, "1", "")
	}
}

// TestRestoreSome holds that an object which cannot be restored does not keep
// the others from it.
func TestRestoreSome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		targets := []Target{modelTarget(t, "a"), modelTarget(t, "b"), modelTarget(t, "c"), modelTarget(t, "d")}
		targets[3].Resource.Resource = "others"
		well := restorable()
		o, _ := serve(t, replier(func(r *http.Request) (int, string) {
			if r.Method == http.MethodPatch && (strings.HasSuffix(r.URL.Path, "/b") || strings.HasSuffix(r.URL.Path, "/d")) {
				return refuse(422, "Invalid", "it is immutable now")
			}
			return well(r)
		}))
		all, err := Restore(t.Context(), targets, o)
		want := "restore Model default/b: it is immutable now; compare it with the earlier manifest and apply that by hand\n" +
			"restore Model default/d: it is immutable now; compare it with the earlier manifest and apply that by hand"
		if errorText(err) != want || all[0].Action != ActionRestored || all[2].Action != ActionRestored {
			t.Errorf("%+v\n%s", all, cmp.Diff(want, errorText(err)))
		}
	})
}

// TestRestoreNothingOfANewerRun holds that nothing is taken from under a newer
// run, not even what it has not written itself.
func TestRestoreNothingOfANewerRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settings := targetOf(fromYAML(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: default, uid: u}, data: {a: "2"}}`))
		settings.Before = fromYAML(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: default, uid: u}, data: {a: "1"}}`)
		o, journal := serve(t, replier(func(r *http.Request) (int, string) {
			return 200, model("m", newSpec, "3", "")
		}))
		all, err := Restore(t.Context(), []Target{settings, modelTarget(t, "m")}, o)
		const why = "a newer run has deployed Model default/m since, and counts on what is there; left as it is"
		if want := "restore ConfigMap default/settings: " + why + "\nrestore Model default/m: " + why; errorText(err) != want || len(all) != 2 {
			t.Error(cmp.Diff(want, errorText(err)))
		}
		if diff := cmp.Diff([]string{"GET /apis/example.com/v1/namespaces/default/models/m"}, journal.requests()); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRestoreShowsNoSecret holds that no value of a Secret is in what is said about it.
func TestRestoreShowsNoSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		secret := func(value string) string {
			return `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default", "uid": "u"}, "data": {"key": "` + value + `"}}`
		}
		target := targetOf(fromYAML(t, secret("bmV3")))
		target.Before = fromYAML(t, secret("aHVudGVyMg=="))
		o, _ := serve(t, replier(func(r *http.Request) (int, string) {
			if r.Method == http.MethodGet {
				return 200, secret("bmV3")
			}
			return refuse(422, "Invalid", `Secret "s" is invalid: data[key]: Invalid value: "hunter2aHVudGVyMg==": no`)
		}))
		all, err := Restore(t.Context(), []Target{target}, o)
		want := "restore Secret default/s: the API server refused it (Invalid); compare it with the earlier manifest and apply that by hand"
		if errorText(err) != want || strings.Contains(fmt.Sprint(all[0].Message, all[0].Err), "hunter2") {
			t.Error(cmp.Diff(want, errorText(err)), all[0].Message)
		}
	})
}

// TestOwnDifferences holds which differences a restore may write, beside what it
// applies: those that nobody else holds. The managedFields are recorded ones.
func TestOwnDifferences(t *testing.T) {
	t.Parallel()
	object := func(kind, data, managed string) *unstructured.Unstructured {
		return fromYAML(t, `{apiVersion: v1, kind: `+kind+`, metadata: {name: s, managedFields: [`+managed+`]}, data: `+data+`}`)
	}
	const (
		written = `{manager: deploy-model-action, operation: Apply, fieldsType: FieldsV1, fieldsV1: {"f:stringData": {"f:a": {}, "f:c": {}}}}`
		other   = `, {manager: other, operation: Apply, fieldsType: FieldsV1, fieldsV1: {"f:data": {"f:a": {}, "f:b": {}}}}`
	)
	tests := []struct {
		name, kind, managed string
		want                []string
	}{
		{"nobody else holds them", "Secret", written, []string{"data.a", "data.b", "data.c"}},
		{"others hold some", "ConfigMap", written + other, []string{"data.c"}},
		{"others hold some, which were written as stringData all the same", "Secret", written + other, []string{"data.a", "data.c"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			after := object(tt.kind, `{a: Nw==, b: OQ==, c: OA==}`, tt.managed)
			var got []string
			for _, d := range ownDifferences(object(tt.kind, `{a: MQ==, b: Mg==}`, ""), after, after) {
				got = append(got, d.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRestoreGivesUp(t *testing.T) {
	t.Parallel()
	const name = "restore Model default/m: "
	tests := []struct {
		name   string
		answer scene
		cancel time.Duration
		took   time.Duration
		want   string
	}{
		{"cancelled while the server is down", no(503, "ServiceUnavailable"), 10 * time.Second, 10 * time.Second, "the run was cancelled before it was done; compare it with the earlier manifest and apply that by hand"},
		{"cancelled while nobody answers", hang, 10 * time.Second, 10 * time.Second, "the run was cancelled before it was done; compare it with the earlier manifest and apply that by hand"},
		{"down for too long", no(503, "ServiceUnavailable"), time.Hour, restoreBudget, "no success within 1m0s: the server said no; compare it with the earlier manifest and apply that by hand"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				o, _ := serve(t, tt.answer)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(tt.cancel, cancel)
				all, err := Restore(ctx, []Target{modelTarget(t, "m")}, o)
				if errorText(err) != name+tt.want || all[0].Action != ActionNotRestored || time.Since(objecttest.Start()) != tt.took {
					t.Errorf("%s after %s", cmp.Diff(name+tt.want, errorText(err)), time.Since(objecttest.Start()))
				}
			})
		})
	}
}
