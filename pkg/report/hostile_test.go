package report

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/org/deploy-model-action/pkg/actions"
	"github.com/org/deploy-model-action/pkg/deploy"
)

// hostile are texts that would leave their place in a document if they were
// written as they are.
var hostile = []string{
	"| a | b |", "a | b", `a \| b`, `a \\| b \`, "a &#124; b", "|", "x\n| --- |", "--- | ---",
	"`", "``", "```", "```\n# left", "`````````", "~~~", "```mermaid\ngantt", "`a` `b`", "a ` b", "` <b>`",
	"<b>bold", "</code>", "</details>", "<details>", "<!--", "-->", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
	"<https://evil.example>", "&lt;b&gt;", "&amp;#60;", "&#60;b&#62;", "\"onmouseover=x",
	"[a](https://evil.example)", "![a](https://evil.example/pixel.png)", "[a]: https://evil.example", "[^1]", "[ ] todo", "[!NOTE]",
	"](https://evil.example)", "a](javascript:alert(1)", ") evil", "a) [b](c", "https://evil.example/a|b)c(d",
	"*bold* **bolder**", "_emphasis_ __strong__ snake_case_name _", "~~gone~~", "$x$ and $$y$$", "$`x`$", "@octocat @org/team", "#1 octocat/model#2",
	"# heading", "## heading", "===", "---", "***", "- item", "+ item", "* item", "1. item", "1) item", "999999999. item", "> quote", "    code", "\tcode",
	"a\n\n## forged", "a\r## forged", "a\r\n\r\n## forged", "a\u2028## forged", "a\u0085## forged", "a\v\f## forged", "line  \nbreak", `line\` + "\nbreak",
	"\x00", "\x1b[31m", "\xff\xfe", "\u202egnp.exe", "\u200b", "\ufeff## x", "\u2066|\u2069", "e\u0301\u0301\u0301", "🚀 :tada:",
	"click me", "section x", "title x", "%%{init: {}}%%", "a:b;c#d", "x :crit, 0, 1", "dateFormat x",
	"projects/x", "data:text/html,x", "javascript:alert(1)", "http://", "https://a b", "HTTPS://x",
	strings.Repeat("`", 300), strings.Repeat("|", 300), strings.Repeat("<", 300), strings.Repeat("long ", 300),
}

// everywhere has the text in every place that a Result and a Run have for one.
func everywhere(s string) (*deploy.Result, actions.Run) {
	message := strings.NewReplacer("\n", " ", "\r", " ").Replace(s) // its lines are items by design
	r := &deploy.Result{
		Outcome: deploy.Failed, Started: start, Finished: at(1), URL: s, Host: s, Health: s, Silent: s, Unasked: s, Namespace: s,
		Smoke:     []deploy.Reply{{Name: s, Asked: s, Expected: []string{s, s}, Got: s, Times: 2}},
		Cluster:   deploy.Cluster{Project: s, Location: s, Name: s, Endpoint: s, EndpointKind: s},
		Images:    []deploy.Image{{Written: s, Reference: s, Digest: s, Pinned: s}, {Reference: s, Digest: s, Pinned: "gcr.io/" + s}},
		Plan:      []deploy.Intent{{Change: deploy.Change{Kind: s, Namespace: s, Name: s, Action: s, Line: s}, Notes: []string{s}, Restarts: []string{s}, Diff: []string{s, "-" + s, "+" + s}}},
		Notices:   []deploy.Problem{{Title: s, Message: s}},
		Published: []deploy.Published{{Reference: s, Tags: []string{s, s}, Digest: s, Source: s, Why: s}, {Reference: s, Source: s}},
		Changes: []deploy.Change{
			{Kind: s, Namespace: s, Name: s, Action: s, Line: s, File: s, Took: time.Second},
			{Kind: "Deployment", Namespace: s, Name: s, Action: "unchanged", Took: time.Second},
		},
		Rollouts: []deploy.Rollout{{Object: "Deployment " + s, Message: s, Started: start, Finished: at(1)}},
		Restored: []deploy.Restored{{Object: s, Action: s, Message: s}},
		Failures: []deploy.Failure{
			{Object: s, Reason: s, Cause: "cause " + s, Fix: "fix " + s, Events: []string{s, s}, Logs: []string{s, s, s}, LogsOf: s},
			{Object: "told", Reason: "told", Cause: "told " + message, Fix: message},
		},
		Phases: []deploy.Phase{{Name: s, Started: start, Finished: at(1)}, {Name: s, Started: start, Finished: at(1), Failed: true}},
		Problems: []deploy.Problem{
			{Title: s, Message: "no: " + message, File: s, Line: 7},
			{Title: s, Message: "told: told " + message + "; " + message},
			{Title: s, Message: "no: " + message},
		},
	}
	return r, actions.Run{
		Repository: s, SHA: s, Ref: s, RunID: s, RunNumber: s, RunAttempt: s, ServerURL: "https://github.com", Workflow: s, Job: s, Actor: s, EventName: s,
	}
}

