package credentials

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// said answers at one host as Google does, and grants at the others.
func said(g *services, host string, status int, body string) {
	plain := &services{}
	g.answer = func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
		if r.Host != host {
			plain.serve(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func iamError(code int, status, message, details string) string {
	return fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q,"details":[%s]}}`, code, message, status, details)
}

// TestRefused shows each refusal as a user sees it.
func TestRefused(t *testing.T) {
	t.Parallel()
	key := func(o *Options) { o.JSON = keyFile() }
	provider := func(o *Options) { o.WorkloadIdentityProvider = testProvider }
	impersonated := func(o *Options) { o.WorkloadIdentityProvider, o.ServiceAccount = testProvider, testTarget }
	keyImpersonated := func(o *Options) {
		o.JSON, o.ServiceAccount, o.Delegates = keyFile(), testTarget, []string{"between@my-project.iam.gserviceaccount.com"}
	}
	const denied = `Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).`
	deniedInfo := `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"IAM_PERMISSION_DENIED","domain":"iam.googleapis.com","metadata":{"permission":"iam.serviceAccounts.getAccessToken"}}`
	disabled := `IAM Service Account Credentials API has not been used in project 123456789012 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project=123456789012 then retry.`
	disabledInfo := `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED","domain":"googleapis.com","metadata":{"consumer":"projects/123456789012","service":"iamcredentials.googleapis.com"}}`
	cases := []struct {
		name   string
		change func(*Options)
		host   string
		status int
		body   string
	}{
		{"key deleted", key, hostOAuth, 400, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`},
		{"account deleted", key, hostOAuth, 400, `{"error":"invalid_grant","error_description":"Invalid grant: account not found"}`},
		{"account disabled", key, hostOAuth, 401, `{"error":"disabled_client","error_description":"The OAuth client was disabled."}`},
		{"clock", key, hostOAuth, 400, `{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."}`},
		{"key refused otherwise", key, hostOAuth, 400, `{"error":"invalid_grant","error_description":"Something\nnew::error::"}`},
		{"not Google", key, hostOAuth, 403, `<html>Blocked by policy</html>`},
		{"no token in the answer", key, hostOAuth, 200, `<html>Please log in</html>`},
		{"token with a line break", key, hostOAuth, 200, `{"access_token":"a\nb","expires_in":3599}`},
		{"attribute condition", provider, hostSTS, 401, `{"error":"unauthorized_client","error_description":"The given credential is rejected by the attribute condition."}`},
		{"no such provider", provider, hostSTS, 400, `{"error":"invalid_target","error_description":"The target service indicated by the \"audience\" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist."}`},
		{"audience value", provider, hostSTS, 400, `{"error":"invalid_request","error_description":"Invalid value for \"audience\". This value should be the full resource name of the Identity Provider. See https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token for the list of possible formats."}`},
		{"audience mismatch", provider, hostSTS, 400, `{"error":"invalid_grant","error_description":"The audience in ID Token [https://github.com/acme] does not match the expected audience."}`},
		{"issuer", provider, hostSTS, 400, `{"error":"invalid_grant","error_description":"The issuer in ID Token https://token.actions.githubusercontent.com does not match the expected ones: https://gitlab.com."}`},
		{"stale", provider, hostSTS, 400, `{"error":"invalid_grant","error_description":"ID Token issued at 1700000000 is stale to sign-in."}`},
		{"subject too long", provider, hostSTS, 400, `{"error":"invalid_grant","error_description":"The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming assertion to produce a mapped attribute that is less than 127 bytes."}`},
		{"impersonation by federation", impersonated, hostIAM, 403, iamError(403, "PERMISSION_DENIED", denied, deniedInfo)},
		{"impersonation by key", keyImpersonated, hostIAM, 403, iamError(403, "PERMISSION_DENIED", denied, deniedInfo)},
		{"impersonation of nobody", impersonated, hostIAM, 404, iamError(404, "NOT_FOUND", "Not found; Gaia id not found for email "+testTarget, "")},
		{"API disabled", impersonated, hostIAM, 403, iamError(403, "PERMISSION_DENIED", disabled, disabledInfo)},
		{"token without the scope", impersonated, hostIAM, 403, iamError(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.", `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"ACCESS_TOKEN_SCOPE_INSUFFICIENT","domain":"googleapis.com","metadata":{"service":"iamcredentials.googleapis.com"}}`)},
		{"a reason that is not known here", impersonated, hostIAM, 403, iamError(403, "PERMISSION_DENIED", "The moon is in the way.", `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"LUNAR_ECLIPSE","domain":"googleapis.com","metadata":{}}`)},
		{"impersonation with a refused token", impersonated, hostIAM, 401, iamError(401, "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.", "")},
		{"impersonation refused otherwise", impersonated, hostIAM, 400, iamError(400, "INVALID_ARGUMENT", "Request contains an invalid argument.", "")},
		{"impersonation behind a portal", impersonated, hostIAM, 200, `<html>Please log in</html>`},
	}
	sections := make([]string, len(cases)+1)
	t.Cleanup(func() { golden(t, "refused.golden", strings.Join(sections, "")) }) // the parts are done by then
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newServices(t)
			o := g.options(t)
			c.change(&o)
			said(g, c.host, c.status, c.body)
			sections[i] = c.name + ":\n  " + refused(t, o) + "\n"
		})
	}
	t.Run("GitHub", func(t *testing.T) {
		t.Parallel()
		o := jobOptions(t)
		o.WorkloadIdentityProvider = testProvider
		o.IDToken = func(context.Context, string) (string, error) { return "", errors.New("status 403: Forbidden") }
		sections[len(cases)] = "GitHub refuses:\n  " + refused(t, o) + "\n"
	})
}

