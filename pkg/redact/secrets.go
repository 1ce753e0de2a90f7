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
	// Headers, with whatever scheme; a cookie's value ends with its line or quote.
	{regexp.MustCompile(`(?i)\b((?:proxy-)?authorization\\*["']?[ \t]*[:=][ \t]*\\*["']?(?:basic|bearer|digest|token|negotiate|ntlm|apikey|aws4-hmac-sha256)[ \t]+)[^"'\r\n]*[^"'\r\n\\]`), "${1}[redacted]"},
	{regexp.MustCompile(`(?i)\b((?:set-)?cookie\\*["']?[ \t]*[:=][ \t]*\\*["']?)[^\s"'=;]+=[^"'\r\n]*[^"'\r\n\\]`), "${1}[redacted]"},
	// curl's, and Go's MySQL driver's.
	{regexp.MustCompile(`((?:^|\s)(?:-u|--user|--proxy-user)[ =]["']?[^\s:"']+:)[^\s"']+`), "${1}[redacted]"},
	{regexp.MustCompile(`([\w.-]+:)[^\s:/@]+(@(?:tcp|unix)\()`), "${1}[redacted]${2}"},
	{regexp.MustCompile(`(?i)(<[\w.:-]*(?:passw(?:or)?d|secret|token|apikey)>)[^<]+(</)`), "${1}[redacted]${2}"},
	// A word that is all small letters is prose: bearer authentication.
	{regexp.MustCompile(`\b([Bb]earer|BEARER)\s+([a-z_-]*[A-Z0-9.~+/=][A-Za-z0-9._~+/-]{6,}=*|[A-Za-z0-9._~+/-]{24,}=*)`), "${1} [redacted]"},
	{regexp.MustCompile(`\b([Bb]asic|BASIC)\s+([A-Za-z]*[a-z][A-Z][A-Za-z0-9+/-]{6,}=*|[A-Za-z+/-]*[0-9][A-Za-z0-9+/-]{7,}=*|[A-Za-z0-9+/-]{7,}=+)`), "${1} [redacted]"},
	{regexp.MustCompile(`\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?`), "[redacted]"},
	// By their prefixes: Google, GitHub, GitLab, Docker, Hugging Face, OpenAI and
	// Anthropic, AWS, Slack, Stripe, SendGrid, npm, PyPI, Vault, NVIDIA, Replicate,
	// Groq, DigitalOcean, Grafana, Databricks, Shopify, Linear, Tailscale, age.
	{regexp.MustCompile(`\b(?:ya29\.[\w.-]+|AIza[\w-]{30,}|GOCSPX-[\w-]{16,}|1//0[\w-]{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|gl(?:pat|dt|rt|cbt)-[\w-]{16,}|dckr_\w+|hf_\w{20,}|` +
		`sk-[\w-]{20,}|(?:AKIA|ASIA)[0-9A-Z]{16}|xox[a-z]-[\w-]{10,}|xapp-[\w-]{10,}|(?:sk|rk|whsec)_(?:live_|test_)?\w{16,}|SG\.[\w-]{16,}\.[\w-]{16,}|npm_\w{30,}|pypi-[\w-]{30,}|` +
		`hv[sbr]\.[\w-]{20,}|nvapi-[\w-]{20,}|r8_\w{30,}|gsk_\w{20,}|do[opr]_v1_\w{30,}|gl(?:sa|c)_\w{20,}|dapi[0-9a-f]{32}|shp(?:at|ss|ca|pa)_\w{20,}|lin_api_\w{20,}|tskey-[\w-]{16,}|AGE-SECRET-KEY-1\w+)`), "[redacted]"},
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
	s = pairs(s)
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