// skeleton is the structure of a summary without its texts. It fails the test
// for anything in it that this package does not write itself.
func skeleton(t *testing.T, markdown string) []string {
	t.Helper()
	var all []string
	fence, inside, folds := "", 0, 0
	for l := range strings.SplitSeq(markdown, "\n") {
		if fence != "" {
			if len(fence) > 255 {
				t.Errorf("a fence of %d, of which GitHub counts 255", len(fence))
			}
			if l == fence {
				all = append(all, fmt.Sprintf("fence of %d lines", inside))
				fence = ""
			} else if strings.HasPrefix(strings.TrimSpace(l), fence) {
				t.Errorf("inside a fence: %.80q", l)
			}
			inside++
			continue
		}
		if m := fenceOpens.FindStringSubmatch(l); m != nil {
			fence, inside = m[1], 0
			continue
		}
		prefix := blocks.FindString(l)
		switch prefix {
		case "<details><summary>":
			folds++
		case "</details>":
			folds--
		}
		rest := links.ReplaceAllString(strings.TrimPrefix(l, prefix), "")
		rest = tags.ReplaceAllString(rest, "")
		rest = entities.ReplaceAllString(rest, "")
		if i := strings.IndexAny(rest, "<&[]`\\~$@"); i >= 0 && !strings.HasPrefix(prefix, "> [!") {
			t.Errorf("%q in %.200q", rest[i], l)
		}
		if strings.ContainsFunc(rest, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
			t.Errorf("a character that is not seen in %.200q", l)
		}
		for i, r := range rest {
			if r == '_' && (i == 0 || i == len(rest)-1 || strings.ContainsAny(rest[i-1:i]+rest[i+1:i+2], " _*()!\"'")) {
				t.Errorf("emphasis in %.200q", l)
			}
		}
		all = append(all, fmt.Sprintf("%s, %d pipes, %d stars, %d folds", prefix, strings.Count(l, "|"), strings.Count(rest, "*"), strings.Count(l, "details>")))
	}
	if fence != "" {
		t.Error("a fence stays open")
	}
	if folds != 0 {
		t.Errorf("%d folds stay open", folds)
	}
	return all
}

var (
	fenceOpens = regexp.MustCompile("^(```+)(text|diff|mermaid)$")
	blocks     = regexp.MustCompile(`^(## |### |> \[!CAUTION\]|> - |>   \*\*What to do:\*\* |> \*\*|>|\| |- |<details><summary>|</details>|)`)
	links      = regexp.MustCompile("\\[[^\\][()]*\\]\\(https?://[^ ()<>|`\"\\\\*_\\][]*\\)|\\[[^\\][`]*\\]\\(https?://[^ ()<>|`\"\\\\*_\\][]*\\)")
	tags       = regexp.MustCompile(`</?(code|details|summary)>|<br>`)
	entities   = regexp.MustCompile(`&(amp|lt|gt|nbsp|#\d+);`)
	bars       = regexp.MustCompile(`^    [✓✗] [A-Za-z0-9 ._/-]* \([0-9a-z. ]+\) :(active|crit), \d+, \d+$`)
)

