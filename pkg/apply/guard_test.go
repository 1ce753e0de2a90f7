package apply

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

const settingsPath = "/api/v1/namespaces/default/configmaps/settings"

// settings is a ConfigMap as a run left it.
func settings(version, value, run string) string {
	return fmt.Sprintf(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings","namespace":"default","uid":"u-settings","resourceVersion":%q,"annotations":{"deploy-model-action/run":%q},
"managedFields":[{"manager":"deploy-model-action","operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:a":{}},"f:metadata":{"f:annotations":{"f:deploy-model-action/run":{}}}}}]},"data":{"a":%q}}`, version, run, value)
}

// The object is read again before it is asked who holds the release: whoever
// claims it in between has not written yet, or is found. Nothing is written after
// a no, neither of this object nor of others.
func TestHeldIsAskedAfterTheObjectIsReadAgain(t *testing.T) {
	t.Parallel()
	for _, held := range []bool{true, false} {
		t.Run(strconv.FormatBool(held), func(t *testing.T) {
			t.Parallel()
			s := newServer(t, false)
			s.kube.Concurrency = 2
			s.put(settingsPath, settings("7", "old", "1-1"))
			s.options.Mark = object.Mark{Run: "2-1"}
			var mu sync.Mutex
			var order []string
			s.mistake = func(r request, served bool, _ http.ResponseWriter) bool {
				mu.Lock()
				defer mu.Unlock()
				if served || r.Path != settingsPath {
					return false
				}
				if isWrite(r) && r.Nth == 0 {
					s.put(settingsPath, settings("8", "theirs", "3-1"))
					s.mu.Lock()
					s.version = 8
					s.mu.Unlock()
				}
				order = append(order, strings.Fields(r.String())[0]+map[bool]string{true: " dry", false: ""}[r.Dry])
				return false
			}
			superseded := errors.New("superseded by run 3")
			s.options.Held = func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				order = append(order, "held?")
				if held {
					return nil
				}
				return superseded
			}
			wanted := decode(t, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"a":"new"}}`)
			changes, err := s.apply(t.Context(), wanted, decode(t, deploymentJSON))
			slices.Sort(order[:2]) // at the same time
			slices.Sort(order[3:5])
			want := []string{"GET", "PATCH dry", "PATCH", "GET", "PATCH dry", "held?"}
			if held {
				want = append(want, "PATCH")
			}
			if diff := cmp.Diff(want, order); diff != "" {
				t.Error(diff)
			}
			var stopped *kube.StoppedError
			if held != (err == nil) || held == errors.As(err, &stopped) || held == errors.Is(err, superseded) {
				t.Errorf("%v", err)
			}
			if n := s.count(func(r request) bool { return isWrite(r) && strings.Contains(r.Path, "deployments") }); (n == 1) != held {
				t.Errorf("%d writes of the rest", n)
			}
			if held && (len(changes) != 2 || changes[0].Before.GetResourceVersion() != "8" || changes[0].Before.Object["data"].(map[string]any)["a"] != "theirs") {
				t.Errorf("what was there before is not what it was written over: %v", changes)
			}
		})
	}
}

