package cloudtest

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/org/deploy-model-action/e2e/runner"
)

// rules take out of a text what differs from one run to the next.
var rules = []struct {
	find    *regexp.Regexp
	replace string
}{
	{regexp.MustCompile(`sha256:[0-9a-f]{64}`), "sha256:DIGEST"},
	{regexp.MustCompile(`\b[0-9a-f]{40}\b`), "SHA"},
	{regexp.MustCompile(`\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "UID"},
	{regexp.MustCompile(`\b(model|migrate|ill)-[a-z0-9]{4,10}-[a-z0-9]{5}\b`), "$1-POD"},
	{regexp.MustCompile(`\b(migrate)-[a-z0-9]{5}\b`), "$1-POD"},
	{regexp.MustCompile(`\b(model)-[a-z0-9]{7,10}\b`), "$1-SET"},
	{regexp.MustCompile(`\b(?:10\.244|203\.0)\.\d+\.\d+\b`), "IP"},
	{regexp.MustCompile(`a[0-9a-f]{8}\(`), "aUID("},
	{regexp.MustCompile(`restarted \d+ times`), "restarted N times"},
	{regexp.MustCompile(`\(\d+ times\)`), "(N times)"},
	{regexp.MustCompile(`\d+ tries`), "N tries"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
}

// Verdict is what the annotations say, without what differs from one run to the next.
func (x *Test) Verdict(r *runner.Result) string {
	x.Helper()
	var b strings.Builder
	for _, a := range r.Annotations {
		fmt.Fprintf(&b, "%s, %s: %s\n", a.Level, a.Title, a.Message)
	}
	return x.Same(b.String())
}

// Same is a text without what differs from one run to the next.
func (x *Test) Same(text string) string {
	text = strings.ReplaceAll(text, x.Namespace, "NAMESPACE")
	for _, rule := range rules {
		text = rule.find.ReplaceAllString(text, rule.replace)
	}
	return text
}
