package apply

import (
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

// nobody is an address at which nothing listens.
type nobody struct{}

func (nobody) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
}

// A cluster that never answers is not waited for as long as one that is out of order.
func TestFirstContact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, err := dynamic.NewForConfig(&rest.Config{Host: "https://192.0.2.1", Transport: nobody{}, QPS: -1})
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "settings"},
		}}
		began := time.Now()
		_, err = Objects(t.Context(), []*unstructured.Unstructured{object}, Options{Dynamic: client})
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) {
			t.Fatalf("error %v", err)
		}
		if took := time.Since(began); took < 15*time.Second || took > 31*time.Second || unavailable.Attempts < 4 {
			t.Errorf("gave up after %s and %d attempts", took, unavailable.Attempts)
		}
	})
}
