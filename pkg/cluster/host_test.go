package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// What the GKE API gives as a host is sent a token only if it can be Google's: a
// plain name under gke.goog, or an address for which the cluster's CA vouches.
func TestHostsThatGetNoToken(t *testing.T) {
	t.Parallel()
	const long = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for host, ok := range map[string]bool{
		"gke-0123456789abcdef-123456789012.europe-west6.gke.goog": true,
		"gke-0123-45.europe-west6-a.gke.goog":                     true,

		"": false, "gke.goog": false, ".gke.goog": false, "evil.example.net": false, "gke.goog.evil.example.net": false,
		"x.gke.goog@evil.example.net": false, "evil.example.net/.gke.goog": false, "evil.example.net#.gke.goog": false,
		"evil.example.net?.gke.goog": false, "evil.example.net:443/.gke.goog": false, "x.gke.goog:8443": false, "x.gke.goog.": false,
		"evilgke.goog": false, "x..gke.goog": false, "-x.gke.goog": false, "x-.gke.goog": false, "X.GKE.GOOG": false, "*.gke.goog": false,
		"x.gke.goog\n": false, " x.gke.goog": false, "x\x00.gke.goog": false, "ⅹ.gke.goog": false, "x.gke.goog\u200b": false, "x%2egke.goog": false,
		"http://x.gke.goog": false, "user@x.gke.goog": false, `evil.example.net\.gke.goog`: false, "[::1].gke.goog": false, "203.0.113.9": false,
		strings.Repeat("a.", 9) + "gke.goog": false, strings.Repeat(long+".", 4) + "gke.goog": false,
	} {
		if got := (way{KindDNS, host}).trusted(); got != ok {
			t.Errorf("%q as a DNS endpoint: %t", host, got)
		}
	}
	for host, ok := range map[string]bool{
		"203.0.113.9": true, "10.0.0.2": true, "2001:db8::1": true,
		"": false, "evil.example.net": false, "203.0.113.9@evil.example.net": false, "203.0.113.9:443": false, "203.0.113.9/x": false,
		"203.0.113.9.evil.example.net": false, "fe80::1%eth0": false, "[2001:db8::1]": false, "0x7f000001": false, "127.1": false,
	} {
		for _, kind := range []string{KindPublic, KindInternal} {
			if got := (way{kind, host}).trusted(); got != ok {
				t.Errorf("%q as an address: %t", host, got)
			}
		}
	}
}

// Find refuses such a cluster, whichever endpoint was asked for by name.
func TestFindRefusesForeignHosts(t *testing.T) {
	t.Parallel()
	for endpoint, config := range map[string]string{
		KindAuto:     `"dnsEndpointConfig":{"endpoint":"evil.example.net/.gke.goog","allowExternalTraffic":true}`,
		KindDNS:      `"dnsEndpointConfig":{"endpoint":"x.gke.goog@evil.example.net","allowExternalTraffic":true}`,
		KindPublic:   `"ipEndpointsConfig":{"enabled":true,"enablePublicEndpoint":true,"publicEndpoint":"evil.example.net"}`,
		KindInternal: `"ipEndpointsConfig":{"enabled":true,"privateEndpoint":"10.0.0.2@evil.example.net"}`,
	} {
		t.Run(endpoint, func(t *testing.T) {
			t.Parallel()
			a := newAPIs(t)
			a.handlers = map[string]http.HandlerFunc{hostContainer: answer(200, fmt.Sprintf(`{"name":"model","status":"RUNNING","controlPlaneEndpointsConfig":{%s}}`, config))}
			_, err := Find(t.Context(), a.options(endpoint))
			var refused *EndpointError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), "evil.example.net") {
				t.Errorf("%v, want an *EndpointError that names the host", err)
			} else {
				t.Log(err)
			}
		})
	}
}

func FuzzHost(f *testing.F) {
	for _, seed := range []string{"x.gke.goog", "x.gke.goog@evil.example.net", "evil.example.net/.gke.goog", "\n.gke.goog"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		if !(way{KindDNS, host}).trusted() {
			return
		}
		c := &Cluster{Kind: KindDNS, Host: "https://" + host}
		if c.authority() != host || !strings.HasSuffix(host, ".gke.goog") || strings.ContainsAny(host, "/@:#?%\\ ") {
			t.Errorf("%q gets the token of %q", c.authority(), host)
		}
	})
}
