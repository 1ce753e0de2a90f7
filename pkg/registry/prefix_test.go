package registry

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
)

// What ParsePrefix refuses is shown in full by the golden files of pkg/image.
func TestPrefix(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ host, image, relative string }{
		{"europe-west6-docker.pkg.dev/p/models", "europe-west6-docker.pkg.dev/p/models/x:v1", "x"},
		{"europe-west6-docker.pkg.dev/p/models", "europe-west6-docker.pkg.dev/p/models/a/b", "a/b"},
		{"europe-west6-docker.pkg.dev/p/models", "europe-west6-docker.pkg.dev/p/models-old/x", ""},
		{"europe-west6-docker.pkg.dev/p/models", "europe-west6-docker.pkg.dev/p/models", ""},
		{"europe-west6-docker.pkg.dev/p/models", "us-docker.pkg.dev/p/models/x", ""},
		{"registry.example.com:5000", "registry.example.com:5000/x", "x"},
		{"registry.example.com:5000", "registry.example.com/x", ""},
		{"Registry.Example.com/m", "registry.example.com/m/x", "x"},
		{"docker.io/acme", "acme/x", "x"},
		{"docker.io/acme", "python", ""},
	} {
		p, err := ParsePrefix(c.host)
		if err != nil {
			t.Errorf("%s: %v", c.host, err)
			continue
		}
		ref, err := name.ParseReference(c.image)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Relative(ref.Context()); got != c.relative || p.Contains(ref.Context()) != (c.relative != "") {
			t.Errorf("%s of %s = %q, want %q", c.image, c.host, got, c.relative)
		}
		if (Prefix{}).Contains(ref.Context()) {
			t.Errorf("the zero prefix contains %s", c.image)
		}
	}
}

func FuzzParsePrefix(f *testing.F) {
	for _, seed := range []string{"europe-west6-docker.pkg.dev/p/r", "docker.io/acme", "localhost:5000", "https://x/", "a/../b", "gcr.io", "x.y/A", "[::1]:5000/x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		p, err := ParsePrefix(host)
		if err != nil {
			return
		}
		again, err := ParsePrefix(p.String())
		if err != nil || again != p {
			t.Errorf("%q is shown as %q, which is %v, %v", host, p, again, err)
		}
		if ref, err := name.NewRepository(p.String() + "/x"); err != nil || p.Relative(ref) != "x" {
			t.Errorf("%q does not contain %v: %v", p, ref, err)
		}
	})
}

func TestValidTag(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]bool{
		"latest": true, "V1.0_a-b": true, "_": true, strings.Repeat("a", 128): true,
		"": false, ".a": false, "-a": false, "a b": false, "a/b": false, "a:b": false, "ä": false, strings.Repeat("a", 129): false, "a\n": false,
	} {
		if got := ValidTag(tag); got != want {
			t.Errorf("ValidTag(%q) = %v", tag, got)
		}
	}
}
