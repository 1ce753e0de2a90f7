package release

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
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
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// released is an entry with a time that follows from its run.
func released(r Run, outcome string) Entry {
	return Entry{
		Run: r, Nonce: r.String() + r.Commit + outcome, Outcome: outcome, Started: time.Date(2026, 11, 28, 6, int(r.ID), 0, 0, time.UTC),
		Images: []Image{{Reference: "europe-docker.pkg.dev/acme/models/classifier:" + r.Commit, Digest: "sha256:" + strings.Repeat(fmt.Sprintf("%x", r.ID%16), 64)}},
	}
}

func TestTables(t *testing.T) {
	t.Parallel()
	hostile := released(run(4), "deployed\n::error::x")
	hostile.Actor, hostile.Workflow, hostile.URL = "a\x1b[31m\u202eb", "w\n::warning::y", "https://robot:hunter2@evil.example/x\r\n"
	hostile.Commit = "main\u2028::debug::"
	several := released(run(5), Deployed)
	several.Images = append(several.Images, Image{Reference: "b"}, Image{Reference: "c"})
	noted := released(run(2), "cancelled")
	noted.Note = "all was put back, and nobody waited until it serves again: Deployment default/model"
	var all strings.Builder
	for _, tt := range []struct {
		name     string
		releases []Entry
	}{
		{"nothing", nil},
		{"first, running", []Entry{released(run(1), "")}},
		{"first", []Entry{released(run(1), Deployed)}},
		{"second", []Entry{several, released(run(1), Deployed)}},
		{"rolled back", []Entry{released(run(3), RolledBack), released(run(2), Deployed), released(run(1), Deployed)}},
		{"put back, and not waited for", []Entry{noted, released(run(1), Deployed)}},
		{"went back", []Entry{released(attempt(1, 2), Deployed), released(run(3), "failed"), released(run(2), Deployed), released(run(1), Deployed)}},
		{"the same commit twice", []Entry{released(run(2), Unchanged), released(run(2), Deployed), released(run(1), Unchanged)}},
		{"by hand", []Entry{released(Run{Commit: "v1.2.3"}, Deployed), released(Run{Commit: "v1.2.2", Actor: "ann"}, Deployed)}},
		{"two at once", []Entry{released(run(3), ""), released(run(2), Superseded), released(run(1), Deployed)}},
		{"none good", []Entry{released(run(2), "cancelled"), released(run(1), "failed")}},
		{"hostile", []Entry{hostile, released(run(1), Deployed)}},
	} {
		fmt.Fprintf(&all, "# %s\n%s\n\n", tt.name, strings.Join(Table(tt.releases), "\n"))
	}
	fmt.Fprintf(&all, "# releases of a namespace\n%s\n", strings.Join(ListTable([]Listed{
		{Name: "classifier", Releases: []Entry{released(run(3), RolledBack), released(run(2), Deployed)}},
		{Name: "edited", Err: &UnreadableError{Namespace: space, ConfigMap: prefix + "edited", Err: &keyError{keyNewest, fmt.Errorf("is not JSON")}}},
		{Name: "empty"},
		{Name: "new", Releases: []Entry{released(run(4), "")}},
	}), "\n"))
	golden(t, "tables.golden", all.String())
}

func TestHistory(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	if got, err := History(t.Context(), s.client(t, nil), space, "model"); err != nil || got != nil {
		t.Errorf("of nothing: %v, %v", got, err)
	}
	for i := range int64(maxEntries + 3) {
		r := open(t, s.client(t, nil))
		c, err := r.Claim(t.Context(), ClaimOptions{Run: run(i + 1), Images: []Image{{Reference: "r.example/m:1"}}})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && (c.Previous == nil || c.Previous.ID != i || c.Before.ID != i) {
			t.Errorf("before run %d served %+v", i+1, c.Previous)
		}
		finish(t, r, Deployed)
	}
	got, err := History(t.Context(), s.client(t, nil), space, "model")
	if err != nil || len(got) != maxEntries || got[0].ID != maxEntries+3 || got[0].From != run(maxEntries+2).Commit || got[maxEntries-1].ID != 4 {
		t.Errorf("%d releases, %+v, %v", len(got), got[0], err)
	}
	if got[0].Started.IsZero() || got[0].Finished.Before(got[0].Started) || got[0].Images[0].Reference != "r.example/m:1" {
		t.Errorf("%+v", got[0])
	}
	s.edit("other", func(data map[string]any) { data["a"] = "b" }) // not labelled, and no record
	listed, err := List(t.Context(), s.client(t, nil), space)
	if err != nil || len(listed) != 2 || listed[0].Name != "model" || listed[1].Err == nil || len(listed[0].Releases) != maxEntries {
		t.Errorf("%v, %v", listed, err)
	}
}