// Of an object that does not exist no version tells that another run has taken
// over: it is asked while the stage before is written, and what it says counts for
// as long as a write is under way.
func TestHeldIsAskedBesideTheStageBefore(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		slow  time.Duration // the stage before
		lost  int           // from which question on the run may not write any more; 0: it may
		off   bool          // HeldByStage is
		asked int
		wrote bool
	}{
		{name: "it may", asked: 1, wrote: true},
		{name: "it may not", lost: 1, asked: 1},
		{name: "a slow stage, and it may", slow: heldFor + 200*time.Millisecond, asked: 2, wrote: true},
		{name: "a slow stage, and it may not any more", slow: heldFor + 200*time.Millisecond, lost: 2, asked: 2},
		{name: "nobody deployed this release before", off: true, wrote: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, false)
			superseded := errors.New("superseded by run 3")
			var mu sync.Mutex
			asked, beside := 0, false
			begun, answered := make(chan struct{}), make(chan struct{})
			s.options.HeldByStage = !tt.off
			s.options.Held = func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				if asked++; asked == 1 {
					<-begun // else it was asked before the stage began
					close(answered)
				}
				if tt.lost > 0 && asked >= tt.lost {
					return superseded
				}
				return nil
			}
			s.mistake = func(r request, served bool, _ http.ResponseWriter) bool {
				if served || !isWrite(r) || !strings.HasSuffix(r.Path, "/first") {
					return false
				}
				close(begun)
				if !tt.off {
					select {
					case <-answered:
						beside = true
					case <-time.After(10 * time.Second): // it waits for this stage
					}
				}
				time.Sleep(tt.slow)
				return false
			}
			_, err := s.apply(t.Context(), configMap(t, "first"), decode(t, deploymentJSON))
			var stopped *kube.StoppedError
			if tt.wrote != (err == nil) || tt.wrote == errors.As(err, &stopped) || tt.wrote == errors.Is(err, superseded) {
				t.Errorf("%v", err)
			}
			if n := s.count(func(r request) bool { return isWrite(r) && strings.Contains(r.Path, "deployments") }); (n == 1) != tt.wrote {
				t.Errorf("%d writes of the next stage", n)
			}
			if asked != tt.asked || beside == tt.off {
				t.Errorf("asked %d times, beside the stage: %t", asked, beside)
			}
		})
	}
}

// Every write says what it was decided on.
func TestEveryWriteIsGuarded(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	s.put(settingsPath, settings("7", "old", ""))
	s.put("/apis/apps/v1/namespaces/default/deployments/classifier", strings.Replace(deploymentJSON, `"name":"classifier"`, `"name":"classifier","uid":"u-classifier","resourceVersion":"6","managedFields":[{"manager":"kubectl-client-side-apply","operation":"Update","apiVersion":"apps/v1","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:replicas":{}}}}]`, 1))
	if _, err := s.apply(t.Context(), decode(t, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"a":"new"}}`), configMap(t, "absent"), decode(t, deploymentJSON)); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, w := range s.seen(isWrite) {
		name := w.Path[strings.LastIndex(w.Path, "/")+1:]
		if strings.HasPrefix(w.Type, "application/json-patch") {
			for _, part := range []string{`"path":"/metadata/resourceVersion","value":"6"`, `"path":"/metadata/uid","value":"u-classifier"`} {
				if !strings.Contains(w.Body, part) {
					t.Errorf("%s: %s", name, w.Body)
				}
			}
			continue
		}
		u := decode(t, w.Body)
		got[name] = u.GetResourceVersion() + " of " + string(u.GetUID())
	}
	if strings.HasPrefix(got["classifier"], "6 ") || !strings.HasSuffix(got["classifier"], " of u-classifier") {
		t.Errorf("after its migration: %s", got["classifier"])
	}
	delete(got, "classifier")
	if diff := cmp.Diff(map[string]string{"settings": "7 of u-settings", "absent": "1 of "}, got); diff != "" {
		t.Error(diff)
	}
}

// An object that others keep writing is given up at some time, and not for ever.
func TestContended(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	s.put(settingsPath, settings("7", "old", ""))
	n := 7
	s.mistake = func(r request, served bool, _ http.ResponseWriter) bool {
		if isWrite(r) && !served {
			n++
			s.put(settingsPath, settings(strconv.Itoa(n), fmt.Sprint("theirs ", n), ""))
		}
		return false
	}
	_, err := s.apply(t.Context(), decode(t, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"a":"new"}}`))
	if err == nil || !strings.Contains(err.Error(), "ConfigMap default/settings: others keep changing it") || n > 50 {
		t.Errorf("%d writes: %v", n-7, err)
	}
}

