package cluster

import (
	"strings"
	"testing"
)

func TestParseName(t *testing.T) {
	t.Parallel()
	want := Name{"my-project", "europe-west6-a", "model"}
	for _, c := range []struct {
		name                       string
		cluster, location, project string
		want                       Name
	}{
		{"short", "model", "europe-west6-a", "my-project", want},
		{"spaces", " model\n", "\teurope-west6-a ", " my-project ", want},
		{"full", "projects/my-project/locations/europe-west6-a/clusters/model", "", "", want},
		{"full, and the same again", "projects/my-project/locations/europe-west6-a/clusters/model", "europe-west6-a", "my-project", want},
		{"full, of a zone", "projects/my-project/zones/europe-west6-a/clusters/model", "", "", want},
		{"self link", "https://container.googleapis.com/v1/projects/my-project/zones/europe-west6-a/clusters/model", "", "", want},
		{"link of a fleet", "//container.googleapis.com/projects/my-project/locations/europe-west6-a/clusters/model", "", "", want},
		{"full, and the project's number", "projects/my-project/locations/europe-west6-a/clusters/model", "", "123456789012", want},
		{"region", "m", "europe-west6", "my-project", Name{"my-project", "europe-west6", "m"}},
		{"AI zone", "m", "us-central1-ai1a", "my-project", Name{"my-project", "us-central1-ai1a", "m"}},
		{"project of a domain", "m", "europe-west6", "example.com:my-project", Name{"example.com:my-project", "europe-west6", "m"}},
		{"project's number", "m", "europe-west6", "123456789012", Name{"123456789012", "europe-west6", "m"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got, err := ParseName(c.cluster, c.location, c.project); err != nil || got != c.want {
				t.Errorf("ParseName = %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

// TestParseNameMistakes shows each mistake as a user sees it.
func TestParseNameMistakes(t *testing.T) {
	t.Parallel()
	const full = "projects/my-project/locations/europe-west6-a/clusters/model"
	var text strings.Builder
	for _, c := range []struct{ name, cluster, location, project string }{
		{"nothing", "", "", ""},
		{"capitals", "Model", "europe-west6-a", "my-project"},
		{"too long", strings.Repeat("m", 41), "europe-west6-a", "my-project"},
		{"ends with a dash", "model-", "europe-west6-a", "my-project"},
		{"no zone", "model", "", "my-project"},
		{"a country", "model", "switzerland", "my-project"},
		{"display name of a project", "model", "europe-west6-a", "My Project"},
		{"neither short nor full", "clusters/model", "europe-west6-a", "my-project"},
		{"path that leaves", "projects/my-project/locations/../clusters/model", "", ""},
		{"two zones", full, "us-central1", ""},
		{"two projects", full, "", "other-project"},
		{"all at once", full, "us-central1", "other-project"},
		{"query", "model?alt=media", "europe-west6-a/..", "my-project#"},
		{"workflow command", "model\n::error::x", "europe-west6-a", "my-project"},
	} {
		n, err := ParseName(c.cluster, c.location, c.project)
		if err == nil || n != (Name{}) {
			t.Errorf("%s: ParseName = %v, %v, want an error", c.name, n, err)
			continue
		}
		text.WriteString(c.name + ":\n" + indent(err.Error()))
	}
	golden(t, "names.golden", text.String())
}

func FuzzParseName(f *testing.F) {
	f.Add("model", "europe-west6-a", "my-project")
	f.Add("projects/my-project/locations/europe-west6-a/clusters/model", "", "123456789012")
	f.Add("//container.googleapis.com/projects/p/zones/z/clusters/c", "z", "p")
	f.Add("projects/a/../b/locations/c/clusters/d", "\x00", "\xff")
	f.Fuzz(func(t *testing.T, cluster, location, project string) {
		n, err := ParseName(cluster, location, project)
		if err != nil {
			if n != (Name{}) {
				t.Errorf("an error and the name %q", n)
			}
			return
		}
		again, err := ParseName(n.String(), "", "")
		if err != nil || again != n {
			t.Errorf("ParseName(%q) = %v, %v, want %v", n.String(), again, err, n)
		}
		// It becomes a path and a command of gcloud.
		if s := n.String(); strings.Count(s, "/") != 5 || strings.ContainsAny(s, " \t\r\n\"'`$;&|<>\\?#%") || strings.Contains(s, "/../") {
			t.Errorf("name %q", s)
		}
	})
}
