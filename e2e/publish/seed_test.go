package publish_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// bento is an image as `bentoml containerize` builds it, as far as that is not
// what a base image brings: the environment, the bento, and how it is started.
func bento(body string) string {
	return fmt.Sprintf(`FROM scratch
ENV BENTO_PATH=/home/bentoml/bento BENTOML_HOME=/home/bentoml/ BENTOML_HF_CACHE_DIR=/home/bentoml/bento/hf-models
WORKDIR /home/bentoml/bento
COPY requirements.txt /home/bentoml/bento/env/python/requirements.txt
COPY site-packages /app/.venv/lib/python3.13/site-packages
COPY model.keras /home/bentoml/bento/apis/model.keras
LABEL model.body=%q
EXPOSE 3000
USER bentoml
ENTRYPOINT ["/home/bentoml/bento/env/docker/entrypoint.sh"]
`, body)
}

// TestSeed is the tail of the seed's workflow: the runner's engine has what
//
//	bentoml containerize celestial_bodies_classifier:latest \
//	  --image-tag HOST/celestial-bodies-classifier:latest \
//	  --image-tag HOST/celestial-bodies-classifier:SHA
//
// leaves there, and the step publishes and deploys it. Then there is a commit
// with another model.
func TestSeed(t *testing.T) {
	t.Parallel()
	adapt := inContainer(t)
	e := machine(t)
	x := cloudtest.New(t)
	p := &place{Test: x, host: localcloud.Registry + "/" + localcloud.Project + "/" + x.Namespace}
	x.Testdata()
	manifest := filepath.Join(x.Workspace, "kubernetes", "deployment.yaml")
	content, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	write(t, manifest, []byte(strings.ReplaceAll(string(content), localcloud.RegistryHost, p.host)))

	files := map[string][]byte{"requirements.txt": []byte("bentoml==1.4.22\npillow==11.3.0\ntensorflow==2.20.0\n"), "site-packages": noise(400_000), "model.keras": noise(100_000)}
	run := func(n int, outcome string) (*runner.Result, string) {
		t.Helper()
		s := p.step(p.SHA(n), "docker", nil)
		adapt(p, &s)
		r := p.Run(s)
		want(t, r, 0, outcome)
		if got := p.ask(r.Outputs["url"]); got != body(p, n) {
			t.Errorf("%s answers %q, want %q", r.Outputs["url"], got, body(p, n))
		}
		d, err := p.Kube.AppsV1().Deployments(p.Namespace).Get(t.Context(), cloudtest.Model+"-deployment", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got, pinned := d.Spec.Template.Spec.Containers[0].Image, p.image(p.SHA(n))+"@"+r.Outputs["digest"]; got != pinned {
			t.Errorf("the Deployment runs %q, want %q", got, pinned)
		}
		return r, r.Outputs["digest"]
	}
	containerize := func(n int) string {
		t.Helper()
		return e.build(t, bento(body(p, n)), files, p.image("latest"), p.image(p.SHA(n)))
	}

	id := containerize(0)
	r, first := run(0, "deployed")
	if l := p.published(r, p.SHA(0)); l.tags != "latest" || l.there != 0 || l.uploaded < 3 {
		t.Errorf("the log says: %+v", l)
	}
	if got := p.config(p.SHA(0)); got != id {
		t.Errorf("the published image is %s, and that of the engine %s", got, id)
	}
	p.pulls(p.google(), first, tagsOf(p.SHA(0))...)

	before := len(p.Requests())
	r, _ = run(0, "unchanged")
	if l := p.published(r, p.SHA(0)); l.uploaded != 0 || l.size != "0 B" {
		t.Errorf("the log says of the second run: %+v", l)
	}
	if writes := p.since(before, ""); len(writes) > 0 {
		t.Errorf("the second run put into the registry: %q", writes)
	}

	files["model.keras"] = noise(100_000)
	containerize(1)
	r, second := run(1, "deployed")
	if l := p.published(r, p.SHA(1)); l.uploaded != 1 {
		t.Errorf("the log says of another model: %+v, want 1 layer uploaded", l)
	}
	if line := fmt.Sprintf("Tag latest was %s, and is set to %s", first, second); !strings.Contains(r.Log, line) {
		t.Errorf("the log has no line %q", line)
	}
	p.pulls(p.google(), first, p.SHA(0))
	p.pulls(p.google(), second, tagsOf(p.SHA(1))...)
	bothByDocker(p)
}

// body is what the model of a commit answers.
func body(p *place, n int) string {
	return fmt.Sprintf("star %x", sha256.Sum256([]byte(p.SHA(n))))
}
