package rollout

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
	return Target{
		Before: thing(t, model(name, oldSpec, "1", "")), Object: thing(t, model(name, newSpec, "2", "")),
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

	tests := []struct {
		name    string
		replies []reply
		asked   string
		action  RestoreAction
		message string // part of message and error
	}{
		{"restored", []reply{now, good, good}, "GET, PATCH dry, PATCH", ActionRestored, ""},
		{"others write in between", []reply{now, good, no(409, "Conflict", "the object has been modified"), now, good, good}, "GET, PATCH dry, PATCH, GET, PATCH dry, PATCH", ActionRestored, ""},
		{"the server stumbles", []reply{no(503, "ServiceUnavailable", "down"), now, no(500, "InternalError", "etcdserver: leader changed"), now, good, good}, "GET, GET, PATCH dry, GET, PATCH dry, PATCH", ActionRestored, ""},
		{"the answer is lost after the write", []reply{now, good, {}, good, good, good}, "GET, PATCH dry, PATCH, GET, PATCH dry, PATCH", ActionRestored, ""},
		{"a field is taken at that moment", []reply{now, fieldConflict, fieldConflict}, "GET, PATCH dry, PATCH", ActionNotRestored, `conflict with "other"`},
		{"no right", []reply{now, no(403, "Forbidden", "no"), no(403, "Forbidden", "no")}, "GET, PATCH dry, PATCH", ActionNotRestored, "restore Model default/m: "},
		{"deleted since", []reply{no(404, "NotFound", "gone")}, "GET", ActionNotRestored, "somebody deleted it since"},
		{"created anew since", []reply{ok(strings.ReplaceAll(model("m", newSpec, "2", ""), "uid-m", "other"))}, "GET", ActionNotRestored, "created it anew since"},
		{"deployed by a newer run since", []reply{ok(model("m", newSpec, "3", ""))}, "GET", ActionNotRestored, "a newer run has deployed it since"},
		{
			"what an apply cannot say is replaced, and migrated",
			[]reply{now, ok(model("m", `{"image": "v1", "leftover": 1, "alias": 2}`, "1", "")), ok(updated), good},
			"GET, PATCH dry, PUT, PATCH", ActionRestored, "",
		},
		{
			"without the right to update, the difference is told",
			[]reply{now, ok(model("m", `{"image": "v1", "leftover": 1, "alias": 2}`, "1", "")), no(403, "Forbidden", "no"), ok(model("m", `{"image": "v1", "leftover": 1, "alias": 2}`, "1", ""))},
			"GET, PATCH dry, PUT, PATCH", ActionNotRestored, "still different from before: spec.alias",
		},
		{
			"what an autoscaler holds is left to it",
			[]reply{now, ok(model("m", `{"image": "v1", "leftover": 7}`, "1", `, {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:leftover": {}}}}`)), ok(model("m", `{"image": "v1", "leftover": 7}`, "1", `, {"manager": "hpa", "operation": "Update", "subresource": "scale", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:leftover": {}}}}`))},
			"GET, PATCH dry, PATCH", ActionRestored, `left to others: spec.leftover (held by "hpa")`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked []string
			replies := tt.replies
			api := &fakeAPI{}
			api.answer = func(r *http.Request) (int, string) {
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
					return refuse(400, "BadRequest", "no more")
				}
				reply := replies[0]
				replies = replies[1:]
				if reply.status == 0 {
					panic(http.ErrAbortHandler)
				}
				return reply.status, reply.body
			}
			all, err := Restore(context.Background(), []Target{modelTarget(t, "m")}, api.options(t))
			if len(all) != 1 || all[0].Action != tt.action {
				t.Fatalf("%+v, %v; want %s", all, err, tt.action)
			}
			if (err != nil) != (tt.action == ActionNotRestored) || err != nil && all[0].Err == nil {
				t.Errorf("error %v", err)
			}
			if text := fmt.Sprint(all[0].Message, " ", err); !strings.Contains(text, tt.message) {
				t.Errorf("%q, want part %q", text, tt.message)
			}
			if got := strings.Join(asked, ", "); got != tt.asked {
				t.Errorf("asked %s, want %s", got, tt.asked)
			}
			if waitable := Waitable(all); (len(waitable) == 1) != (tt.action == ActionRestored) {
				t.Errorf("waitable %v", waitable)
			}
		})
	}
}

// checkApply holds every apply to the rules: our manager, never forced, only
// on the state that was read, and only the earlier fields.
func checkApply(t *testing.T, r *http.Request) {
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
	targets := []Target{modelTarget(t, "first"), modelTarget(t, "made"), modelTarget(t, "same"), modelTarget(t, "last")}
	targets[1].Before = nil
	targets[2].Changed = false
	targets[3].Resource.Resource = "others"
	api := &fakeAPI{answer: func(r *http.Request) (int, string) {
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		if r.Method == http.MethodGet {
			return 200, model(name, newSpec, "2", "")
		}
		return 200, model(name, oldSpec, "1", "")
	}}
	all, err := Restore(context.Background(), targets, api.options(t))
	if err != nil {
		t.Fatal(err)
	}
	var actions []RestoreAction
	for _, r := range all {
		actions = append(actions, r.Action)
	}
	if diff := cmp.Diff([]RestoreAction{ActionRestored, ActionLeft, ActionUntouched, ActionRestored}, actions); diff != "" {
		t.Error(diff)
	}
	var asked []string
	for _, request := range api.requests() {
		path, _, _ := strings.Cut(request, "?")
		asked = append(asked, strings.ReplaceAll(path, "/apis/example.com/v1/namespaces/default/", ""))
	}
	want := []string{"GET others/last", "PATCH others/last", "PATCH others/last", "GET models/first", "PATCH models/first", "PATCH models/first"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

func TestRestoreEndsWithItsContext(t *testing.T) {
	t.Parallel()
	api := &fakeAPI{answer: func(*http.Request) (int, string) { return refuse(503, "ServiceUnavailable", "down") }}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	all, err := Restore(ctx, []Target{modelTarget(t, "m")}, api.options(t))
	if err == nil || all[0].Action != ActionNotRestored || time.Since(began) > 5*time.Second {
		t.Errorf("%+v, %v after %v", all, err, time.Since(began))
	}
}
