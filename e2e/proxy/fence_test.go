package proxy_test

import (
	"net/http"
	"testing"
)

// TestFence keeps clients outside from a host, which answers those inside.
func TestFence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Fence(host, func(client string) bool { return client == "inside" })
	if status, _, err := get(w.client("inside", true), "https://"+host+"/"); err != nil || status != http.StatusOK {
		t.Errorf("from inside: status %d, %v", status, err)
	}
	if status, body, err := get(w.client("outside", true), "https://"+host+"/"); err == nil {
		t.Errorf("from outside: status %d, %q, want no tunnel", status, body)
	}
	if n := w.asked.Load(); n != 1 {
		t.Errorf("the host was asked %d times, want once", n)
	}
	last := w.entries()[1]
	if last.Client != "outside" || last.Method != http.MethodConnect || last.Status != http.StatusGatewayTimeout {
		t.Errorf("recorded %+v", last)
	}
}
