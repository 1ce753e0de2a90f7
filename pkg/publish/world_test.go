package publish

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/registry"
)

var update = flag.Bool("update", false, "write the golden files")

// effort is what differs from run to run.
var effort = regexp.MustCompile(`after \d+ attempts in [\d.]+m?s`)

func golden(t *testing.T, file, got string) {
	t.Helper()
	got = effort.ReplaceAllString(got, "after N attempts in T")
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got), run with -update to accept:\n%s", file, diff)
	}
}

// secret is a token source whose tokens can be told from all else.
const secret = "ya29.google"

var googleSource = oauth2.StaticTokenSource(&oauth2.Token{AccessToken: secret})

func isGoogleToken(user, password string) bool {
	return user == "oauth2accesstoken" && password == secret
}

const (
	testSHA   = "3f2a1b9c8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a"
	testHost  = "europe-west6-docker.pkg.dev/my-project/models"
	testImage = testHost + "/celestial-bodies-classifier"
	pkgDev    = "europe-west6-docker.pkg.dev"
)

// prefix is what images live under.
func prefix(t *testing.T, host string) registry.Prefix {
	t.Helper()
	p, err := registry.ParsePrefix(host)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// only is one image to publish, at a tag, whatever tag it is written with.
func only(t *testing.T, image, tag string) []name.Tag {
	t.Helper()
	ref := must[name.Reference](t)(name.ParseReference(image))
	return []name.Tag{ref.Context().Tag(tag)}
}

// request is one publish of a test.
type request struct {
	Options
	Registry registry.Options
}

// run publishes, with a client of its own.
func run(ctx context.Context, targets []name.Tag, r request) ([]Published, error) {
	r.Targets, r.Registry.Prefix = targets, r.Prefix
	client, err := registry.New(r.Registry)
	if err != nil {
		return nil, err
	}
	return Images(ctx, client, r.Options)
}

func must2(t *testing.T, reference string) name.Reference {
	t.Helper()
	return must[name.Reference](t)(name.ParseReference(reference))
}
