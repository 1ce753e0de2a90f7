package rollout

import (
	"net/http"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/org/deploy-model-action/pkg/kube/kubetest"
	"github.com/org/deploy-model-action/pkg/object/objecttest"
)

// What the tests of the way back need until they are apply's, and goes with them.

type (
	scene   = kubetest.Scene
	replier = kubetest.Replier
)

func answer(code int, body string) scene          { return kubetest.Answer(code, body) }
func no(code int, reason string) scene            { return kubetest.No(code, reason) }
func hang(w http.ResponseWriter, r *http.Request) { kubetest.Hang(w, r) }

func hangUp(w http.ResponseWriter, r *http.Request) { kubetest.HangUp(w, r) }

func refuse(code int, reason, message string) (int, string) {
	return kubetest.Refuse(code, reason, message)
}

func fromYAML(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	return objecttest.FromYAML(t, text)
}

type journal struct{ *kubetest.Server }

func (j journal) requests() []string { return j.Requests() }

func serve(t *testing.T, h http.Handler) (RestoreOptions, journal) {
	t.Helper()
	s := kubetest.Serve(t, h)
	return RestoreOptions{Dynamic: s.Dynamic}, journal{s}
}

// targetOf is an object as an apply that changed it returned it.
func targetOf(o *unstructured.Unstructured) Target {
	kind := o.GroupVersionKind()
	return Target{
		Object: o, Resource: schema.GroupVersionResource{Group: kind.Group, Version: kind.Version, Resource: strings.ToLower(kind.Kind) + "s"},
		Namespaced: true, Changed: true,
	}
}