// refused returns the one line that the first call of Token answers.
func refused(t *testing.T, o Options) string {
	t.Helper()
	found, err := Find(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	token, err := found.Tokens.Token()
	var no *RefusedError
	if token != nil || !errors.As(err, &no) {
		t.Fatalf("Token = %v, %v, want a *RefusedError", token, err)
	}
	if strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("several lines: %q", err)
	}
	return err.Error()
}

// TestEcho redacts a server that sends the secrets back.
func TestEcho(t *testing.T) {
	t.Parallel()
	g := newServices(t)
	o := g.options(t)
	o.JSON = keyFile()
	var assertion string
	g.answer = func(w http.ResponseWriter, _ *http.Request, form map[string]string) {
		assertion = form["assertion"]
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant", "error_description": "I got " + assertion})
	}
	if text := refused(t, o); assertion == "" || strings.Contains(text, assertion) || !strings.Contains(text, "[redacted]") {
		t.Errorf("error = %s", text)
	}
}

// TestRedirect sends no credential on, whoever asks for it.
func TestRedirect(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	for _, target := range []string{other.URL, "https://evil.example.com", "https://" + hostSTS + "/again"} {
		for host, change := range map[string]func(*Options){
			hostOAuth: func(o *Options) { o.JSON = keyFile() },
			hostSTS:   func(o *Options) { o.WorkloadIdentityProvider = testProvider },
			hostIAM:   func(o *Options) { o.WorkloadIdentityProvider, o.ServiceAccount = testProvider, testTarget },
		} {
			g := newServices(t)
			o := g.options(t)
			change(&o)
			plain := &services{}
			asked := 0
			g.answer = func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
				if r.Host != host {
					if r.Host != hostSTS {
						t.Errorf("a request reached %s", r.Host)
					}
					plain.serve(w, r)
					return
				}
				asked++
				w.Header().Set("Location", target)
				w.WriteHeader(http.StatusTemporaryRedirect)
			}
			if text := refused(t, o); !strings.Contains(text, "redirect (status 307)") || asked != 1 {
				t.Errorf("%s to %s: asked %d times, error = %s", host, target, asked, text)
			}
		}
	}
	if elsewhere.Load() != 0 {
		t.Errorf("%d requests went elsewhere", elsewhere.Load())
	}
}

// TestHosts refuses every host but Google's, whatever code above it does.
func TestHosts(t *testing.T) {
	t.Parallel()
	f := newFinder(jobOptions(t))
	for _, address := range []string{"http://oauth2.googleapis.com/token", "https://oauth2.googleapis.com:8443/token", "https://oauth2.googleapis.com.example.com/token", "https://example.com/"} {
		if _, err := f.post(t.Context(), "test", address, nil); err == nil || !strings.Contains(err.Error(), "is sent no credentials") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestFaults survives what passes: errors of the server, lost connections, a
// limit that names a pause. The second try sends the same bytes.
func TestFaults(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"key":       func(o *Options) { o.JSON = keyFile() },
		"federated": func(o *Options) { o.WorkloadIdentityProvider, o.ServiceAccount = testProvider, testTarget },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newServices(t)
			o := g.options(t)
			change(&o)
			plain := &services{}
			tries := map[string]int{}
			bodies := map[string]string{}
			g.answer = func(w http.ResponseWriter, r *http.Request, form map[string]string) {
				tries[r.Host]++
				if first, there := bodies[r.Host]; there && first != form["body"] {
					t.Errorf("%s: try %d sent other bytes", r.Host, tries[r.Host])
				}
				bodies[r.Host] = form["body"]
				switch tries[r.Host] {
				case 1:
					w.WriteHeader(http.StatusServiceUnavailable)
				case 2:
					panic(http.ErrAbortHandler)
				case 3:
					w.Header().Set("Retry-After", "0")
					w.WriteHeader(http.StatusTooManyRequests)
				default:
					plain.serve(w, r)
				}
			}
			found, err := Find(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := found.Tokens.Token(); err != nil {
				t.Errorf("after %v tries: %v", tries, err)
			}
		})
	}
}