// checkHostile compares the structure of a summary full of s with that of one
// full of an innocent word.
func checkHostile(t *testing.T, s string) {
	t.Helper()
	if line(s) == "" || isCommit(s) {
		s = "x" + s
	}
	got := Summary(everywhere(s))
	if diff := cmp.Diff(skeleton(t, Summary(everywhere("x"))), skeleton(t, got)); diff != "" {
		t.Errorf("%.60q changes the structure (-innocent +hostile):\n%s", s, diff)
	}
	_, chart, _ := strings.Cut(got, "```mermaid\n")
	chart, _, _ = strings.Cut(chart, "```\n")
	for l := range strings.Lines(chart) {
		if strings.Contains(l, " :") && !bars.MatchString(strings.TrimSuffix(l, "\n")) {
			t.Errorf("bar %.80q", l)
		}
	}
	if bars := strings.Count(chart, " :active, ") + strings.Count(chart, " :crit, "); bars != 3 || strings.Count(chart, "\n") != 10 {
		t.Errorf("%d bars in the chart\n%s", bars, chart)
	}
}

func TestHostileTextStaysInItsPlace(t *testing.T) {
	t.Parallel()
	for _, s := range hostile {
		checkHostile(t, s)
		checkHostile(t, "x "+s)
		checkHostile(t, s+" x")
	}
}

func FuzzSummary(f *testing.F) {
	for _, s := range hostile {
		if len(s) < 1000 {
			f.Add(s)
		}
	}
	f.Fuzz(func(t *testing.T, s string) { checkHostile(t, s) })
}

// Names, messages and paths of the usual kind are written as they are, so that
// the source of a summary can be read.
func TestOrdinaryTextIsReadable(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"celestial-bodies-classifier-deployment", "europe-west6-docker.pkg.dev/my-project/models/m:latest", "sha256:5f0e",
		`container "model" crashed with exit code 1 (3 times); it's out of memory: 512Mi > 1Gi`[:60],
		"spec.template.spec.containers{model}.image", "celestial_bodies_classifier", "50 % of 3, 1.5 GiB + 2", "größer, 模型, 🚀",
		"GET http://34.65.72.12/readyz: 200 OK",
	} {
		if got := text(s); got != s {
			t.Errorf("text(%q) = %q", s, got)
		}
	}
	if got := prose("run `gcloud projects list --filter='x'`, or `a|b`"); got != "run <code>gcloud projects list --filter='x'</code>, or <code>a&#124;b</code>" {
		t.Errorf("prose: %q", got)
	}
}

// Whatever its size, a summary is within what GitHub shows, and complete in itself.
func TestSummaryIsBounded(t *testing.T) {
	t.Parallel()
	r := thousand()
	long := strings.Repeat("<|`", 2000)
	for i := range 200 {
		r.Problems = append(r.Problems, deploy.Problem{Title: long, Message: long, File: long, Line: i})
		r.Restored = append(r.Restored, deploy.Restored{Object: long, Action: "left", Message: long})
		r.Images = append(r.Images, deploy.Image{Reference: long, Digest: long})
		f := deploy.Failure{Object: long, Cause: long, Fix: long, LogsOf: long}
		for range 50 {
			f.Events, f.Logs = append(f.Events, long), append(f.Logs, long)
		}
		r.Failures = append(r.Failures, f)
	}
	got := Summary(r, testRun)
	if len(got) > actions.MaxSummary {
		t.Errorf("%d bytes", len(got))
	}
	skeleton(t, got)
	for _, part := range []string{"## ✅ Deployed", "> [!CAUTION]", "### Why", tooLong} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is not in it", part)
		}
	}
}
