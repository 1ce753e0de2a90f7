package report

import (
	"fmt"
	"html"
	"strings"
	"unicode"
)

// text makes foreign text plain inside Markdown, a table cell included: no
// markup, no HTML, no line break, no mention of a user.
func text(s string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(s), " ") {
		switch {
		case r == '<' || r == '>' || r == '&' || r == '"':
			b.WriteString(html.EscapeString(string(r)))
		case strings.ContainsRune("\\`*_{}[]|#~$@:", r):
			// A colon by its number keeps an address from becoming a link, and :tada: a word.
			fmt.Fprintf(&b, "&#%d;", r)
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			// Bidi controls could make one text look like another.
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// code shows foreign text in the fixed-width face. An HTML element, not
// backticks: nothing inside can end it.
func code(s string) string {
	if s == "" {
		return ""
	}
	return "<code>" + text(s) + "</code>"
}

// link points to a URL that was made here or checked before.
func link(label, target string) string {
	target = strings.NewReplacer("(", "%28", ")", "%29", " ", "%20", "<", "%3C", ">", "%3E", "|", "%7C", "\n", "", "\r", "").Replace(target)
	if !strings.HasPrefix(target, "https://") && !strings.HasPrefix(target, "http://") {
		return text(label)
	}
	return "[" + text(label) + "](" + target + ")"
}
