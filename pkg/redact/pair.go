package redact

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// named is a name that may be a credential's, and what leads to its value: a sign,
// or after a flag a blank. Quotes may be escaped, as in JSON within JSON.
var named = regexp.MustCompile(`(?i)(\\*["']?)([\w.$-]*(?:passw|passphrase|pwd|secret|token|key|credential|authorization|cookie)[\w.-]*)(\\*["']?[ \t]*(?:=>|:=|[:=])[ \t]*|[ \t]+)`)

// pairs hides the values of names such as password, in the forms that programs
// print: NAME=value, name: value, name = value, --name value, JSON, Python's dicts,
// headers. Prose about a password or a token stays.
func pairs(s string) string {
	var out strings.Builder
	for {
		m := named.FindStringSubmatchIndex(s)
		if m == nil {
			break
		}
		name, sign, rest := s[m[4]:m[5]], s[m[6]:m[7]], s[m[1]:]
		p := pair{name: name, sign: strings.Trim(sign, " \t\\\"'"), tight: strings.Trim(sign, "\\\"'") == "="}
		// Reading first would look again and again at all that follows key=key=key=.
		if p.kind = kindOf(name); p.kind == harmless {
			out.WriteString(s[:m[1]])
			s = rest
			continue
		}
		p.read(rest)
		if p.hide() {
			out.WriteString(s[:m[1]] + p.open + "[redacted]" + p.end)
			s = rest[p.length:]
			continue
		}
		// What follows may be a name itself: password: --token x.
		out.WriteString(s[:m[1]])
		s = rest
	}
	out.WriteString(s)
	return out.String()
}

// pair is a name and its value.
type pair struct {
	name  string
	kind  kind
	sign  string // "" of a flag
	tight bool   // NAME=value

	value     string
	open, end string // the value's quotes
	length    int    // of all three
	last      bool   // nothing follows that would make a sentence of it
}

// ends are what a bare value ends with.
const ends = " \t\r\n\"'`"

func (p *pair) read(rest string) {
	escapes := len(rest) - len(strings.TrimLeft(rest, `\`))
	if quote := rest[escapes:]; quote != "" && (quote[0] == '"' || quote[0] == '\'') {
		p.open = rest[:escapes+1]
		p.value = quote[1:]
		for i := 1; i < len(quote); i++ {
			if quote[i] == '\\' && escapes == 0 {
				i++
			} else if strings.HasPrefix(quote[i:], p.open) {
				p.value, p.end = quote[1:i], p.open
				break
			}
		}
		p.length, p.last = len(p.open)+len(p.value)+len(p.end), true
		return
	}
	end := strings.IndexAny(rest, ends)
	if end < 0 {
		end = len(rest)
	}
	if stop := strings.IndexAny(rest[:end], ",;&"); p.tight && stop >= 0 {
		end = stop
	}
	p.value = strings.TrimRight(rest[:end], ",;)]}.")
	p.length = len(p.value)
	after := strings.TrimLeft(rest[p.length:], " \t")
	p.last = after == "" || strings.ContainsRune("\r\n,;)]}.", rune(rest[p.length:][0])) || another.MatchString(after)
}

// another is a further name, behind a value.
var another = regexp.MustCompile(`^(?:[|#(]|--?\w|[\w.-]+[ \t]?[:=])`)

// hide reports whether the value is to be hidden.
func (p *pair) hide() bool {
	value := strings.ToLower(strings.Trim(p.value, "*<>(){}[]$%"))
	if value == "" || slices.Contains(ordinary, value) || strings.HasPrefix(p.value, "[redacted]") {
		return false
	}
	flag := p.sign == ""
	switch {
	case flag && (!strings.HasPrefix(p.name, "-") || strings.HasPrefix(p.value, "-")):
		return false
	case p.tight:
		return p.kind == password || !number(p.value)
	case flag:
		return p.kind == password || len(p.value) >= shortest && !number(p.value)
	case p.kind == password:
		return p.last || p.open != "" || random(p.value)
	}
	return random(p.value) || len(p.value) >= 20 && !strings.ContainsAny(p.value, " \t")
}

// What a name says about its value.
type kind int

const (
	harmless kind = iota
	token         // a credential, or a word of a language model's
	password
)

// ordinary are what is no credential, and what sentences say after its name.
var ordinary = []string{
	"null", "none", "nil", "true", "false", "undefined", "yes", "no", "redacted", "hidden", "masked", "set", "unset", "empty", "missing", "required",
	"invalid", "expired", "incorrect", "wrong", "mismatch", "rejected", "denied", "failed", "eof", "unauthorized", "forbidden", "changed", "ok", "unknown",
	"unsupported", "server", "disabled", "enabled", "provided", "generated", "found", "optional", "string", "str", "bytes", "error",
}

// about are last words of names that are about a credential and hold none.
var about = []string{
	"file", "path", "name", "names", "length", "len", "count", "type", "url", "uri", "ttl", "dir", "policy", "class", "version", "field", "manager", "store",
	"provider", "required", "enabled", "expired", "expires", "expiry", "ref", "prefix", "suffix", "size", "limit", "arn", "mount", "volume", "ids", "usage", "error", "errors",
}

// ofModels are words before "token" in the logs of language models.
var ofModels = []string{
	"eos", "bos", "pad", "unk", "sep", "cls", "mask", "stop", "next", "first", "last", "per", "special", "max", "min", "num", "new", "prev", "image", "begin", "end",
	"start", "word", "unexpected", "invalid", "output", "input", "prompt", "to", "special", "added", "additional", "decoder", "generated", "top",
}

// ofKeys are words before "key" that make it a secret.
var ofKeys = []string{"api", "access", "private", "secret", "encryption", "signing", "account", "auth", "master", "shared", "license", "storage", "session", "service", "subscription"}

// kindOf looks at the words of a name: DB_PASSWORD, dbPassword, db-password.
func kindOf(name string) kind {
	words := wordsOf(name)
	if len(words) == 0 {
		return harmless
	}
	last := words[len(words)-1]
	if slices.Contains(about, last) {
		return harmless
	}
	for i, w := range words {
		before := ""
		if i > 0 {
			before = words[i-1]
		}
		switch {
		case strings.Contains(w, "passw"), strings.Contains(w, "passphrase"), w == "pwd" && len(words) > 1, strings.HasSuffix(w, "secret"), strings.HasSuffix(w, "apikey"),
			strings.HasSuffix(w, "secretkey"), strings.HasSuffix(w, "accesskey"), w == "key" && slices.Contains(ofKeys, before) && w == last:
			return password
		case w == "pwd", w == last && (w == "authorization" || w == "cookie" || w == "credential" || w == "credentials"):
			return token
		case strings.HasSuffix(w, "token") && !slices.Contains(ofModels, before) && (w == last || last == "value" || last == "secret"):
			return token
		}
	}
	return harmless
}

// wordsOf splits a name at its signs and humps, in lower case.
func wordsOf(name string) []string {
	var out []rune
	before := rune(0)
	for _, r := range name {
		if unicode.IsUpper(r) && unicode.IsLower(before) {
			out = append(out, ' ')
		}
		before = r
		out = append(out, unicode.ToLower(r))
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// random reports whether a text looks made up by a machine: letters and digits mixed.
func random(s string) bool {
	letters, digits := false, false
	for _, r := range s {
		letters, digits = letters || unicode.IsLetter(r), digits || unicode.IsDigit(r)
		if unicode.IsSpace(r) {
			return false
		}
	}
	return len(s) >= 8 && letters && digits
}

func number(s string) bool {
	return s != "" && strings.Trim(s, "0123456789.,+-") == ""
}
