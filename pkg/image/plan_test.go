package image

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/org/deploy-model-action/pkg/registry"
)

const (
	testHost   = "europe-west6-docker.pkg.dev/my-project/models"
	testSHA    = "3f2a1b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a"
	testImage  = testHost + "/celestial-bodies-classifier"
	testDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// plan reads the prefix too, as the input registry_host has it.
func plan(written []string, host, sha string, images []string) ([]Match, error) {
	at, err := registry.ParsePrefix(host)
	if err := errors.Join(err, CheckTag(sha)); err != nil {
		return nil, err
	}
	return Plan(written, at, sha, images)
}

func TestPlan(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		host    string
		written []string
		images  []string
		want    []string // "written -> target tag"
	}{
		{
			name: "the seed", host: testHost,
			written: []string{testImage + ":latest"},
			want:    []string{testImage + ":latest -> " + testImage + ":SHA SHA"},
		},
		{
			name: "an owner with capital letters", host: "ghcr.io/Acme-ML",
			written: []string{"ghcr.io/acme-ml/x:latest"},
			want:    []string{"ghcr.io/acme-ml/x:latest -> ghcr.io/acme-ml/x:SHA SHA"},
		},
		{
			name: "any tag and digest, each value once", host: testHost,
			written: []string{testImage, testImage + ":v1", testImage + "@" + testDigest, testImage + ":v1@" + testDigest, testImage},
			want: []string{
				testImage + " -> " + testImage + ":SHA SHA", testImage + ":v1 -> " + testImage + ":SHA SHA",
				testImage + "@" + testDigest + " -> " + testImage + ":SHA SHA", testImage + ":v1@" + testDigest + " -> " + testImage + ":SHA SHA",
			},
		},
		{
			name: "parts, not prefixes", host: testHost,
			written: []string{testHost + "-old/x:1", testHost + "x", testHost, "evil.com/" + testImage, testHost + "/a/b", "nginx", "", "europe-west6-docker.pkg.dev:444/my-project/models/x"},
			want:    []string{testHost + "/a/b -> " + testHost + "/a/b:SHA SHA"},
		},
		{
			name: "host with a port", host: "localhost:5000",
			written: []string{"localhost:5000/model:v1", "localhost:5001/model:v1", "localhost/model"},
			want:    []string{"localhost:5000/model:v1 -> localhost:5000/model:SHA SHA"},
		},
		{
			name: "host with a port and a path", host: "registry.example.com:5000/a",
			written: []string{"registry.example.com:5000/a/model", "registry.example.com:5000/b/model", "registry.example.com/a/model"},
			want:    []string{"registry.example.com:5000/a/model -> registry.example.com:5000/a/model:SHA SHA"},
		},
		{
			name: "short names of Docker Hub", host: "docker.io/library",
			written: []string{"nginx", "nginx:1.27", "docker.io/nginx", "index.docker.io/library/nginx", "bitnami/nginx", "ghcr.io/library/nginx"},
			want: []string{
				"nginx -> index.docker.io/library/nginx:SHA SHA", "nginx:1.27 -> index.docker.io/library/nginx:SHA SHA",
				"docker.io/nginx -> index.docker.io/library/nginx:SHA SHA", "index.docker.io/library/nginx -> index.docker.io/library/nginx:SHA SHA",
			},
		},
		{
			name: "hosts have no case", host: "Europe-West6-docker.pkg.dev/my-project/models",
			written: []string{testImage + ":latest"},
			want:    []string{testImage + ":latest -> " + testImage + ":SHA SHA"},
		},
		{
			name: "a project of a domain", host: "europe-docker.pkg.dev/example.com/my-project/models",
			written: []string{"europe-docker.pkg.dev/example.com/my-project/models/x"},
			want:    []string{"europe-docker.pkg.dev/example.com/my-project/models/x -> europe-docker.pkg.dev/example.com/my-project/models/x:SHA SHA"},
		},
		{
			name: "images by path, leaving others alone", host: testHost,
			written: []string{testImage + ":latest", testHost + "/sidecar:1"},
			images:  []string{"celestial-bodies-classifier"},
			want:    []string{testImage + ":latest -> " + testImage + ":SHA SHA"},
		},
		{
			name: "images by full name", host: testHost,
			written: []string{"ghcr.io/acme/model:v1", testImage},
			images:  []string{" ghcr.io/acme/model ", ""},
			want:    []string{"ghcr.io/acme/model:v1 -> ghcr.io/acme/model:SHA SHA"},
		},
		{
			name: "a local name becomes ours", host: testHost,
			written: []string{"celestial-bodies-classifier:latest", "nginx"},
			images:  []string{"celestial-bodies-classifier"},
			want:    []string{"celestial-bodies-classifier:latest -> " + testImage + ":SHA SHA"},
		},
		{
			name: "images by path with several parts", host: testHost,
			written: []string{testHost + "/team/model:v1", testHost + "/model:v1"},
			images:  []string{"team/model"},
			want:    []string{testHost + "/team/model:v1 -> " + testHost + "/team/model:SHA SHA"},
		},
		{
			name: "replaced by a tag, by a digest, by both, by neither", host: testHost,
			written: []string{testHost + "/a", testHost + "/b", testHost + "/c", testHost + "/d:v1"},
			images:  []string{"a=ghcr.io/acme/a:v2", "b = ghcr.io/acme/b@" + testDigest, "c=ghcr.io/acme/c:v2@" + testDigest, "d=ghcr.io/acme/d"},
			want: []string{
				testHost + "/a -> ghcr.io/acme/a:v2 v2", testHost + "/b -> ghcr.io/acme/b@" + testDigest + " ",
				testHost + "/c -> ghcr.io/acme/c@" + testDigest + " v2", testHost + "/d:v1 -> ghcr.io/acme/d:SHA SHA",
			},
		},
		{
			name: "placeholders, with and without something like a tag", host: testHost,
			written: []string{"LOCATION-docker.pkg.dev/PROJECT_ID/REPOSITORY/IMAGE:TAG", "${REGISTRY}/${IMAGE:-x}:${TAG}", "<%= image %>", "{{ .Values.image }}:{{ .Values.tag }}", "<image>", "$(IMAGE)", "__IMAGE__"},
			images: []string{
				"LOCATION-docker.pkg.dev/PROJECT_ID/REPOSITORY/IMAGE=" + testHost + "/a", "${REGISTRY}/${IMAGE:-x}=" + testHost + "/b:v2", "<%= image %>=" + testHost + "/c",
				"{{ .Values.image }}:{{ .Values.tag }}=" + testHost + "/d", "<image> = " + testHost + "/e", "$(IMAGE)=" + testHost + "/f", "__IMAGE__=" + testHost + "/g",
			},
			want: []string{
				"LOCATION-docker.pkg.dev/PROJECT_ID/REPOSITORY/IMAGE:TAG -> " + testHost + "/a:SHA SHA", "${REGISTRY}/${IMAGE:-x}:${TAG} -> " + testHost + "/b:v2 v2", "<%= image %> -> " + testHost + "/c:SHA SHA",
				"{{ .Values.image }}:{{ .Values.tag }} -> " + testHost + "/d:SHA SHA", "<image> -> " + testHost + "/e:SHA SHA", "$(IMAGE) -> " + testHost + "/f:SHA SHA", "__IMAGE__ -> " + testHost + "/g:SHA SHA",
			},
		},
		{
			name: "two items for one image that agree", host: testHost,
			written: []string{testImage},
			images:  []string{"celestial-bodies-classifier", testImage},
			want:    []string{testImage + " -> " + testImage + ":SHA SHA"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			matches, err := plan(c.written, c.host, testSHA, c.images)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, m := range matches {
				got = append(got, strings.ReplaceAll(fmt.Sprintf("%s -> %s %s", m.Written, m.Target.Name(), m.Tag), testSHA, "SHA"))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestPlanMistakes shows each mistake as a user sees it.
func TestPlanMistakes(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range 14 {
		many = append(many, fmt.Sprintf("ghcr.io/acme/model-%02d:v1", i))
	}
	seed := []string{testImage + ":latest", "nginx:1.27"}
	var out strings.Builder
	for _, c := range []struct {
		name, host, sha string
		written, images []string
		noMatch         bool
	}{
		{name: "scheme", host: "https://" + testHost + "/", written: seed},
		{name: "slash at the end", host: testHost + "/", written: seed},
		{name: "empty", host: "", sha: "", written: seed},
		{name: "no path on pkg.dev", host: "europe-west6-docker.pkg.dev", written: seed},
		{name: "no repository on pkg.dev", host: "europe-west6-docker.pkg.dev/my-project", written: seed},
		{name: "project of a domain alone", host: "europe-west6-docker.pkg.dev/example.com/my-project", written: seed},
		{name: "project of a domain with its colon", host: "europe-west6-docker.pkg.dev/example.com:my-project/models", written: seed},
		{name: "not Docker", host: "europe-west6-python.pkg.dev/my-project/models", written: seed},
		{name: "no project on gcr.io", host: "eu.gcr.io", written: seed},
		{name: "no owner on ghcr.io", host: "ghcr.io", written: seed},
		{name: "no owner on Docker Hub", host: "docker.io", written: seed},
		{name: "no host", host: "my-project/models", written: seed},
		{name: "host with a space", host: "registry example.com/models", written: seed},
		{name: "an image", host: testImage + ":latest", written: seed},
		{name: "an image by digest", host: testImage + "@" + testDigest, written: seed},
		{name: "two slashes", host: "ghcr.io/acme//models", written: seed},
		{name: "dots", host: "ghcr.io/acme/../models", written: seed},
		{name: "letters", host: "ghcr.io/acme/mödels", written: seed},
		{name: "the image itself", host: testImage, written: seed, noMatch: true},
		{name: "branch as sha", host: testHost, sha: "feature/x", written: seed},
		{name: "digest as sha", host: testHost, sha: testDigest, written: seed},
		{name: "dot first in sha", host: testHost, sha: ".x", written: seed},
		{name: "long sha", host: testHost, sha: strings.Repeat("a", 129), written: seed},
		{name: "two at once", host: "models", sha: "a b", written: seed},
		{name: "no match", host: "europe-west6-docker.pkg.dev/my-project/model", written: append([]string{"nginx"}, seed...), noMatch: true},
		{name: "no match among many", host: testHost, written: many, noMatch: true},
		{name: "no image at all", host: testHost, noMatch: true},
		{name: "misspelt below the host", host: testHost, written: append([]string{testHost + "/Classifier:latest", testHost + "/$MODEL:latest"}, seed...)},
		{name: "unknown item, nearest first", host: testHost, written: seed, images: []string{"celestial-body-classifier", "celestial-bodies-classifier"}, noMatch: true},
		{name: "unknown full name", host: testHost, written: seed, images: []string{"ghcr.io/acme/model"}, noMatch: true},
		{name: "item with a tag", host: testHost, written: seed, images: []string{"celestial-bodies-classifier:latest"}},
		{name: "item with host and tag", host: testHost, written: seed, images: []string{testImage + ":latest"}},
		{name: "item that is no name", host: testHost, written: seed, images: []string{"Celestial", "a//b", "=ghcr.io/acme/x:v1"}},
		{name: "reference without a host", host: testHost, written: seed, images: []string{"celestial-bodies-classifier=acme/x:v1"}},
		{name: "reference with a scheme", host: testHost, written: seed, images: []string{"celestial-bodies-classifier=https://ghcr.io/acme/x:v1"}},
		{name: "reference with a bad tag", host: testHost, written: seed, images: []string{"celestial-bodies-classifier=ghcr.io/acme/x:-v1"}},
		{name: "reference with a bad digest", host: testHost, written: seed, images: []string{"celestial-bodies-classifier=ghcr.io/acme/x@sha256:12"}},
		{name: "reference that is none", host: testHost, written: seed, images: []string{"celestial-bodies-classifier=ghcr.io/Acme/x", "nginx="}},
		{name: "placeholder beside a good image", host: testHost, written: append([]string{"${IMAGE}"}, seed...)},
		{name: "placeholder without a reference", host: testHost, written: []string{"${IMAGE}"}, images: []string{"${IMAGE}", "<%= image %>"}},
		{name: "placeholder that is not there", host: testHost, written: seed, images: []string{"${IMAGE}=" + testImage}, noMatch: true},
		{name: "two items that differ", host: testHost, written: seed, images: []string{"celestial-bodies-classifier", testImage + "=ghcr.io/acme/x:v1"}},
	} {
		if c.sha == "" && c.host != "" {
			c.sha = testSHA
		}
		matches, err := plan(c.written, c.host, c.sha, c.images)
		if err == nil {
			t.Errorf("%s: no error, but %v", c.name, matches)
			continue
		}
		var none *NoMatchError
		if errors.As(err, &none) != c.noMatch {
			t.Errorf("%s: %T, want a NoMatchError: %v", c.name, err, c.noMatch)
		}
		fmt.Fprintf(&out, "%s:\n  %s\n", c.name, strings.ReplaceAll(err.Error(), "\n", "\n  "))
	}
	golden(t, "plan.golden", out.String())
}

// FuzzPlan holds that whatever the inputs and the manifests say, a match leads to
// a reference that a registry can be asked for, and never to another host than
// one that the inputs name.
func FuzzPlan(f *testing.F) {
	f.Add(testImage+":latest", testHost, testSHA, "")
	f.Add("nginx", "docker.io/library", "v1", "nginx")
	f.Add(testImage, testHost, "v1", "celestial-bodies-classifier=ghcr.io/acme/x:v2@"+testDigest)
	f.Add("localhost:5000/x@"+testDigest, "localhost:5000", "a.b_c-D", "x=localhost:5000/y")
	f.Add("a/b:c", "[::1]:5000/a", "x", "a/b=[::1]/c:d")
	f.Fuzz(func(t *testing.T, written, host, sha, item string) {
		var items []string
		if item != "" {
			items = []string{item}
		}
		matches, err := plan([]string{written, testImage}, host, sha, items)
		if (err == nil) == (len(matches) == 0) {
			t.Fatalf("%d matches and error %v", len(matches), err)
		}
		for _, m := range matches {
			again, err := name.ParseReference(m.Target.Name())
			if err != nil || again.Name() != m.Target.Name() {
				t.Errorf("target %q reads as %v: %v", m.Target.Name(), again, err)
			}
			if tag, ok := m.Target.(name.Tag); ok && (tag.TagStr() != m.Tag || !registry.ValidTag(m.Tag)) {
				t.Errorf("tag %q of %q", m.Tag, m.Target.Name())
			}
			if p := pinned(m, testDigest); strings.ContainsAny(p, " \n\t\"'") {
				t.Errorf("pinned %q", p)
			}
			if registry := registry.DisplayName(m.Target.Context().RegistryStr()); !strings.Contains(strings.ToLower(host+" "+item), strings.ToLower(registry)) && registry != "docker.io" {
				t.Errorf("target %q is on a host that no input names: %q %q", m.Target.Name(), host, item)
			}
		}
	})
}
