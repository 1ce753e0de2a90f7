package apply

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const managedJSON = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"classifier","uid":"u-classifier","resourceVersion":"7","managedFields":[
{"manager":"kubectl-client-side-apply","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:minReadySeconds":{}}}},
{"manager":"kube-controller-manager","operation":"Update","apiVersion":"apps/v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","subresource":"scale","fieldsV1":{"f:spec":{"f:replicas":{}}}}]},
"spec":{"replicas":4}}`

// A set whose objects kubectl made is taken over, while somebody else writes to
// the object between our read and our patch.
func TestMigration(t *testing.T) {
	t.Parallel()
	s := newServer(t, true)
	path := "/apis/apps/v1/namespaces/default/deployments/classifier"
	s.put(path, managedJSON)
	var logged []string
	var mu sync.Mutex
	s.kube.Log = func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		logged = append(logged, fmt.Sprintf(format, args...))
	}
	s.mistake = func(r request, served bool, w http.ResponseWriter) bool {
		if strings.HasPrefix(r.Type, "application/json-patch") && !served && r.Nth == 0 {
			s.put(path, strings.Replace(managedJSON, `"resourceVersion":"7"`, `"resourceVersion":"8"`, 1))
			s.mu.Lock()
			s.version = 8
			s.mu.Unlock()
		}
		return r.Dry && r.Force != "true" && respond(w, status(409, "Conflict", "Apply failed with 2 conflicts", []metav1.StatusCause{
			{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "kubectl-client-side-apply" using apps/v1`, Field: ".spec.template"},
			{Type: metav1.CauseTypeFieldManagerConflict, Message: `conflict with "kube-controller-manager" with subresource "scale" using apps/v1`, Field: ".spec.replicas"},
		}))
	}
	changes, err := s.apply(t.Context(), decode(t, deploymentJSON))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"deployment.apps/classifier configured"}, lines(changes)); diff != "" {
		t.Error(diff)
	}
	wantLog := []string{
		`Deployment default/classifier: fields that kubectl-client-side-apply set are now managed by deploy-model-action`,
		`Deployment default/classifier: spec.replicas is left to "kube-controller-manager", which scales it`,
	}
	if diff := cmp.Diff(wantLog, logged); diff != "" {
		t.Error(diff)
	}
	writes := s.seen(isWrite)
	if len(writes) != 3 || writes[0].Type != "application/json-patch+json" || writes[1].Type != writes[0].Type || strings.Contains(writes[2].Body, "replicas") || writes[2].Force != "false" {
		t.Errorf("writes %+v", writes)
	}
	if !strings.Contains(writes[0].Body, `"value":"7"`) || !strings.Contains(writes[1].Body, `"value":"8"`) {
		t.Errorf("versions of the patches: %s\n%s", writes[0].Body, writes[1].Body)
	}
}
