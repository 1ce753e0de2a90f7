package serving

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	// reachTimeout bounds the look whether an address answers: what a load balancer
	// does not do by then is not waited for.
	reachTimeout = 3 * time.Second
	reachPause   = 500 * time.Millisecond
)

// Reach reports whether somebody answers at an address, and if not, why that is
// not known or what came instead. What is asked is its URL, without credentials;
// any answer counts that is not a proxy's word about what is behind it. The
// default of transport is http.DefaultTransport.
func Reach(ctx context.Context, transport http.RoundTripper, at Address) (answers bool, why string) {
	if transport == nil {
		transport = http.DefaultTransport
	}
	base, err := url.Parse(at.URL)
	switch {
	case at.URL == "" || err != nil:
		return false, "it has no address"
	case at.Internal:
		return false, "only the cluster's network reaches it"
	}
	bounded, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	q := question{method: http.MethodGet, path: &url.URL{Path: "/"}, limit: bodyLimit, within: reachTimeout, redirects: true}
	w := direct(*base, transport)
	for {
		a := w.ask(bounded, q)
		switch {
		case a.ofProxy():
			why = "the runner's proxy, or who is behind it, answered " + a.result()
		case a.Code == 0:
			if bounded.Err() == nil || why == "" { // else the time was out, which is not what it answers
				why = a.Err
			}
		case slices.Contains([]int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, a.Code):
			why = "it answered " + a.result()
		default:
			return true, ""
		}
		if retry.Sleep(bounded, reachPause) != nil {
			return false, why
		}
	}
}
