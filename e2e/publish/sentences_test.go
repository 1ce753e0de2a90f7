package publish_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// TestRefusals holds every sentence to the golden file, which is what users read.
func TestRefusals(t *testing.T) { //nolint:tparallel // what follows the group comes after all that is in it
	t.Parallel()
	x := cloudtest.New(t)
	before := deployed(x)

	var mu sync.Mutex
	shown := map[string]string{}
	t.Run("all", func(t *testing.T) {
		for _, test := range refusals {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				got := test.run(x.Sub(t))
				mu.Lock()
				defer mu.Unlock()
				shown[test.name] = got
			})
		}
	})
	if diff := cmp.Diff(before, x.Versions()); diff != "" {
		t.Errorf("a refusal changed the cluster (-before +after):\n%s", diff)
	}
	if len(shown) < len(refusals) {
		return // -run chose some of them
	}
	var b strings.Builder
	for _, test := range refusals {
		fmt.Fprintf(&b, "=== %s\n%s\n", test.name, shown[test.name])
	}
	golden(t, "refusals.golden", b.String())
}

// deployed publishes and deploys an image that serves, and returns the versions
// of all objects then.
func deployed(x *cloudtest.Test) map[string]string {
	x.Helper()
	p := at(x, localcloud.Registry+"/"+localcloud.Project+"/"+x.Namespace)
	good(p)
	want(x.T, p.Run(p.step(commit, "model.tar", nil)), 0, "deployed")
	return settled(x)
}

// TestEngineWithoutTheImage names what the engine has, the nearest first.
func TestEngineWithoutTheImage(t *testing.T) {
	t.Parallel()
	x := cloudtest.New(t)
	e := own(t)
	e.build(t, dockerfile("misspelt"), layers(), "celestial_bodies_classifier:"+commit)
	before := settled(x)
	got := refusal{code: 1, arrange: path("docker"), step: e.used}.run(x)
	if diff := cmp.Diff(before, x.Versions()); diff != "" {
		t.Errorf("the cluster was changed (-before +after):\n%s", diff)
	}
	// What else it has is other tests', or on each machine another.
	golden(t, "engine.golden", regexp.MustCompile(`(it has "[^"]*")[^;]*;`).ReplaceAllString(got, "$1, …;"))
}

// run returns what a user sees of the refusal.
func (test refusal) run(x *cloudtest.Test) string {
	x.Helper()
	own := "of-" + x.Client[max(0, len(x.Client)-40):]
	p := at(x, or(test.host, localcloud.Registry+"/"+localcloud.Project+"/"+own))
	good(p)
	inputs := map[string]string{}
	if test.arrange != nil {
		inputs = test.arrange(p)
	}
	s := p.step(commit, "model.tar", inputs)
	if test.step != nil {
		test.step(p, &s)
	}
	r := p.Run(s)
	want(p.T, r, test.code, "failed")
	if len(r.Annotations) != 1 || r.Annotations[0].Level != "error" {
		p.Errorf("annotations: %+v, want one error", r.Annotations)
	}
	if n := len(changes(p.T, r)); n > 0 {
		p.Errorf("output changes: %s", r.Outputs["changes"])
	}
	everything := unmasked(r.Raw) + r.Summary + fmt.Sprint(r.Outputs)
	if password := s.With["registry_password"]; len(password) > 0 && len(password) < 100 && strings.Contains(everything, password) {
		p.Errorf("the password is shown")
	}
	if leaks := p.Leaks(everything, []byte(s.With["credentials_json"]), []byte(s.With["registry_password"])); len(leaks) > 0 {
		p.Errorf("shown: %s", strings.Join(leaks, ", "))
	}
	if test.code == 2 && len(p.Requests()) > 0 {
		p.Errorf("was contacted: %+v", p.Requests())
	}
	for _, e := range p.Requests() {
		if p.IsWrite(e) {
			p.Errorf("was written: %s %s", e.Method, e.Path)
		}
		if strings.HasPrefix(e.Path, "/v2/") && e.Method == http.MethodPut && strings.Contains(e.Path, "/manifests/") && e.Status < 300 && !test.published {
			p.Errorf("was published: %s", e.Path)
		}
	}
	return normalised(r, own, x.Namespace)
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

// normalised are the annotations, without what is different in every run.
func normalised(r *runner.Result, repository, namespace string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "exit code %d\n", r.ExitCode)
	for _, a := range r.Annotations {
		fmt.Fprintf(&b, "[%s] %s\n%s\n", a.Level, a.Title, a.Message)
	}
	text := strings.NewReplacer(repository, "models", namespace, "NAMESPACE").Replace(b.String())
	for _, v := range []struct{ pattern, fixed string }{
		{`sha256:[0-9a-f]{64}`, "sha256:DIGEST"},
		{`\b[0-9a-f]{64}\b`, "DIGEST"},
		{`unix:///\S*?(/docker\.sock)?(["; ,:])`, "unix:///SOCKET$2"},
		{`dial unix \S+: `, "dial unix SOCKET: "},
	} {
		text = regexp.MustCompile(v.pattern).ReplaceAllString(text, v.fixed)
	}
	return text
}

// unmasked is what is printed and is not for the runner's ears only.
func unmasked(raw string) string {
	return regexp.MustCompile(`(?m)^::add-mask::.*$`).ReplaceAllString(raw, "")
}

// settled waits until the controllers have nothing left to write, and returns
// the versions of all objects.
func settled(x *cloudtest.Test) map[string]string {
	x.Helper()
	for before := x.Versions(); ; {
		time.Sleep(500 * time.Millisecond)
		after := x.Versions()
		if maps.Equal(before, after) {
			return after
		}
		before = after
	}
}
