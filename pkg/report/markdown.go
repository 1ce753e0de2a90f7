package report

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds in bytes: on one piece of foreign text, since a longer one is a dump of
// something, and on what a table or a fold holds of them.
const (
	maxText  = 2000
	maxBlock = 100 << 10
)

// text makes foreign text plain inside Markdown, also in a cell of a table and
// at the start of a line: no markup, no HTML, no line break. A URL stays one that
// can be clicked, as its target is what it says.
func text(s string) string {
	runes := []rune(line(s))
	var b strings.Builder
	for i, r := range runes {
		switch {
		case strings.ContainsRune("<>&", r):
			b.WriteString(html.EscapeString(string(r)))
		case r == '_' && i > 0 && i < len(runes)-1 && wordy(runes[i-1]) && wordy(runes[i+1]):
			b.WriteRune(r) // inside a word it means nothing
		case strings.ContainsRune("\\`*_[]|~$@", r), opens(runes, i):
			// By its number: a backslash would itself be markup in some of these places.
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// opens tells whether the character makes a line begin a list, a heading or a rule.
func opens(runes []rune, i int) bool {
	switch runes[i] {
	case '#', '-', '+', '=':
		return i == 0
	case '.', ')':
		return i > 0 && strings.Trim(string(runes[:i]), "0123456789") == ""
	}
	return false
}

func wordy(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// prose is a sentence of this program, in which backticks mark what to type.
func prose(s string) string {
	parts := strings.Split(line(s), "`")
	if len(parts)%2 == 0 || strings.Join(parts, "") == "" {
		return text(s) // one of them is alone, or there is nothing else
	}
	var b strings.Builder
	for i, part := range parts {
		if i%2 == 1 {
			b.WriteString(code(part))
			continue
		}
		// A space at either end parts it from the code.
		trimmed := strings.TrimSpace(part)
		if trimmed == "" {
			b.WriteString(part)
			continue
		}
		if strings.HasPrefix(part, " ") {
			b.WriteByte(' ')
		}
		b.WriteString(text(trimmed))
		if strings.HasSuffix(part, " ") {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// code shows foreign text in the fixed-width face. An HTML element, not
// backticks: nothing inside can end it.
func code(s string) string {
	if s = text(s); s == "" {
		return ""
	}
	return "<code>" + s + "</code>"
}

// link points to a URL that was made here or checked before. Its label is
// Markdown already.
func link(label, target string) string {
	if !strings.HasPrefix(target, "https://") && !strings.HasPrefix(target, "http://") {
		return label
	}
	var b strings.Builder
	for _, c := range []byte(target) {
		// What could end the target, the cell or the line.
		if c <= ' ' || c >= 0x7F || strings.IndexByte("()<>|\\`\"[]*_", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
			continue
		}
		b.WriteByte(c)
	}
	return "[" + label + "](" + b.String() + ")"
}

// backticks are too many of them: cmark-gfm, which GitHub uses, counts only the
// first 255 of a fence, so that such a line would end a longer one.
var backticks = regexp.MustCompile("(`{50})`+")

// fold hides lines behind a title. The fence is longer than any run of backticks
// inside, so that nothing inside can end it. language is how it is coloured.
func fold(title, language string, lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	var shown []string
	for _, l := range lines {
		l = backticks.ReplaceAllString(strings.TrimRight(visible(l), " \t"), "$1…")
		shown = append(shown, shorten(l, maxText)+"\n")
	}
	body := strings.Join(fitting(shown), "")
	fence := "```"
	for strings.Contains(body, fence) {
		fence += "`"
	}
	return fmt.Sprintf("<details><summary>%s</summary>\n\n%s%s\n%s%s\n\n</details>\n\n", text(title), fence, language, body, fence)
}

// fitting are the last lines that fit into a block: those next to the failure.
func fitting(lines []string) []string {
	size := 0
	for i := len(lines) - 1; i >= 0; i-- {
		if size += len(lines[i]); size > maxBlock {
			return lines[i+1:]
		}
	}
	return lines
}

// line is foreign text on one line, of bounded length.
func line(s string) string {
	s = s[:min(len(s), 10*maxText)]
	return shorten(strings.Join(strings.Fields(visible(s)), " "), maxText)
}

// visible leaves out what is not seen, and what makes one text look like another:
// control characters, bidi controls, zero-width characters, broken UTF-8. Line
// breaks of all kinds become spaces.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return r
		case r == '\n' || r == '\r' || r == '\v' || r == '\f' || r == '\u0085' || r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// shorten cuts a text to n bytes, at a character.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n -= len("…"); n > 0 && !utf8.RuneStart(s[n]); n-- {
	}
	return s[:n] + "…"
}
