package actions

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLine bounds one line of the log; longer ones are a dump of something.
const maxLine = 16 << 10

// clean makes text harmless to the runner and to a terminal, and ends it with
// a line break. The runner splits at \n, \r\n and a lone \r, takes `::command::`
// at a line's start after any white space, and `##[command]` anywhere in it
// (ActionCommand.cs). Ordinary text is not changed.
func clean(s string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimSuffix(plain(s), "\n"), "\n") {
		b.WriteString(disarm(shorten(line, maxLine)))
		b.WriteByte('\n')
	}
	return b.String()
}

// disarm puts a backslash where a command would begin.
func disarm(line string) string {
	line = strings.ReplaceAll(line, "##[", `#\#[`)
	rest := strings.TrimLeftFunc(line, space)
	if strings.HasPrefix(rest, "::") {
		return line[:len(line)-len(rest)] + `\` + rest
	}
	return line
}

// space is what C#'s TrimStart removes. It is wider than Go's: U+200B was white
// space to older runtimes, U+FEFF is where a file begins.
func space(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Z, r) || unicode.Is(unicode.Cf, r)
}

// plain removes what moves a terminal's cursor or reorders letters (control
// characters, ANSI sequences, bidi controls; CVE-2021-25743) and leaves only \n
// to break a line.
func plain(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(s)
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteRune('\uFFFD')
		case r == 0x1B:
			i += escape(s[i:])
			continue
		case r == '\n', r == '\t':
			b.WriteRune(r)
		case unicode.IsControl(r), bidi(r), r == '\uFEFF', r == '\u200B':
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}

// bidi are the characters that show text in another order than it has.
func bidi(r rune) bool {
	return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 || r == 0x200E || r == 0x200F || r == 0x061C
}

// escape is the length of the ANSI sequence that s begins with: ESC, or ESC [
// parameters letter.
func escape(s string) int {
	if len(s) < 2 || s[1] != '[' {
		return 1
	}
	for i := 2; i < len(s); i++ {
		if s[i] >= 0x40 && s[i] <= 0x7E {
			return i + 1
		}
		if s[i] < 0x20 || s[i] > 0x3F {
			return i
		}
	}
	return len(s)
}
