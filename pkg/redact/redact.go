// Package redact makes foreign text harmless: what a registry, a webhook, a
// program or Google wrote becomes one line of bounded length that a terminal, a
// log of GitHub and a table of Markdown can show, without what looks like a
// credential.
//
// It is the last wall, not the first: a secret that a package knows, it masks or
// leaves out itself. What a message means is left to whoever asked for it.
package redact

import (
	"strings"
	"unicode"
)

// phraseLimit is the length of foreign words within a sentence, in runes.
const phraseLimit = 300

// Line is a text as one line of at most limit runes, without credentials,
// control characters, bidi overrides, zero-width characters and broken UTF-8.
// One that is cut ends with "…". limit is at least 1.
func Line(text string, limit int) string {
	return cut(Secrets(strings.Join(strings.Fields(visible(text)), " ")), limit)
}

// Phrase is a text as a Line of at most 300 runes, for within a sentence of
// ours: without the full stop at its end.
func Phrase(text string) string {
	return strings.TrimRight(Line(text, phraseLimit), ".")
}

// visible replaces what a terminal or a reader would not show as it is.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), r == unicode.ReplacementChar, r == '\u2028', r == '\u2029':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
}

// cut shortens s to limit runes and shows that it did.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	return strings.TrimSpace(string(runes[:limit-1])) + "…"
}
