package apply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

// script is a server that answers as a test says, without a network.
type script struct {
	mu     sync.Mutex
	asked  []string
	bodies []string
	answer func(r *http.Request, step string) (int, string) // 0: the answer is lost
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	step := r.Method
	if r.URL.Query().Get("dryRun") != "" {
		step += " dry"
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	s.mu.Lock()
	s.asked, s.bodies = append(s.asked, step+" "+r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]), append(s.bodies, string(body))
	code, text := s.answer(r, step)
	s.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if code == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{
		StatusCode: code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader([]byte(text))),
	}, nil
}

// options are those of run 2-1 with that server.
func (s *script) options(t *testing.T) Options {
	t.Helper()
	client, err := dynamic.NewForConfig(&rest.Config{Host: "http://api.example", Transport: s, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return Options{Client: kube.NewClient(client, nil, kube.Options{}), Mark: object.Mark{Run: "2-1"}}
}

func refused(code int32, reason, message string) (int, string) {
	body, _ := json.Marshal(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message, "details": map[string]any{"name": "x"}})
	return int(code), string(body)
}

const (
	oldModel = `{"image":"v1","leftover":1}`
	newModel = `{"image":"v2","leftover":1}`
)

// model is an object in one of its states; entries are further ones of managedFields.
func model(name, spec, run, version string, entries ...string) string {
	own := `{"manager":"deploy-model-action","operation":"Apply","apiVersion":"example.com/v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{"f:deploy-model-action/run":{}}},"f:spec":{"f:image":{}}}}`
	return fmt.Sprintf(`{"apiVersion":"example.com/v1","kind":"Model","metadata":{"name":%q,"namespace":"default","uid":"uid-%s","resourceVersion":%q,"annotations":{"deploy-model-action/run":%q},"managedFields":[%s]},"spec":%s}`,
		name, name, version, run, strings.Join(append([]string{own}, entries...), ","), spec)
}

var modelResource = kube.Resource{GroupVersionResource: schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "models"}, Namespaced: true}

