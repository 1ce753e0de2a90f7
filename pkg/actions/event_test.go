package actions

import (
	"os"
	"path/filepath"
	"testing"
)

// What a run is for, as GitHub's payloads say it.
func TestEvent(t *testing.T) {
	t.Parallel()
	const here = `"repository":{"full_name":"octocat/model"}`
	for _, c := range []struct {
		name, payload string
		want          Event
	}{
		{"nothing", "", Event{}},
		{"no JSON", "{", Event{}},
		{"push", `{"ref":"refs/heads/main",` + here + `}`, Event{}},
		{"pull request", `{"number":7,"pull_request":{"number":7,"head":{"repo":{"full_name":"octocat/model"}}},` + here + `}`, Event{PullRequest: 7}},
		{"of a fork", `{"number":7,"pull_request":{"number":7,"head":{"repo":{"full_name":"mallory/model"}}},` + here + `}`, Event{PullRequest: 7, Fork: true}},
		{"of a fork that is gone", `{"pull_request":{"number":7,"head":{"repo":null}},` + here + `}`, Event{PullRequest: 7, Fork: true}},
		{"merge group", `{"merge_group":{"head_sha":"1"},` + here + `}`, Event{}},
		{"workflow run", `{"workflow_run":{"head_repository":{"full_name":"octocat/model"}},` + here + `}`, Event{}},
		{"workflow run of a fork", `{"workflow_run":{"head_repository":{"full_name":"mallory/model"}},` + here + `}`, Event{Fork: true}},
		{"comment on an issue", `{"issue":{"number":3},` + here + `}`, Event{}},
		{"comment on a pull request", `{"issue":{"number":3,"pull_request":{"url":"x"}},` + here + `}`, Event{PullRequest: 3, Fork: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "event.json")
			if err := os.WriteFile(file, []byte(c.payload), 0o600); err != nil {
				t.Fatal(err)
			}
			w := New(func(name string) string {
				if name == "GITHUB_EVENT_PATH" {
					return file
				}
				return ""
			}, nil)
			if got := w.Event(); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
	if got := New(func(string) string { return "" }, nil).Event(); got != (Event{}) {
		t.Errorf("by hand: %+v", got)
	}
}
