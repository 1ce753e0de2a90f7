package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/pkg/kube"
)

// answer makes the server refuse requests of one kind.
func (s *apiServer) answer(request string, code int, reason, message string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = func(r string, served bool, w http.ResponseWriter) bool {
		if served || !strings.HasPrefix(r, request) {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(failure(code, reason, message, "", ""))
		return true
	}
}

// TestRefused shows each refusal as a user sees it.
func TestRefused(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-canary"
	forbidden := func(verb, resource string) string {
		return fmt.Sprintf(`%s "deploy-model-action.model" is forbidden: User "ci@acme.iam.gserviceaccount.com" cannot %s resource "%s" in API group "" in the namespace "models": requires one of ["container.%s.%s"] permission(s).`, resource, verb, resource, resource, verb)
	}
	var all strings.Builder
	for _, tt := range []struct {
		name, request string
		code          int
		reason        string
		message       string
	}{
		{"may not read", "GET configmaps", 403, "Forbidden", forbidden("get", "configmaps")},
		{"may not create the record", "POST configmaps", 403, "Forbidden", forbidden("create", "configmaps")},
		{"may not update the record", "PUT configmaps", 403, "Forbidden", forbidden("update", "configmaps")},
		{"may not create the log", "POST secrets", 403, "Forbidden", forbidden("create", "secrets")},
		{"quota", "POST configmaps", 403, "Forbidden", `configmaps "deploy-model-action.model" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=3, limited: count/configmaps=3`},
		{"a policy about Secrets", "POST secrets", 422, "Invalid", "admission webhook denied the request: data " + secret + " is not encrypted"},
		{"token ended", "GET configmaps", 401, "Unauthorized", "Unauthorized"},
	} {
		s := newServer(t)
		if strings.HasPrefix(tt.request, "PUT") {
			r := open(t, s.client(t, nil))
			claim(t, r, run(1))
			finish(t, r, Deployed)
		}
		s.answer(tt.request, tt.code, tt.reason, tt.message)
		ctx := t.Context()
		r, err := Open(ctx, s.client(t, nil), space, "model")
		if err == nil {
			_, err = r.Claim(ctx, ClaimOptions{Run: run(2), Undo: []kube.Change{change("a", secret)}})
		}
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		_, denied := errors.AsType[*ForbiddenError](err)
		if denied != strings.Contains(tt.message, "cannot") {
			t.Errorf("%s: %T", tt.name, err)
		}
		fmt.Fprintf(&all, "%s:\n  %v\n", tt.name, err)
		s.answer("nothing", 0, "", "")
		if r != nil {
			// What was refused blocks nobody, and nothing is left of it.
			if err := r.Finish(ctx, FinishOptions{Outcome: "failed"}); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
		}
		if left := s.names("secrets"); left != nil {
			t.Errorf("%s: logs are left: %s", tt.name, left)
		}
	}
	golden(t, "refused.golden", all.String())
}

// TestNamespace: a claim in a namespace that is not there says so, and is made
// again when it is.
func TestNamespace(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.spaces = nil
	r := open(t, s.client(t, nil))
	o := ClaimOptions{Run: run(1), Undo: []kube.Change{change("a", "")}}
	_, err := r.Claim(t.Context(), o)
	missing, ok := errors.AsType[*NamespaceError](err)
	if !ok || missing.Namespace != space || missing.Error() != `release record: namespace "models" does not exist: create it, or add it to the manifests` {
		t.Fatalf("%v", err)
	}
	s.mu.Lock()
	s.spaces = []string{space}
	s.mu.Unlock()
	if c, err := r.Claim(t.Context(), o); err != nil || c.Takeover || len(s.names("secrets")) != 1 {
		t.Errorf("%+v, %v, %s", c, err, s.names("secrets"))
	}
	finish(t, r, Deployed)
}

// TestLostLog: a log that nobody can read is named, and blocks nobody.
func TestLostLog(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	claim(t, open(t, s.client(t, nil)), run(1), change("a", "canary"))
	s.mu.Lock()
	s.objects["/api/v1/namespaces/models/secrets/deploy-model-action.model.1"]["data"] = map[string]any{logKey: "Y2FuYXJ5"}
	s.mu.Unlock()
	r := open(t, s.client(t, nil))
	c := claim(t, r, run(2))
	if fmt.Sprint(c.Lost) != "[deploy-model-action.model.1]" || c.Inherited != nil {
		t.Errorf("%+v", c)
	}
	finish(t, r, Deployed)
	if left := s.names("secrets"); left != nil {
		t.Errorf("logs are left: %s", left)
	}
}

// TestUndeletable: a log that cannot be deleted is not inherited by the next run,
// which deletes it.
func TestUndeletable(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.answer("DELETE", 403, "Forbidden", `secrets "x" is forbidden: User "u" cannot delete resource "secrets" in API group "" in the namespace "models"`)
	r := open(t, s.client(t, nil))
	claim(t, r, run(1), change("a", "1"))
	finish(t, r, Deployed)
	if left := s.names("secrets"); len(left) != 1 {
		t.Fatalf("logs: %s", left)
	}
	s.answer("nothing", 0, "", "")
	r = open(t, s.client(t, nil))
	if c := claim(t, r, run(2), change("a", "2")); c.Takeover || c.Inherited != nil {
		t.Errorf("it inherits what is obsolete: %+v", c)
	}
	if got := s.names("secrets"); len(got) != 2 {
		t.Errorf("logs: %s", got)
	}
	finish(t, r, Deployed)
	if left := s.names("secrets"); left != nil {
		t.Errorf("logs are left: %s", left)
	}
}

// TestOvertakenBeforeItsLog: a process whose claim was overtaken before its log
// was there can never write it, and learns who has the release.
func TestOvertakenBeforeItsLog(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	claim(t, open(t, s.client(t, nil)), run(1), change("a", "1"))
	slow := open(t, s.client(t, nil))
	claim(t, slow, run(2)) // takes over, and has its log to write
	fast := open(t, s.client(t, nil))
	if c := claim(t, fast, run(3)); show(c.Inherited) != "a=1" {
		t.Errorf("inherited %s", show(c.Inherited))
	}
	_, err := slow.KeepLog(t.Context(), []kube.Change{change("b", "2")})
	if by, ok := errors.AsType[*SupersededError](err); !ok || by.By.ID != 3 {
		t.Errorf("%v", err)
	}
	if _, ok := errors.AsType[*SupersededError](slow.Finish(t.Context(), FinishOptions{Outcome: Superseded})); !ok {
		t.Error("not superseded")
	}
	finish(t, fast, Deployed)
	if left := s.names("secrets"); left != nil {
		t.Errorf("logs are left: %s", left)
	}
}

// TestKeepLogAnew: what is decided again before it is written replaces what was
// logged of it, and a log can be begun after a claim without one.
func TestKeepLogAnew(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := open(t, s.client(t, nil))
	claim(t, r, run(1), change("a", "1"), change("b", "1"))
	if _, err := r.KeepLog(t.Context(), []kube.Change{change("a", "edited")}); err != nil {
		t.Fatal(err)
	}
	next := open(t, s.client(t, nil))
	if c := claim(t, next, run(2)); show(c.Inherited) != "a=edited b=1" {
		t.Errorf("inherited %s", show(c.Inherited))
	}
	finish(t, next, Deployed)
	r = open(t, s.client(t, nil))
	claim(t, r, run(3))
	if _, err := r.KeepLog(t.Context(), []kube.Change{change("c", "1")}); err != nil {
		t.Fatal(err)
	}
	next = open(t, s.client(t, nil))
	if c := claim(t, next, run(4)); show(c.Inherited) != "c=1" {
		t.Errorf("inherited %s", show(c.Inherited))
	}
	finish(t, next, Deployed)
	if left := s.names("secrets"); left != nil {
		t.Errorf("logs are left: %s", left)
	}
}
