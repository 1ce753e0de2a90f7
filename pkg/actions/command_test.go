package actions

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// inside is the least that the runner's environment holds.
func inside(name string) string {
	if name == "GITHUB_ACTIONS" {
		return "true"
	}
	return ""
}

// A secret is not shown where nobody obeys the command that hides it.
func TestMaskByHand(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	New(func(string) string { return "" }, &out).Mask("ya29.secret")
	if out.Len() > 0 {
		t.Errorf("printed %q", out.String())
	}
}

// printed is what the function makes a new step print.
func printed(f func(w *Workflow)) string {
	var out strings.Builder
	f(New(inside, &out))
	return out.String()
}

func TestWireForm(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		print func(w *Workflow)
		want  string
	}{
		"line":            {func(w *Workflow) { w.Printf("%d of %d", 1, 2) }, "1 of 2\n"},
		"empty line":      {func(w *Workflow) { w.Printf("") }, "\n"},
		"group":           {func(w *Workflow) { w.Group("Apply") }, "::group::Apply\n"},
		"group, 2 lines":  {func(w *Workflow) { w.Group("100%\nApply") }, "::group::100%25 Apply\n"},
		"endgroup":        {func(w *Workflow) { w.EndGroup() }, "::endgroup::\n"},
		"warning":         {func(w *Workflow) { w.Warning("a: b, c") }, "::warning::a: b, c\n"},
		"error":           {func(w *Workflow) { w.Annotate(Annotation{Message: "no"}) }, "::error::no\n"},
		"error, 2 lines":  {func(w *Workflow) { w.Annotate(Annotation{Message: "a\nb\r\n100%"}) }, "::error::a%0Ab%0A100%25\n"},
		"error at a file": {func(w *Workflow) { w.Annotate(Annotation{Message: "no", File: "kubernetes/a.yaml"}) }, "::error file=kubernetes/a.yaml::no\n"},
		"error at a line": {func(w *Workflow) {
			w.Annotate(Annotation{Level: "error", Title: "Manifest: a, b", Message: "no", File: "a,b:c.yaml", Line: 12})
		}, "::error file=a%2Cb%3Ac.yaml,line=12,title=Manifest%3A a%2C b::no\n"},
		"notice":         {func(w *Workflow) { w.Annotate(Annotation{Level: "notice", Title: "t", Message: "m"}) }, "::notice title=t::m\n"},
		"mask":           {func(w *Workflow) { w.Mask("ya29.c.b0Aa") }, "::add-mask::ya29.c.b0Aa\n"},
		"mask, 100%":     {func(w *Workflow) { w.Mask("100%0Asecret") }, "::add-mask::100%250Asecret\n"},
		"mask, trimmed":  {func(w *Workflow) { w.Mask("  secret\n") }, "::add-mask::secret\n"},
		"mask, short":    {func(w *Workflow) { w.Mask("{\n}\nabc") }, `::add-mask::{\n}\nabc` + "\n"},
		"mask, nothing":  {func(w *Workflow) { w.Mask(" \n") }, ""},
		"mask, by lines": {func(w *Workflow) { w.Mask("-----BEGIN-----\nMIIE\"+\\\r\nabcdefgh\n") }, "::add-mask::-----BEGIN-----\n::add-mask::MIIE\"+\\\n::add-mask::abcdefgh\n" + `::add-mask::-----BEGIN-----\nMIIE\"+\\\r\nabcdefgh` + "\n"},
	} {
		if diff := cmp.Diff(c.want, printed(c.print)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Whatever form a secret is printed in after it was masked, the runner's stars
// cover it: the runner replaces the exact text of each mask.
func TestMaskedSecretIsNotShown(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{
		"simple-secret",
		"-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQEF\n-----END PRIVATE KEY-----\n",
		"tab\tand \"quote\" \\ slash\r\nsecond line",
		"with\u200bzero width\u202e and \x1b[1mletters",
		"first\u2028second part\u0085third part",
		"broken \xff UTF-8 secret",
	} {
		asJSON, err := json.Marshal(map[string]string{"k": secret})
		if err != nil {
			t.Fatal(err)
		}
		for name, shown := range map[string]string{"as it is": secret, "as JSON": string(asJSON), "indented": "  | " + strings.ReplaceAll(secret, "\n", "\n  | ")} {
			if name == "as JSON" && (strings.ContainsAny(secret, "\u200b\u2028\x1b") || !utf8.ValidString(secret)) {
				continue // JSON has many ways to write these, and no credential holds them
			}
			commands, lines := obey(printed(func(w *Workflow) {
				w.Mask(secret)
				w.Printf("%s", shown)
			}))
			log := starred(strings.Join(lines, "\n"), commands)
			for _, part := range []string{"secret", "MIIE", "kqhk", "quote", "second", "zero", "letters", "third", "broken"} {
				if strings.Contains(log, part) {
					t.Errorf("%q %s: the log shows %q", secret, name, log)
				}
			}
		}
	}
}

// starred covers every mask as the runner's SecretMasker does, which looks for all
// of them in the text as it was printed.
func starred(log string, masks []command) string {
	covered := []byte(log)
	for _, mask := range masks {
		for from := 0; ; {
			i := strings.Index(log[from:], mask.Data)
			if i < 0 {
				break
			}
			copy(covered[from+i:], strings.Repeat("*", len(mask.Data)))
			from += i + 1
		}
	}
	return string(covered)
}

// The runner keeps ten of a level, and 4,096 characters of each.
func TestAnnotationLimits(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ü", 10_000)
	commands, shown := obey(printed(func(w *Workflow) {
		for i := range 12 {
			w.Annotate(Annotation{Message: fmt.Sprintf("mistake %d", i), File: "a.yaml", Line: i})
		}
		w.Annotate(Annotation{Message: "mistake 12", File: "b.yaml"})
		for range 12 {
			w.Warning("careful")
		}
		w.Annotate(Annotation{Level: "notice", Message: long, Title: long})
	}))
	count := map[string]int{}
	for _, c := range commands {
		count[c.Name]++
		if len(c.Data) > maxMessage || len(c.Properties["title"]) > maxTitle {
			t.Errorf("%s: %d bytes under a title of %d", c.Name, len(c.Data), len(c.Properties["title"]))
		}
	}
	if diff := cmp.Diff(map[string]int{"error": 10, "warning": 10, "notice": 1}, count); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	want := []string{"error: a.yaml:10: mistake 10", "error: a.yaml:11: mistake 11", "error: b.yaml: mistake 12", "warning: careful", "warning: careful", ""}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("lines of the log (-want +got):\n%s", diff)
	}
}

// A line of one goroutine never lands inside a command of another.
func TestLinesStayWhole(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	w := New(inside, &out)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			for range 50 {
				w.Printf("a line of the log")
				w.Warning("careful")
			}
		})
	}
	group.Wait()
	count := map[string]int{}
	for line := range strings.Lines(out.String()) {
		count[line]++
	}
	want := map[string]int{"a line of the log\n": 1000, "::warning::careful\n": 10, "warning: careful\n": 990}
	if diff := cmp.Diff(want, count); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
