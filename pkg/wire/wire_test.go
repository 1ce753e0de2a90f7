package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// answers is a transport that answers with the same text again and again.
type answers struct {
	status int
	text   string
	size   int
}

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	kind := http.Header{"Content-Type": {"application/json; stream=watch"}}
	return &http.Response{StatusCode: a.status, Header: kind, ContentLength: -1, Body: io.NopCloser(&endless{text: a.text, left: a.size})}, nil
}

type endless struct {
	text string
	at   int
	left int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && e.left > 0 {
		p[n] = e.text[e.at%len(e.text)]
		n, e.at, e.left = n+1, e.at+1, e.left-1
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func ask(t *testing.T, a answers, target string) (int64, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := Bound(a).RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return io.Copy(io.Discard, resp.Body)
}

func TestBound(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	event := `{"type":"MODIFIED","object":{"text":"` + strings.Repeat(`}\"{`, 100) + "\"}}\n"
	for _, tt := range []struct {
		name, target string
		answers
		read int64  // bytes
		what string // of the error; "" for none
	}{
		{"object", "/api/v1/namespaces/models/configmaps/a", answers{200, "x", 3 * mib}, 3 * mib, ""},
		{"long object", "/api/v1/namespaces/models/configmaps/a", answers{200, "x", 9 * mib}, 8 * mib, "an object"},
		{"namespace", "/api/v1/namespaces/models", answers{200, "x", 9 * mib}, 8 * mib, "an object"},
		{"list", "/api/v1/namespaces/models/pods?labelSelector=a", answers{200, "x", 30 * mib}, 30 * mib, ""},
		{"list of an API, through the gateway", "/v1/projects/1/locations/global/gkeMemberships/m/apis/apps/v1/namespaces/models/deployments", answers{200, "x", 30 * mib}, 30 * mib, ""},
		{"long list", "/api/v1/nodes", answers{200, "x", 33 * mib}, 32 * mib, "a list"},
		{"refusal, cut", "/api/v1/nodes", answers{500, "x", 33 * mib}, mib, ""},
		{"watch", "/api/v1/namespaces/models/pods?watch=true", answers{200, event, 20 * mib}, 20 * mib, ""},
		{"long event", "/api/v1/namespaces/models/pods?watch=true", answers{200, `[`, 20 * mib}, 8 * mib, "an event of a watch"},
		{"long event in many lines", "/api/v1/namespaces/models/pods?watch=true", answers{200, "{\"a\":\n", 20 * mib}, 8 * mib, "an event of a watch"},
		{"discovery", "/apis/apps/v1", answers{200, "x", 9 * mib}, 8 * mib, "an object"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			read, err := ask(t, tt.answers, tt.target)
			var long *LongError
			what := ""
			if errors.As(err, &long) {
				what = long.What
			} else if err != nil {
				t.Fatal(err)
			}
			// What is read into the last piece goes with the error.
			if read > tt.read || read < tt.read-64<<10 || what != tt.what {
				t.Errorf("read %d bytes and %v, want %d and %q", read, err, tt.read, tt.what)
			}
		})
	}
}

// A long answer that nobody reads to its end keeps others waiting until it is
// closed, and one that waits can be closed.
func TestLongAnswersTakeTurns(t *testing.T) {
	t.Parallel()
	transport := Bound(answers{200, "x", 4 << 20})
	open := func(ctx context.Context) io.ReadCloser {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.example/api/v1/nodes", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp.Body
	}
	first := open(t.Context())
	if _, err := io.CopyN(io.Discard, first, 1<<20); err != nil {
		t.Fatal(err)
	}
	second := open(t.Context())
	done := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, second); done <- err }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	third := open(ctx)
	if n, err := io.Copy(io.Discard, third); !errors.Is(err, context.DeadlineExceeded) || n < freeBytes {
		t.Errorf("third: %d bytes, %v", n, err)
	}
	fourth := open(t.Context())
	closed := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, fourth); closed <- err }()
	fourth.Close()
	if err := <-closed; err == nil {
		t.Error("an answer that was closed was read to its end")
	}
	first.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// FuzzEvents holds the scanner to encoding/json's idea of where a value ends.
func FuzzEvents(f *testing.F) {
	for _, seed := range []string{`{"a":"}\"{"}`, `[[],{}]`, `{"a":"\\"}`, `{"é":"\u0022"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) || !strings.HasPrefix(text, "{") && !strings.HasPrefix(text, "[") {
			return
		}
		text = strings.TrimSpace(text)
		stream := fmt.Appendf(nil, "%s\n%s", text, text[:len(text)-1]) // one, and one without its end
		e, rest := &events{}, 0
		for piece := range bytes.SplitSeq(stream, nil) {
			n, ended := e.scan(piece)
			if rest += n; ended {
				rest = n
			}
		}
		if want := len(text); rest != want {
			t.Errorf("%q: %d bytes are of the second, want %d", text, rest, want)
		}
	})
}

// A watch that is answered by something else is closed here, since client-go
// forgets to.
func TestWatchOfAnotherType(t *testing.T) {
	t.Parallel()
	closed := false
	base := roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}}, Body: closer{strings.NewReader("x"), &closed}}, nil
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://api.example/api/v1/pods?watch=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := Bound(base).RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	if err == nil || !closed || !strings.Contains(err.Error(), `"text/plain"`) {
		t.Errorf("%v, closed: %t", err, closed)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type closer struct {
	io.Reader
	closed *bool
}

func (c closer) Close() error { *c.closed = true; return nil }
