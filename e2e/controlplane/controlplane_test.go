package controlplane_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/org/deploy-model-action/e2e/controlplane"
)

func TestStart(t *testing.T) {
	t.Parallel()
	binary, err := controlplane.Build(t.Context(), "controlplane", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	reviews := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(reviews.Close)
	start := time.Now()
	c, err := controlplane.Start(t.Context(), binary, controlplane.Options{
		Dir: t.TempDir(), TokenReviewURL: reviews.URL,
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, net.ErrClosed },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	t.Logf("ready after %s", time.Since(start).Round(time.Millisecond))
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
}
