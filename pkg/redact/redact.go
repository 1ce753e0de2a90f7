// Package redact makes foreign text harmless: what a registry, a webhook, a
// program or Google wrote becomes one line of bounded length that a terminal, a
// log of GitHub and a table of Markdown can show, without what looks like a
// credential.
//
// It is the last wall, not the first: a secret that a package knows, it masks or
// leaves out itself. What a message means is left to whoever asked for it.
package redact

import (
	"encoding/json"
	"slices"
	"strconv"
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

// shortest is how long a value has to be to be looked for: "no" and "1" are words.
const shortest = 4

// Values is a text without known values, wherever and in whatever part of it they
// are, also as JSON and Go quote them. Lines of a value count too. Values of fewer
// than 4 bytes are left.
func Values(text string, values []string) string {
	var all []string
	for _, v := range values {
		for _, part := range append(strings.Split(v, "\n"), v) {
			if part = strings.TrimSpace(part); len(part) < shortest {
				continue
			}
			all = append(all, part)
			if quoted := strconv.Quote(part); quoted[1:len(quoted)-1] != part {
				all = append(all, quoted[1:len(quoted)-1])
			}
			if quoted, err := json.Marshal(part); err == nil && string(quoted[1:len(quoted)-1]) != part {
				all = append(all, string(quoted[1:len(quoted)-1]))
			}
		}
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	for _, v := range all {
		text = strings.ReplaceAll(text, v, "[redacted]")
	}
	return text
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