func modelUndo(t *testing.T, name string) Undo {
	t.Helper()
	return Undo{
		Ref:    kube.Ref{Resource: modelResource, Kind: "Model", Namespace: "default", Name: name},
		Before: decode(t, model(name, oldModel, "1-1", "3")), After: decode(t, model(name, newModel, "2-1", "5")),
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	type reply struct {
		code int
		body string
	}
	ok := func(body string) reply { return reply{200, body} }
	no := func(code int32, reason, message string) reply {
		c, b := refused(code, reason, message)
		return reply{c, b}
	}
	now, back, done := ok(model("m", newModel, "2-1", "5")), ok(model("m", oldModel, "1-1", "5")), ok(model("m", oldModel, "1-1", "6"))
	moved := ok(model("m", newModel, "2-1", "6"))
	aliased := ok(model("m", `{"image":"v1","leftover":1,"alias":2}`, "1-1", "5"))
	const hpa = `{"manager":"hpa","operation":"Update","subresource":"scale","apiVersion":"example.com/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:leftover":{}}}}`
	fieldConflict := reply{409, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":409,"reason":"Conflict","message":"Apply failed with 1 conflict","details":{"causes":[{"reason":"FieldManagerConflict","message":"conflict with \"other\" using v1","field":".spec.image"}]}}`}
	superseded := errors.New("superseded by run 3")
	for _, tc := range []struct {
		name    string
		replies []reply
		held    error
		asked   string
		outcome Outcome
		message string
	}{
		{name: "restored", replies: []reply{now, back, done}, asked: "GET, PATCH dry, PATCH", outcome: OutcomeRestored},
		{name: "its status is written in between", replies: []reply{now, back, no(409, "Conflict", "modified"), moved, ok(model("m", oldModel, "1-1", "6")), done}, asked: "GET, PATCH dry, PATCH, GET, PATCH dry, PATCH", outcome: OutcomeRestored},
		{name: "a newer run writes in between", replies: []reply{now, back, no(409, "Conflict", "modified"), ok(model("m", `{"image":"v3"}`, "3-1", "6"))}, held: superseded, asked: "GET, PATCH dry, PATCH, GET", outcome: OutcomeLeft, message: "a newer run has deployed it since; left as it is"},
		{name: "a newer run claims the release, and a status is written", replies: []reply{now, back, no(409, "Conflict", "modified"), moved, ok(model("m", oldModel, "1-1", "6"))}, held: superseded, asked: "GET, PATCH dry, PATCH, GET, PATCH dry", outcome: OutcomeFailed, message: "superseded by run 3"},
		{name: "the server stumbles", replies: []reply{no(500, "InternalError", "no"), no(503, "ServiceUnavailable", "down"), now, no(500, "InternalError", "etcdserver: leader changed"), back, done}, asked: "GET, GET, GET, PATCH dry, PATCH dry, PATCH", outcome: OutcomeRestored},
		{name: "the answer is lost after the write", replies: []reply{now, back, {}, no(409, "Conflict", "modified"), done}, asked: "GET, PATCH dry, PATCH, PATCH, GET", outcome: OutcomeRestored},
		{name: "the answer is lost before the write", replies: []reply{now, back, {}, done}, asked: "GET, PATCH dry, PATCH, PATCH", outcome: OutcomeRestored},
		{name: "a field is taken at that moment", replies: []reply{now, fieldConflict}, asked: "GET, PATCH dry", outcome: OutcomeFailed, message: "the cluster refused it (Conflict): Apply failed with 1 conflict; compare it with the earlier manifest and apply that by hand"},
		{name: "no right", replies: []reply{now, no(403, "Forbidden", "you may not")}, asked: "GET, PATCH dry", outcome: OutcomeFailed, message: "the cluster refused it (Forbidden): you may not; compare it with the earlier manifest and apply that by hand"},
		{name: "deleted since", replies: []reply{no(404, "NotFound", "gone")}, asked: "GET", outcome: OutcomeLeft, message: "somebody deleted it since; apply its earlier manifest by hand"},
		{name: "created anew since", replies: []reply{ok(strings.ReplaceAll(model("m", newModel, "2-1", "5"), "uid-m", "other"))}, asked: "GET", outcome: OutcomeLeft, message: "somebody deleted it and created it anew since; left as it is"},
		{name: "changed by hand since", replies: []reply{ok(model("m", `{"image":"v2","leftover":7}`, "2-1", "6"))}, asked: "GET", outcome: OutcomeLeft, message: "somebody changed it since (spec.leftover); left as it is"},
		{name: "it never came", replies: []reply{ok(model("m", oldModel, "1-1", "3"))}, asked: "GET", outcome: OutcomeUntouched},
		{name: "it never came, and its status moved", replies: []reply{ok(model("m", oldModel, "1-1", "4"))}, asked: "GET", outcome: OutcomeUntouched},
		{name: "what an apply cannot say is replaced", replies: []reply{now, aliased, ok(strings.Replace(model("m", oldModel, "1-1", "6", `{"manager":"deploy-model-action","operation":"Update","apiVersion":"example.com/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:leftover":{}}}}`), `"f:image":{}`, `"f:other":{}`, 1)), done}, asked: "GET, PATCH dry, PUT, PATCH", outcome: OutcomeRestored},
		{name: "without the right to update, the difference is said", replies: []reply{now, aliased, no(403, "Forbidden", "no"), aliased}, asked: "GET, PATCH dry, PUT, PATCH", outcome: OutcomeFailed, message: "still different from before: spec.alias; compare it with the earlier manifest and apply that by hand"},
		{name: "what an autoscaler holds is left to it", replies: []reply{now, ok(model("m", `{"image":"v1","leftover":7}`, "1-1", "5", hpa)), ok(model("m", `{"image":"v1","leftover":7}`, "1-1", "6", hpa))}, asked: "GET, PATCH dry, PATCH", outcome: OutcomeRestored, message: `left to others: spec.leftover (held by "hpa")`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				replies := tc.replies
				s := &script{answer: func(_ *http.Request, step string) (int, string) {
					if len(replies) == 0 {
						t.Errorf("%s was not expected", step)
						return refused(400, "BadRequest", "not expected")
					}
					reply := replies[0]
					replies = replies[1:]
					return reply.code, reply.body
				}}
				o := s.options(t)
				o.Held = func(context.Context) error { return tc.held }
				all, err := Restore(t.Context(), []Undo{modelUndo(t, "m")}, o)
				if len(all) != 1 || all[0].Outcome != tc.outcome || all[0].Message != tc.message {
					t.Fatalf("%v, %v", all, err)
				}
				if want := tc.outcome == OutcomeFailed || tc.outcome == OutcomeLeft; (err != nil) != want || (all[0].Err != nil) != want {
					t.Errorf("error %v", err)
				}
				if got := strings.ReplaceAll(strings.Join(s.asked, ", "), " m", ""); got != tc.asked {
					t.Errorf("asked %s, want %s", got, tc.asked)
				}
				if c := all[0].Change; (tc.outcome == OutcomeRestored || strings.HasPrefix(tc.message, "still different")) != (c.Before != nil && c.After != nil && c.ID() == all[0].ID()) {
					t.Errorf("change %+v", c)
				}
				for i, step := range s.asked {
					if strings.HasPrefix(step, "PATCH m") && !strings.Contains(s.bodies[i], "managedFields") {
						if body := decode(t, s.bodies[i]); body.GetUID() != "uid-m" || body.GetResourceVersion() == "" || body.GetAnnotations()[object.RunAnnotation] != "1-1" {
							t.Errorf("%s is not guarded, or not marked as before: %s", step, s.bodies[i])
						}
					}
				}
			})
		})
	}
}

// What pods read goes back before the pods, whatever the order of the changes;
// what cannot be restored does not keep the rest from it.
func TestRestoreOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		thing := func(version, kind, value, run, rv string) string {
			return fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":%q,"namespace":"default","uid":"u","resourceVersion":%q,"annotations":{"deploy-model-action/run":%q},"managedFields":[{"manager":"deploy-model-action","operation":"Apply","apiVersion":%q,"fieldsType":"FieldsV1","fieldsV1":{"f:data":{},"f:metadata":{"f:annotations":{"f:deploy-model-action/run":{}}}}}]},"data":{"a":%q}}`, version, kind, strings.ToLower(kind), rv, run, version, value)
		}
		var undo []Undo
		states := map[string][2]string{}
		for _, kind := range []string{"apps/v1 Deployment", "v1 Secret", "v1 ConfigMap", "apps/v1 StatefulSet"} {
			version, kind, _ := strings.Cut(kind, " ")
			before, after := thing(version, kind, "old", "1-1", "3"), thing(version, kind, "new", "2-1", "5")
			states[strings.ToLower(kind)] = [2]string{before, after}
			u := decode(t, after)
			resource, err := kube.NewClient(nil, nil, kube.Options{}).Resource(t.Context(), u.GroupVersionKind())
			if err != nil {
				t.Fatal(err)
			}
			undo = append(undo, Undo{Ref: kube.RefOf(u, resource), Before: decode(t, before), After: u})
		}
		undo = append(undo, Undo{Ref: kube.Ref{Resource: modelResource, Kind: "Model", Namespace: "default", Name: "made"}, After: decode(t, model("made", newModel, "2-1", "5"))})
		s := &script{answer: func(r *http.Request, step string) (int, string) {
			name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
			switch {
			case name == "secret" && step == "PATCH dry":
				return refused(422, "Invalid", `Secret "s" is invalid: data[a]: Invalid value: "hunter2": no`)
			case step == "GET":
				return 200, states[name][1]
			}
			return 200, strings.Replace(states[name][0], `"resourceVersion":"3"`, `"resourceVersion":"6"`, 1)
		}}
		all, err := Restore(t.Context(), undo, s.options(t))
		var said []string
		for _, r := range all {
			said = append(said, r.String())
		}
		if diff := cmp.Diff([]string{
			"deployment.apps/deployment restored",
			"secret/secret not restored: the cluster refused it (Invalid); compare it with the earlier manifest and apply that by hand",
			"configmap/configmap restored",
			"statefulset.apps/statefulset restored",
			"model.example.com/made left: this deploy created it, so there is nothing to go back to; left for inspection",
		}, said); diff != "" {
			t.Error(diff)
		}
		if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v", err)
		}
		pods := -1
		for i, step := range s.asked {
			if strings.Contains(step, "deployment") || strings.Contains(step, "statefulset") {
				pods = i
				break
			}
		}
		for i, step := range s.asked {
			if inputs := strings.Contains(step, "secret") || strings.Contains(step, "configmap"); inputs != (i < pods) {
				t.Errorf("order: %v", s.asked)
				break
			}
		}
	})
}

