package rollout

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Lengths that foreign text is cut to, in runes: within a sentence, and for a message of its own.
const (
	phraseLimit  = 300
	messageLimit = 1000
)

// secretRules find what must not leave the cluster in a message that a
// registry, a webhook or a program wrote. Order matters: what is longest first.
var secretRules = []struct {
	find    *regexp.Regexp
	replace string
}{
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`), "[redacted]"},
	// https://user:password@host, also without a password.
	{regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/\s@"'<>]+@`), "${1}"},
	// Docker Hub's text on its rate limit names the user and the token.
	{regexp.MustCompile(`(rate limit as )'[^']*'(: \S+)?`), "${1}[redacted]"},
	{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/-]{8,}=*`), "${1} [redacted]"},
	{regexp.MustCompile(`\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?`), "[redacted]"},
	{regexp.MustCompile(`\b(?:ya29\.[\w.-]+|AIza[\w-]{30,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|dckr_\w+|hf_\w{20,}|sk-[\w-]{20,}|AKIA[0-9A-Z]{16}|xox[a-z]-[\w-]{10,})`), "[redacted]"},
	// NAME=value and "name": "value", but not `token: unexpected status`.
	{regexp.MustCompile(`(?i)(\b[\w.-]*(?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)[\w.-]*=)(?:"[^"]*"|'[^']*'|[^\s"',;&]+)`), "${1}[redacted]"},
	{regexp.MustCompile(`(?i)("[\w.-]*(?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credentials?)[\w.-]*"\s*:\s*)"(?:[^"\\]|\\.)*"`), `${1}"[redacted]"`},
}

var queryParameter = regexp.MustCompile(`([?&])([^=&\s"'#?]+)=([^&\s"'#]*)`)

// plainParameters are the query parameters that explain an error and hold no secret.
var plainParameters = map[string]bool{
	"scope": true, "service": true, "timeout": true, "timeoutSeconds": true,
	"limit": true, "limitBytes": true, "tailLines": true, "previous": true, "container": true,
}

// redact takes credentials out of a text.
func redact(s string) string {
	for _, rule := range secretRules {
		s = rule.find.ReplaceAllString(s, rule.replace)
	}
	if !strings.ContainsRune(s, '=') {
		return s
	}
	return queryParameter.ReplaceAllStringFunc(s, func(m string) string {
		part := queryParameter.FindStringSubmatch(m)
		if plainParameters[part[2]] || part[3] == "" {
			return m
		}
		return part[1] + part[2] + "=[redacted]"
	})
}

// clean makes a foreign message one line without control characters and
// credentials, of at most limit runes.
func clean(s string, limit int) string {
	return cut(redact(strings.Join(strings.Fields(visible(s)), " ")), limit)
}

// visible replaces what a terminal or a reader would not show as it is:
// control characters, bidi overrides, zero-width characters, broken UTF-8.
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

func countOf(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
