package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/org/deploy-model-action/pkg/kube/kubetest"
)

// after is a scene that begins later.
func after(d time.Duration, play kubetest.Scene) kubetest.Scene {
	return func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(d)
		play(w, r)
	}
}

// TestSmokeAnswers holds what becomes of each kind of answer, in the words that a
// user reads, and after which time.
func TestSmokeAnswers(t *testing.T) {
	t.Parallel()
	const that = `{path: /predict, json: {}, expect: {that: ["{.prediction} == Earth", "{.score} >= 0.9"]}}`
	right, wrong := kubetest.Answer(200, `{"prediction":"Earth","score":0.97}`), kubetest.Answer(200, `{"prediction":"Mars","score":0.5}`)
	drip := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, " "); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(100 * time.Millisecond)
		}
	}
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat("[1,", 10000)); err != nil {
				return
			}
		}
	}
	repeated := strings.Replace(that, "json: {}", "json: {}, repeat: 5", 1)
	hurried := strings.Replace(that, "expect: {", "expect: {within: 2s, ", 1)
	tests := []struct {
		name, request string
		script        []kubetest.Scene
	}{
		{"right", that, []kubetest.Scene{right}},
		{"right five times", repeated, []kubetest.Scene{after(30*time.Millisecond, right), after(10*time.Millisecond, right), after(1500*time.Millisecond, right), after(20*time.Millisecond, right), after(40*time.Millisecond, right)}},
		{"any 2xx", `{path: /predict}`, []kubetest.Scene{kubetest.Answer(204, "")}},
		{"a status of its own", `{path: /predict, expect: {status: 422}}`, []kubetest.Scene{kubetest.Answer(422, `{"detail":"no image"}`)}},
		{"a redirect that is expected", `{path: /predict, expect: {status: 307}}`, []kubetest.Scene{func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}}},
		{"wrong", that, []kubetest.Scene{wrong}},
		{"wrong at first, as of an earlier pod", repeated, []kubetest.Scene{wrong, wrong, right}},
		{"right and wrong", repeated, []kubetest.Scene{right, wrong, right}},
		{"starting", that, []kubetest.Scene{kubetest.Answer(503, "loading"), kubetest.Answer(502, ""), kubetest.HangUp, right}},
		{"another status", that, []kubetest.Scene{kubetest.Answer(500, "Internal Server Error")}},
		{"404", that, []kubetest.Scene{kubetest.Answer(404, `{"detail":"Not Found"}`)}},
		{"405", `{path: /predict}`, []kubetest.Scene{kubetest.Answer(405, `{"detail":"Method Not Allowed"}`)}},
		{"422", that, []kubetest.Scene{kubetest.Answer(422, `{"detail":[{"loc":["body","file"],"msg":"Field required"}]}`)}},
		{"another type", that, []kubetest.Scene{kubetest.Answer(200, "<html>Earth</html>")}},
		{"nothing there", that, []kubetest.Scene{kubetest.Answer(200, `{"class":"Earth"}`)}},
		{"only one of two", that, []kubetest.Scene{kubetest.Answer(200, `{"prediction":"Earth","score":0.2}`)}},
		{"nested too deep", that, []kubetest.Scene{kubetest.Answer(200, strings.Repeat("[", 200)+strings.Repeat("]", 200))}},
		{"a secret", `{path: /predict, expect: {that: "{.api_token} == abc"}}`, []kubetest.Scene{kubetest.Answer(200, `{"api_token":"tk-0123456789abcdef"}`)}},
		{"text that is none", that, []kubetest.Scene{kubetest.Answer(200, "\x1b[2J::error::\u202egone\r\n"+`{"password":"hunter2"}`)}},
		{"slow", hurried, []kubetest.Scene{after(5*time.Second, right)}},
		{"slow once", strings.Replace(hurried, "json: {}", "json: {}, repeat: 3", 1), []kubetest.Scene{right, right, after(3*time.Second, right)}},
		{"byte by byte", hurried, []kubetest.Scene{drip}},
		{"endless", that, []kubetest.Scene{endless}},
		{"endless, and nothing is looked at", `{path: /predict}`, []kubetest.Scene{endless}},
		{"no answer", that, []kubetest.Scene{kubetest.Hang}},
		{"cut", that, []kubetest.Scene{kubetest.HangUp}},
		{"slower than the time that there is", strings.Replace(repeated, "repeat: 5", "repeat: 50", 1), []kubetest.Scene{after(5100*time.Millisecond, right)}},
	}
	var all strings.Builder
	for _, tt := range tests {
		test, err := ParseSmokeTest(t.Context(), workspace(t, map[string]string{"smoke.yaml": "requests: [" + tt.request + "]"}), "smoke.yaml", nil)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		synctest.Test(t, func(t *testing.T) {
			stage := &kubetest.Stage{Scripts: map[string][]kubetest.Scene{"/predict": tt.script, "/elsewhere": {right}}}
			client, o, _ := asking(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // only then the server learns that a client is gone
				stage.ServeHTTP(w, r)
			}), balanced)
			o.Path, o.SmokeTest = "", test
			started := time.Now()
			report, err := Check(t.Context(), client, o)
			took := time.Since(started).Round(100 * time.Millisecond)
			if err == nil {
				err = report.Unasked
			}
			time.Sleep(time.Minute) // the server ends what it does
			verdict := "well"
			if err != nil {
				verdict = err.Error()
			}
			fmt.Fprintf(&all, "== %s, after %s\n%s\n", tt.name, took, strings.ReplaceAll(verdict, strings.Repeat("[1,", 20), "[1,"))
			for _, r := range report.Replies {
				fmt.Fprintf(&all, "  %.300s\n", r)
			}
		})
	}
	golden(t, "smoke-answers.txt", all.String())
}

