package report

import (
	"strings"
	"testing"

	"github.com/org/deploy-model-action/pkg/actions"
)

// TestCommit holds that the commit that is shown is the one that was deployed, and
// not the one that the workflow runs for, where these are two.
func TestCommit(t *testing.T) {
	t.Parallel()
	head, older := strings.Repeat("a", 40), strings.Repeat("b", 40)
	for name, c := range map[string]struct{ sha, ref, want string }{
		"the run's":                   {head, "refs/heads/main", head},
		"none, by hand":               {"", "", head},
		"an older one":                {older, "refs/heads/main", older},
		"the run's, short":            {head[:7], "refs/heads/main", head},
		"an older one, short":         {older[:12], "refs/heads/main", older[:12]},
		"an older one, of a builder":  {"sha-" + older[:7], "refs/heads/main", older[:7]},
		"the run's tag":               {"v1.2.0", "refs/tags/v1.2.0", head},
		"another tag":                 {"v1.1.0", "refs/tags/v1.2.0", ""},
		"a tag, by hand, from a head": {"v1.1.0", "refs/heads/main", ""},
	} {
		r := deployed()
		r.Commit = c.sha
		if got := commit(r, actions.Run{SHA: head, Ref: c.ref}); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		text := Summary(r, actions.Run{SHA: head, Ref: c.ref, ServerURL: "https://github.com", Repository: "acme/model"})
		if has := strings.Contains(text, "/commit/"+head); has != (c.want == head) {
			t.Errorf("%s: the summary names the head: %v", name, has)
		}
		if c.want != "" && !strings.Contains(text, "/commit/"+c.want) {
			t.Errorf("%s: the summary has no link to %s", name, c.want)
		}
	}
}
