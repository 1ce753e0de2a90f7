package proxy_test

import (
	"errors"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/org/deploy-model-action/e2e/proxy"
)

// TestHook holds a request back before and after the host has done it, and
// breaks the connection at either place.
func TestHook(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{true, false} {
		w := newWorld(t)
		client, other := w.client("hooked", http2), w.client("other", http2)
		var before, after atomic.Int64
		w.SetHook("hooked", proxy.Hook{
			Before: func(r proxy.Request) bool {
				before.Add(1)
				if r.Host != host || r.Method != http.MethodGet || r.Path == "" || r.Gone == nil {
					t.Errorf("before: %+v", r)
				}
				return r.Path != "/never"
			},
			After: func(r proxy.Request) bool {
				after.Add(1)
				if w.asked.Load() == 0 {
					t.Error("after: the host was not asked yet")
				}
				return r.Path != "/lost"
			},
		})
		if status, body, err := get(client, "https://"+host+"/passes"); err != nil || status != 200 || body == "" {
			t.Errorf("passes: %d %q %v", status, body, err)
		}
		w.asked.Store(0)
		var broken *url.Error
		if _, _, err := get(client, "https://"+host+"/never"); !errors.As(err, &broken) || w.asked.Load() != 0 {
			t.Errorf("never: %v, the host was asked %d times", err, w.asked.Load())
		}
		if _, _, err := get(client, "https://"+host+"/lost"); !errors.As(err, &broken) || w.asked.Load() == 0 {
			t.Errorf("lost: %v, the host was asked %d times", err, w.asked.Load())
		}
		asked := before.Load()
		if _, _, err := get(other, "https://"+host+"/never"); err != nil || before.Load() != asked {
			t.Errorf("another client: %v, hook asked %d times", err, before.Load()-asked)
		}
		w.SetHook("hooked", proxy.Hook{})
		if _, _, err := get(client, "https://"+host+"/never"); err != nil || before.Load() != asked {
			t.Errorf("after the hook: %v", err)
		}
		if before.Load() < 3 || after.Load() < 2 {
			t.Errorf("before %d times, after %d times", before.Load(), after.Load())
		}
	}
}
