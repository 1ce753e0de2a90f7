package redact

import (
	"regexp"
	"strings"
)

// secretRules find what must not be shown of a message that a
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
	"project": true, "digest": true, "mount": true, "from": true, // of Google's advice, and of a registry's uploads
	"limit": true, "limitBytes": true, "tailLines": true, "previous": true, "container": true,
}

// Secrets is a text without what looks like a credential: logins in URLs, tokens
// of known forms, values of names such as password, private keys, and query
// parameters but those that explain an error. All else stays as it is, line breaks too.
func Secrets(s string) string {
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
