package apply

import (
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/kube"
)

// unreachable is a network in which no connection is ever made.
type unreachable struct{ err error }

func (u unreachable) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: u.err}
}

// A cluster that has not answered yet is waited for as long as one that has: an
// outage may have begun before this run. Only what is certainly the wrong address
// is given up at once.
func TestFirstContact(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err            error
		least, longest time.Duration
	}{
		"nothing listens": {syscall.ECONNREFUSED, time.Minute, 2*time.Minute + 10*time.Second},
		"resets":          {syscall.ECONNRESET, time.Minute, 2*time.Minute + 10*time.Second},
		"no such host":    {&net.DNSError{Err: "no such host", IsNotFound: true}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, err := dynamic.NewForConfig(&rest.Config{Host: "https://192.0.2.1", Transport: unreachable{tc.err}, QPS: -1})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				_, err = NewPlan(t.Context(), set(configMap(t, "settings")), Options{Client: kube.NewClient(client, nil, kube.Options{})})
				var unavailable *kube.UnavailableError
				if !errors.As(err, &unavailable) {
					t.Fatalf("error %v", err)
				}
				if took := time.Since(began); took < tc.least || took > tc.longest {
					t.Errorf("gave up after %s and %d attempts", took, unavailable.Attempts)
				}
			})
		})
	}
}