// TestSmokeSendsEachTime holds that a repeated question is sent whole each time,
// and with its headers, in both ways.
func TestSmokeSendsEachTime(t *testing.T) {
	t.Parallel()
	for name, service := range map[string]string{"balancer": balanced, "API server": within(`{port: 80}`)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test, err := ParseSmokeTest(t.Context(), workspace(t, map[string]string{
				"smoke.yaml": `requests: [{path: "/predict/a%2Fb?x=1&y=a%20b", json: {a: 1}, headers: {X-Version: "7"}, repeat: 3}]`,
			}), "smoke.yaml", nil)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				var got []string
				client, o, _ := asking(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					_, path, _ := strings.Cut(r.URL.RequestURI(), "/predict")
					got = append(got, fmt.Sprintf("%s %s %s %s %s", r.Method, path, body, r.Header.Get("X-Version"), r.Header.Get("Content-Type")))
				}), service)
				o.Path, o.SmokeTest = "", test
				if _, err := Check(t.Context(), client, o); err != nil {
					t.Error(err)
				}
				const want = `POST /a%2Fb?x=1&y=a%20b {"a":1} 7 application/json`
				if len(got) != 3 || got[0] != want || got[1] != want || got[2] != want {
					t.Errorf("sent %q, want %q three times", got, want)
				}
			})
		})
	}
}

// TestSmokeCancelled holds that a cancelled run asks nothing more.
func TestSmokeCancelled(t *testing.T) {
	t.Parallel()
	test, err := ParseSmokeTest(t.Context(), workspace(t, map[string]string{"smoke.yaml": `requests: [{path: /predict, repeat: 100}, {path: /more}]`}), "smoke.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		client, o, _ := asking(t, after(time.Second, kubetest.Answer(200, "ok")), balanced)
		o.Path, o.SmokeTest = "", test
		ctx, cancel := context.WithCancelCause(t.Context())
		reason := errors.New("the runner cancels")
		time.AfterFunc(3500*time.Millisecond, func() { cancel(reason) })
		started := time.Now()
		report, err := Check(ctx, client, o)
		took := time.Since(started)
		time.Sleep(time.Minute)
		if !errors.Is(err, reason) || took != 3500*time.Millisecond || len(report.Replies) != 1 || report.Replies[0].Right != 3 {
			t.Errorf("error %v after %s, %+v", err, took, report.Replies)
		}
	})
}

func TestReach(t *testing.T) {
	t.Parallel()
	at := Address{URL: "http://203.0.113.7", Host: "203.0.113.7"}
	refused := failing{errors.New("dial tcp 203.0.113.7:80: connect: connection refused")}
	tests := []struct {
		name    string
		at      Address
		network http.RoundTripper
		script  []kubetest.Scene
		answers bool
		why     string
		took    time.Duration
	}{
		{"200", at, nil, []kubetest.Scene{kubetest.Answer(200, "")}, true, "", 0},
		{"404", at, nil, []kubetest.Scene{kubetest.Answer(404, "")}, true, "", 0},
		{"500", at, nil, []kubetest.Scene{kubetest.Answer(500, "")}, true, "", 0},
		{"a moment later", at, nil, []kubetest.Scene{kubetest.HangUp, kubetest.Answer(502, ""), kubetest.Answer(200, "")}, true, "", time.Second},
		{"nobody behind it", at, nil, []kubetest.Scene{kubetest.Answer(502, "")}, false, "it answered 502 Bad Gateway", 3 * time.Second},
		{"refused", at, refused, nil, false, "dial tcp 203.0.113.7:80: connect: connection refused", 3 * time.Second},
		{"no answer", at, nil, []kubetest.Scene{kubetest.Hang}, false, "no answer within 3s", 3 * time.Second},
		{"dropped", at, dropping{}, nil, false, "no connection within 3s", 3 * time.Second},
		{"internal", Address{URL: "http://10.0.0.7", Internal: true}, nil, nil, false, "only the cluster's network reaches it", 0},
		{"none", Address{}, nil, nil, false, "it has no address", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				_, o, _ := asking(t, &kubetest.Stage{Scripts: map[string][]kubetest.Scene{"/": tt.script}}, balanced)
				if tt.network != nil {
					o.HTTP = tt.network
				}
				started := time.Now()
				answers, why := Reach(t.Context(), o.HTTP, tt.at)
				if answers != tt.answers || why != tt.why || time.Since(started) != tt.took {
					t.Errorf("%v, %q, after %s; want %v, %q, after %s", answers, why, time.Since(started), tt.answers, tt.why, tt.took)
				}
			})
		})
	}
}
