// Package publish_test brings images into registries with the action as it
// ships, unchanged, in the local cloud: from a Docker engine, from every form of
// archive, into Artifact Registry and others, over connections that break. It
// looks at what a user sees, at what arrives, and at what serves in the end.
package publish_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { cloudtest.Main(m) }

// manifests are one small workload that the internet reaches.
const manifests = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: model
spec:
  replicas: 1
  minReadySeconds: 0
  selector:
    matchLabels: {app: model}
  template:
    metadata:
      labels: {app: model}
    spec:
      containers:
      - name: model
        image: HOST/` + cloudtest.Model + `:latest
        ports:
        - containerPort: 3000
---
apiVersion: v1
kind: Service
metadata:
  name: model
spec:
  type: LoadBalancer
  selector: {app: model}
  ports:
  - port: 80
    targetPort: 3000
`

// place is a namespace with the workload in its workspace, whose image lives
// under a host of its own: the tag latest is nobody else's.
type place struct {
	*cloudtest.Test
	host string // the input registry_host
}

// newPlace makes a place, with images in Artifact Registry.
func newPlace(t *testing.T) *place {
	t.Helper()
	x := cloudtest.New(t)
	return at(x, localcloud.Registry+"/"+localcloud.Project+"/"+x.Namespace)
}

// at makes a place whose images live under the host.
func at(x *cloudtest.Test, host string) *place {
	x.Helper()
	p := &place{Test: x, host: host}
	x.Write("kubernetes/model.yaml", strings.ReplaceAll(manifests, "HOST", host))
	return p
}

// image is the reference with a tag.
func (p *place) image(tag string) string { return p.host + "/" + cloudtest.Model + ":" + tag }

// step is one that publishes from the path, or the engine, and deploys.
func (p *place) step(sha, push string, with map[string]string) runner.Step {
	p.Helper()
	s := p.Step(sha, map[string]string{"registry_host": p.host, "push": push})
	for name, value := range with {
		s.With[name] = value
	}
	return s
}

// want checks how a step ended, and that the runner had nothing to complain
// about: no file was left, in the workspace or in RUNNER_TEMP.
func want(t *testing.T, r *runner.Result, code int, outcome string) {
	t.Helper()
	if r.ExitCode != code || r.Outputs["outcome"] != outcome {
		t.Errorf("exit code %d, outcome %q, want %d, %q", r.ExitCode, r.Outputs["outcome"], code, outcome)
	}
	if code == 0 && len(r.Annotations) > 0 {
		t.Errorf("annotations: %+v", r.Annotations)
	}
	if len(r.Warnings) > 0 || len(r.Files) > 0 {
		t.Errorf("the runner complains: %q; files that the action wrote: %q", r.Warnings, r.Files)
	}
}

// serves checks that the published image is what runs and what answers, and
// returns its digest.
func (p *place) serves(r *runner.Result, sha, body string) string {
	p.Helper()
	digest := r.Outputs["digest"]
	pinned := p.image(sha) + "@" + digest
	if r.Outputs["image"] != pinned {
		p.Errorf("output image %q, want %q", r.Outputs["image"], pinned)
	}
	d, err := p.Kube.AppsV1().Deployments(p.Namespace).Get(p.Context(), "model", metav1.GetOptions{})
	if err != nil {
		p.Fatal(err)
	}
	if got := d.Spec.Template.Spec.Containers[0].Image; got != pinned {
		p.Errorf("the Deployment runs %q, want %q", got, pinned)
	}
	if got := p.ask(r.Outputs["url"]); got != body {
		p.Errorf("%s answers %q, want %q", r.Outputs["url"], got, body)
	}
	return digest
}

// ask is what a client on the internet gets.
func (p *place) ask(address string) string {
	p.Helper()
	request, err := http.NewRequestWithContext(p.Context(), http.MethodGet, address, nil)
	if err != nil {
		p.Fatal(err)
	}
	through, err := url.Parse(p.Cloud.Proxy.URL)
	if err != nil {
		p.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(through), DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		p.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.Fatal(err)
	}
	return strings.TrimSpace(string(body))
}

// published finds the line of the log that says what was published.
func (p *place) published(r *runner.Result, sha string) line {
	p.Helper()
	pattern := regexp.MustCompile(`(?m)^Published ` + regexp.QuoteMeta(p.image(sha)) +
		`@(sha256:[0-9a-f]{64})(?: \(also ([^)]*)\))?: (\d+) layers? uploaded(?:, (\d+) mounted)?, (\d+) there already; (\S+ \w+) in \S+ ?\w*$`)
	found := pattern.FindAllStringSubmatch(r.Log, -1)
	if len(found) != 1 {
		p.Errorf("%d lines say what was published as %s", len(found), p.image(sha))
		return line{}
	}
	m := found[0]
	if m[1] != r.Outputs["digest"] {
		p.Errorf("the log says %s, the output digest %s", m[1], r.Outputs["digest"])
	}
	l := line{tags: m[2], size: m[6]}
	for text, into := range map[string]*int{m[3]: &l.uploaded, m[5]: &l.there} {
		if _, err := fmt.Sscan(text, into); err != nil {
			p.Error(err)
		}
	}
	return l
}

// line is what the log says of an image that was published.
type line struct {
	tags            string
	uploaded, there int
	size            string // that was sent
}

// since are the requests after the first n that put something into a registry.
func (p *place) since(n int, part string) []string {
	p.Helper()
	var writes []string
	for _, e := range p.Requests()[n:] {
		if isWrite(e) && strings.HasPrefix(e.Path, "/v2/") && strings.Contains(e.Path, part) {
			writes = append(writes, e.Method+" "+e.Path)
		}
	}
	return writes
}

func isWrite(e proxy.Entry) bool {
	return e.Method == http.MethodPost || e.Method == http.MethodPut || e.Method == http.MethodPatch || e.Method == http.MethodDelete
}

// account makes a service account with the roles, and returns its key.
func account(x *cloudtest.Test, name string, roles ...string) string {
	x.Helper()
	_, key, err := x.Cloud.Google.CreateServiceAccount(name, roles...)
	if err != nil {
		x.Fatal(err)
	}
	return string(key)
}

// golden compares a text with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(content), got); diff != "" {
		t.Errorf("%s (-want +got); if it is right, write it with -update:\n%s", path, diff)
	}
}

// changes is the output of that name.
func changes(t *testing.T, r *runner.Result) []json.RawMessage {
	t.Helper()
	var all []json.RawMessage
	if err := json.Unmarshal([]byte(r.Outputs["changes"]), &all); err != nil {
		t.Fatalf("output changes %q: %v", r.Outputs["changes"], err)
	}
	return all
}