// TestOutage has each of Google's hosts away for a while, in a bubble of time.
func TestOutage(t *testing.T) {
	t.Parallel()
	testKey() // outside of the bubble
	for host, change := range map[string]func(*Options){
		hostOAuth: func(o *Options) { o.JSON = keyFile() },
		hostSTS:   func(o *Options) { o.WorkloadIdentityProvider = testProvider },
		hostIAM:   func(o *Options) { o.WorkloadIdentityProvider, o.ServiceAccount = testProvider, testTarget },
	} {
		unavailable := func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("later"))}, nil
		}
		for _, c := range []struct {
			name   string
			lasts  time.Duration
			during func(*http.Request) (*http.Response, error)
			words  string // of the error; "": none
			most   time.Duration
		}{
			{"503 for a minute", time.Minute, unavailable, "", 75 * time.Second},
			{"resets for a minute", time.Minute, func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET }, "", 75 * time.Second},
			{"silent for a minute", time.Minute, func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }, "", 85 * time.Second},
			{"503 without end", time.Hour, unavailable, "answered with status 503, after 2", 2 * time.Minute},
			{"refused without end", time.Hour, func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED }, "connection refused, after 2", 2 * time.Minute},
			{"no such name", time.Hour, func(*http.Request) (*http.Response, error) {
				return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
			}, "no such host: let", 0},
		} {
			t.Run(host+" "+c.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					started := time.Now()
					plain := &services{}
					o := jobOptions(t)
					change(&o)
					o.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
						if r.URL.Host == host && time.Since(started) < c.lasts {
							return c.during(r)
						}
						r.Host = r.URL.Host
						recorder := httptest.NewRecorder()
						plain.serve(recorder, r)
						return recorder.Result(), nil
					})
					found, err := Find(t.Context(), o)
					if err != nil {
						t.Fatal(err)
					}
					_, err = found.Tokens.Token()
					if c.words == "" && err != nil || c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)) {
						t.Errorf("%v, want %q", err, c.words)
					}
					if took := time.Since(started); took > c.most {
						t.Errorf("took %v, at most %v are wanted", took, c.most)
					}
				})
			})
		}
	}
}

// TestClock signs again by Google's clock when the runner's is wrong.
func TestClock(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{-10 * time.Minute, 10 * time.Minute, 24 * time.Hour} {
		g := newServices(t)
		o := g.options(t)
		o.JSON = keyFile()
		g.answer = func(w http.ResponseWriter, _ *http.Request, form map[string]string) {
			there := time.Now().Add(ahead)
			w.Header().Set("Date", there.UTC().Format(http.TimeFormat))
			var claims struct{ Iat, Exp int64 }
			part, _ := base64.RawURLEncoding.DecodeString(strings.Split(form["assertion"], ".")[1])
			_ = json.Unmarshal(part, &claims)
			if off := there.Sub(time.Unix(claims.Iat, 0)); off < 0 || off > 2*time.Minute || claims.Exp-claims.Iat > 3600 {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."}`)
				return
			}
			fmt.Fprint(w, `{"access_token":"t","expires_in":3599}`)
		}
		found, err := Find(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		token, err := found.Tokens.Token()
		if err != nil {
			t.Errorf("%v ahead: %v", ahead, err)
			continue
		}
		if left := time.Until(token.Expiry); left < 59*time.Minute || left > time.Hour {
			t.Errorf("%v ahead: the token is taken to live %v", ahead, left)
		}
	}
}

// TestImpersonatedLifetime counts a lifetime between two times of the same clock.
func TestImpersonatedLifetime(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{-time.Hour, 0, 10 * time.Minute} {
		g := newServices(t)
		o := g.options(t)
		o.WorkloadIdentityProvider, o.ServiceAccount = testProvider, testTarget
		plain := &services{}
		g.answer = func(w http.ResponseWriter, r *http.Request, _ map[string]string) {
			if r.Host != hostIAM {
				plain.serve(w, r)
				return
			}
			there := time.Now().Add(ahead).UTC()
			w.Header().Set("Date", there.Format(http.TimeFormat))
			fmt.Fprintf(w, `{"accessToken":"t","expireTime":%q}`, there.Add(20*time.Second).Format(time.RFC3339))
		}
		found, err := Find(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		token, err := found.Tokens.Token()
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(token.Expiry); left < 17*time.Second || left > 21*time.Second {
			t.Errorf("%v ahead: the token is taken to live %v, not 20 s", ahead, left)
		}
	}
}
