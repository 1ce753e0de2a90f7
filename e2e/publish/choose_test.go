package publish_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

// lying is an image of an archive, with what its index says of it.
type lying struct {
	what        mutate.Appendable
	annotations map[string]string
}

// byContainerd is how `docker save` names an image of containerd's store: the tag
// alone is in the same place for all.
func byContainerd(name string) map[string]string {
	return map[string]string{"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name[strings.LastIndex(name, ":")+1:]}
}

// archiveOf writes several images as one OCI layout.
func (p *place) archiveOf(all ...lying) {
	p.Helper()
	dir := filepath.Join(p.TempDir(), "layout")
	path, err := layout.Write(dir, empty.Index)
	for _, l := range all {
		if err != nil {
			p.Fatal(err)
		}
		if index, ok := l.what.(v1.ImageIndex); ok {
			err = path.AppendIndex(index, layout.WithAnnotations(l.annotations))
			continue
		}
		err = path.AppendImage(l.what.(v1.Image), layout.WithAnnotations(l.annotations))
	}
	if err != nil {
		p.Fatal(err)
	}
	p.Write("model.tar", string(tarOfFolder(p.T, dir)))
}

// configured is an image with another configuration.
func configured(t *testing.T, image v1.Image, change func(*v1.ConfigFile)) v1.Image {
	t.Helper()
	config, err := image.ConfigFile()
	if err == nil {
		config = config.DeepCopy()
		change(config)
		image, err = mutate.ConfigFile(image, config)
	}
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// TestRight plays some rows of pkg/publish's table with the binary: which image is
// published, why, and what is refused without moving a tag.
func TestRight(t *testing.T) {
	t.Parallel()
	labelled := func(t *testing.T, image v1.Image, revision string) v1.Image {
		t.Helper()
		return configured(t, image, func(c *v1.ConfigFile) {
			c.Config.Labels = map[string]string{"model.body": "good", "org.opencontainers.image.revision": revision}
		})
	}
	for _, c := range []struct {
		name    string
		arrange func(p *place, sha string)
		why     string // in the log; "": it is refused
		title   string // of the refusal
	}{
		{name: "another image beside another name", title: "Nothing to publish", arrange: func(p *place, _ string) {
			p.archiveOf(lying{model(p.T, "redis", sizes), byContainerd("docker.io/library/redis:latest")}, lying{model(p.T, "trainer", sizes), byContainerd("docker.io/acme/classifier:latest")})
		}},
		{name: "another image beside the right one", why: "by name and commit", arrange: func(p *place, sha string) {
			p.archiveOf(lying{model(p.T, "redis", sizes), byContainerd("docker.io/library/redis:latest")}, lying{model(p.T, "good", sizes), byContainerd(p.image(sha))})
		}},
		{name: "latest of an earlier build", title: "Image of an earlier build", arrange: func(p *place, _ string) {
			image := model(p.T, "yesterday's", sizes)
			p.push("latest", image)
			p.archiveOf(lying{image, byContainerd(p.image("latest"))})
		}},
		{name: "latest, built anew", why: "by name, as latest", arrange: func(p *place, _ string) {
			p.push("latest", model(p.T, "yesterday's", sizes))
			p.archiveOf(lying{model(p.T, "good", sizes), byContainerd(p.image("latest"))})
		}},
		{name: "latest as before, labelled with the commit", why: "by name, as latest", arrange: func(p *place, sha string) {
			image := labelled(p.T, model(p.T, "good", sizes), sha)
			p.push("latest", image)
			p.archiveOf(lying{image, byContainerd(p.image("latest"))})
		}},
		{name: "labelled with another commit", title: "Image of another commit", arrange: func(p *place, sha string) {
			p.archiveOf(lying{labelled(p.T, model(p.T, "good", sizes), p.SHA(7)), byContainerd(p.image(sha))})
		}},
		{name: "an index of which one image is there", why: "by name and commit", arrange: func(p *place, sha string) {
			all := index(p.T, "good", "amd64", "arm64")
			manifest, err := all.IndexManifest()
			if err != nil {
				p.Fatal(err)
			}
			child, err := all.Image(manifest.Manifests[0].Digest)
			if err != nil {
				p.Fatal(err)
			}
			p.push(sha, child)
			p.archiveOf(lying{all, byContainerd(p.image(sha))})
		}},
		{name: "a layer that is not what the configuration says", title: "Deploy failed", arrange: func(p *place, sha string) {
			image := configured(p.T, model(p.T, "good", sizes), func(c *v1.ConfigFile) {
				c.RootFS.DiffIDs[0], c.RootFS.DiffIDs[1] = c.RootFS.DiffIDs[1], c.RootFS.DiffIDs[0]
			})
			p.push("latest", model(p.T, "yesterday's", sizes))
			p.archiveOf(lying{image, byContainerd(p.image(sha))})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			sha := p.SHA(0)
			c.arrange(p, sha)
			before := len(p.Requests())
			r := p.Run(p.step(sha, "model.tar", nil))
			if c.title != "" {
				want(t, r, 1, "failed")
				if len(r.Annotations) != 1 || r.Annotations[0].Title != c.title {
					t.Errorf("annotations: %+v, want the title %q", r.Annotations, c.title)
				}
				if writes := p.since(before, "/manifests/"); len(writes) > 0 {
					t.Errorf("tags were moved: %q", writes)
				}
				return
			}
			want(t, r, 0, "deployed")
			p.serves(r, sha, "good")
			p.pulls(p.google(), r.Outputs["digest"], tagsOf(sha)...)
			if !strings.Contains(r.Log, "of archive \"model.tar\" ("+c.why+")") || !strings.Contains(r.Summary, "("+c.why+")") {
				t.Errorf("log or summary do not say that it was published %q:\n%s", c.why, r.Summary)
			}
		})
	}
}

// push puts an image into the registry beforehand.
func (p *place) push(tag string, image v1.Image) {
	p.Helper()
	if _, err := p.Cloud.Registry.PushImage(p.Context(), p.image(tag), image); err != nil {
		p.Fatal(err)
	}
}

// TestOlderCommit deploys another commit than the one that the workflow runs for: it
// is the one that log, summary and the objects show.
func TestOlderCommit(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	head, older := p.SHA(1), p.SHA(0)
	p.Write("model.tar", string(tarOf(p.T, saved(p.T, model(p.T, "older", sizes), p.image(older)))))
	s := p.step(head, "model.tar", map[string]string{"sha": older})
	r := p.Run(s)
	want(t, r, 0, "deployed")
	p.serves(r, older, "older")
	for what, text := range map[string]string{"log": r.Log, "summary": strings.ReplaceAll(r.Summary, "/blob/"+head, ""), "outputs": r.Outputs["image"] + r.Outputs["changes"]} {
		if strings.Contains(text, head) || strings.Contains(text, head[:12]) {
			t.Errorf("%s names the commit of the workflow:\n%s", what, text)
		}
	}
	if !strings.Contains(r.Summary, "/commit/"+older) {
		t.Errorf("the summary does not lead to the commit:\n%s", r.Summary)
	}
}

// TestCancelPublish cancels while a layer is gone through, of which there are hours:
// the runner kills who does not end.
func TestCancelPublish(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	sha := p.SHA(0)
	// 50 GB, as a gzip file of many: it is sent in no time.
	layer := static.NewLayer(bytes.Repeat(zipped(t, make([]byte, 128<<20)), 400), types.OCILayer)
	image, err := mutate.AppendLayers(model(t, "good", nil), layer)
	if err != nil {
		t.Fatal(err)
	}
	layoutOf(t, filepath.Join(p.Workspace, "model"), image, p.image(sha), sha)
	ctx, cancel := context.WithCancel(p.Context())
	defer cancel()
	var asked time.Time
	s := p.step(sha, "model", nil)
	s.OnLine = func(line string) {
		if asked.IsZero() && strings.HasPrefix(line, "Layer ") {
			asked = time.Now()
			cancel()
		}
	}
	r, err := s.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cloudtest.Figure(t, "%s from SIGINT to the end, in a layer that takes minutes", time.Since(asked).Round(time.Millisecond))
	if asked.IsZero() || time.Since(asked) > 5*time.Second {
		t.Errorf("it ended after %s, want 5 s at most\n%s", time.Since(asked), r.Log)
	}
	want(t, r, 3, "cancelled")
	if len(r.Annotations) != 1 || r.Annotations[0].Title != "Cancelled" {
		t.Errorf("annotations: %+v", r.Annotations)
	}
}
