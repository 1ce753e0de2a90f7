package image

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
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

// prefix is what images live under.
func prefix(t *testing.T, host string) registry.Prefix {
	t.Helper()
	p, err := registry.ParsePrefix(host)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// only is the plan for one reference.
func only(t *testing.T, written, host, sha string) []Match {
	t.Helper()
	m, err := Plan([]string{written}, prefix(t, host), sha, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// resolve asks with a client of its own.
func resolve(ctx context.Context, matches []Match, o registry.Options) ([]Image, error) {
	client, err := registry.New(o)
	if err != nil {
		return nil, err
	}
	return Resolve(ctx, client, matches)
}
