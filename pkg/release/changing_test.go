package release

import (
	"net/http"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/pkg/kube"
)

// TestAlwaysChanged holds that whoever cannot write its log says how often it tried,
// and has tried that often.
func TestAlwaysChanged(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	r := open(t, s.client(t, nil))
	if _, err := r.Claim(t.Context(), ClaimOptions{Run: run(1)}); err != nil {
		t.Fatal(err)
	}
	tries := 0
	s.fault = func(request string, served bool, _ http.ResponseWriter) bool {
		kind, name, _ := strings.Cut(request, " ")
		switch {
		case !strings.HasPrefix(name, "secrets/") || kind == http.MethodDelete:
		case kind == http.MethodPut && served:
			tries++
		case kind == http.MethodGet && !served: // so that it is there, and another one at each look
			s.mu.Lock()
			defer s.mu.Unlock()
			s.store("/api/v1/namespaces/"+space+"/"+name, map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": strings.TrimPrefix(name, "secrets/"), "namespace": space}})
		case kind == http.MethodPut:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.store("/api/v1/namespaces/"+space+"/"+name, map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": strings.TrimPrefix(name, "secrets/"), "namespace": space}})
		}
		return false
	}
	_, err := r.KeepLog(t.Context(), []kube.Change{change("a", "1")})
	if err == nil || !strings.Contains(err.Error(), "somebody else changed it in each of 10 tries; find out what writes it beside the deploys, and deploy again") || tries != maxLogConflicts {
		t.Errorf("%d tries: %v", tries, err)
	}
}