// A write that was done, and of which the answers are lost until the budget ends,
// is counted by its mark; one of which nothing can be found out is named.
func TestAnswersLostUntilTheBudgetEnds(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		down   bool // nothing is answered any more, also not about the object
		reject bool // the write is not done either
		want   string
		err    bool
	}{
		{"done", false, false, "configmap/settings configured", false},
		{"done, and the server is down", true, false, "configmap/settings uncertain", true},
		{"not done, and the server is down", true, true, "configmap/settings uncertain", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, false)
			s.kube.Budget = 700 * time.Millisecond
			s.options.Mark = object.Mark{Run: "2-1"}
			s.put(settingsPath, settings("7", "old", "1-1"))
			s.mistake = func(r request, served bool, w http.ResponseWriter) bool {
				begun := s.count(isWrite) > 0
				switch {
				case isWrite(r) && served == !tc.reject, tc.down && begun && isGet(r):
					if hijacked, _, err := w.(http.Hijacker).Hijack(); err == nil {
						_ = hijacked.Close()
					}
					return true
				}
				return false
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			changes, err := s.apply(ctx, decode(t, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"a":"new"}}`))
			if got := strings.Join(lines(changes), ", "); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
			if (err != nil) != tc.err || tc.err && !errors.Is(err, kube.ErrUncertain) {
				t.Error(err)
			}
			if len(changes) > 0 && (changes[0].Before.GetResourceVersion() != "7" || !changes[0].Changed()) {
				t.Errorf("%+v", changes[0])
			}
		})
	}
}

// What a way back needs is known before the first write, also of what can be
// checked only later.
func TestUndoIsKnownBefore(t *testing.T) {
	t.Parallel()
	s := newServer(t, false)
	s.put(settingsPath, settings("7", "old", ""))
	s.put("/api/v1/namespaces/default/configmaps/same", strings.ReplaceAll(settings("6", "new", ""), "settings", "same"))
	s.put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/models.example.com", strings.Replace(crdJSON, `"metadata":{`, `"metadata":{"uid":"u-models.example.com","resourceVersion":"3",`, 1))
	s.put("/apis/example.com/v1/namespaces/default/models/m", strings.Replace(customJSON, `"metadata":{`, `"metadata":{"uid":"u-m","resourceVersion":"4",`, 1))
	configMapOf := func(name string) *unstructured.Unstructured {
		return decode(t, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"`+name+`","annotations":{"deploy-model-action/run":""}},"data":{"a":"new"}}`)
	}
	plan, err := NewPlan(t.Context(), set(
		configMapOf("settings"), configMapOf("same"), configMap(t, "absent"), decode(t, namespaceJSON),
		decode(t, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"in","namespace":"models"}}`),
		decode(t, strings.Replace(crdJSON, `"served":true`, `"served":true,"storage":true`, 1)), decode(t, customJSON),
	), s.with())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, u := range plan.Undo() {
		got[u.ID().String()] = ""
		if u.Before != nil {
			got[u.ID().String()] = u.Before.GetResourceVersion()
		}
	}
	want := map[string]string{
		"ConfigMap default/settings": "7", "ConfigMap default/absent": "", "Namespace models": "", "ConfigMap models/in": "",
		"CustomResourceDefinition models.example.com": "3", "Model default/m": "4", "ConfigMap default/same": "6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := s.count(isWrite); n != 0 {
		t.Errorf("%d writes", n)
	}

	// A namespace can be written before all else, and is written once.
	for range 2 {
		if err := plan.Ahead(t.Context(), func(id object.ID) bool { return id == object.ID{Kind: "Namespace", Name: "models"} }); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.count(isWrite); n != 1 {
		t.Errorf("%d writes", n)
	}
	// What is to come into it can be checked then; what waits for a definition cannot.
	in, custom := object.ID{Kind: "ConfigMap", Namespace: "models", Name: "in"}, object.ID{Group: "example.com", Kind: "Model", Namespace: "default", Name: "m"}
	if plan.Pending(in) || plan.Pending(custom) {
		t.Error("pending before it was checked")
	}
	if err := plan.Arrive(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !plan.Pending(in) || plan.Pending(custom) {
		t.Errorf("pending after its namespace came: %t, after nothing came for it: %t", plan.Pending(in), plan.Pending(custom))
	}
	if err := plan.Refresh(t.Context(), false); err != nil {
		t.Fatal(err)
	}
}