// After a no nothing more is restored, and it is said once.
func TestRestoreStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{answer: func(r *http.Request, step string) (int, string) {
			name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
			switch step {
			case "GET":
				return 200, model(name, newModel, "2-1", "5")
			case "PATCH dry":
				return 200, model(name, oldModel, "1-1", "5")
			}
			return refused(409, "Conflict", "the object has been modified")
		}}
		o := s.options(t)
		o.Client = kube.NewClient(mustDynamic(t, s), nil, kube.Options{Concurrency: 1})
		o.Held = func(context.Context) error { return errors.New("superseded by run 3") }
		all, err := Restore(t.Context(), []Undo{modelUndo(t, "a"), modelUndo(t, "b"), modelUndo(t, "c")}, o)
		var stopped *kube.StoppedError
		if !errors.As(err, &stopped) || strings.Count(err.Error(), "superseded") != 1 {
			t.Errorf("%v", err)
		}
		for _, r := range all {
			if r.Outcome != OutcomeFailed || r.Err == nil {
				t.Errorf("%s", r)
			}
		}
		if got := strings.Join(s.asked, ", "); got != "GET a, PATCH dry a, PATCH a, GET a, PATCH dry a" {
			t.Errorf("asked %s", got)
		}
	})
}

func mustDynamic(t *testing.T, s *script) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(&rest.Config{Host: "http://api.example", Transport: s, QPS: -1})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// A cancel ends a way back soon, and what it says is what the cluster holds.
func TestRestoreIsCancelled(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		landed  bool // the write in flight at the cancel is done
		outcome Outcome
		message string
	}{
		{"the write in flight is done", true, OutcomeRestored, ""},
		{"the write in flight is not done", false, OutcomeFailed, "it was being restored, and the answer never came; compare it with the earlier manifest and apply that by hand"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				written := false
				s := &script{}
				s.answer = func(r *http.Request, step string) (int, string) {
					name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
					switch {
					case step == "GET" && written && tc.landed:
						return 200, model(name, oldModel, "1-1", "6")
					case step == "GET":
						return 200, model(name, newModel, "2-1", "5")
					case step == "PATCH dry":
						return 200, model(name, oldModel, "1-1", "5")
					}
					written = true
					cancel()
					s.mu.Unlock()
					<-r.Context().Done() // its last words are not heard
					s.mu.Lock()
					return 0, ""
				}
				o := s.options(t)
				o.Client = kube.NewClient(mustDynamic(t, s), nil, kube.Options{Concurrency: 1})
				began := time.Now()
				all, err := Restore(ctx, []Undo{modelUndo(t, "a"), modelUndo(t, "b")}, o)
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("took %s", took)
				}
				if all[0].Outcome != tc.outcome || all[0].Message != tc.message {
					t.Errorf("%s", all[0])
				}
				if all[1].Outcome != OutcomeFailed || !strings.HasPrefix(all[1].Message, "the run was cancelled before it was done") || err == nil {
					t.Errorf("%s, %v", all[1], err)
				}
			})
		})
	}
}

// A server that is down ends the way back within the budget.
func TestRestoreGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{answer: func(*http.Request, string) (int, string) { return refused(503, "ServiceUnavailable", "down") }}
		began := time.Now()
		all, err := Restore(t.Context(), []Undo{modelUndo(t, "a"), modelUndo(t, "b")}, s.options(t))
		var down *kube.UnavailableError
		if took := time.Since(began); took < time.Minute || took > 3*time.Minute || !errors.As(err, &down) {
			t.Errorf("after %s: %v", took, err)
		}
		for _, r := range all {
			if r.Outcome != OutcomeFailed || !strings.Contains(r.Message, "does not work") {
				t.Errorf("%s", r)
			}
		}
	})
}
