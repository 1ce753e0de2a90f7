package runner

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// What the runner keeps of a step's annotations (ExecutionContext.cs).
const (
	maxAnnotations = 10 // of each level
	maxMessage     = 4096
)

// lineBreak is how the runner's .NET reader splits a stream.
var lineBreak = regexp.MustCompile("\r\n|\n|\r")

// parse takes what was printed as ActionCommandManager does: commands act,
// everything else is the log, and a mask hides its secret from then on.
func parse(r *Result) {
	var log strings.Builder
	known := newCommands()
	stopped := ""
	count := map[string]int{}
	print := func(line string) { log.WriteString(hide(line, r.Masks) + "\n") }
	warn := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	for _, line := range lineBreak.Split(strings.TrimRight(r.Raw, "\r\n"), -1) {
		c, ok := known.parse(line)
		switch {
		case !ok:
			print(line)
		case stopped != "":
			if c.name == stopped {
				delete(known.registered, stopped)
				stopped = ""
			}
			print(line)
		case c.name == "stop-commands":
			if stopped = strings.ToLower(c.message); stopped == "" || known.registered[stopped] {
				stopped = ""
				warn("stop-commands with the token %q", c.message)
				continue
			}
			known.registered[stopped] = true
			print(line)
		case c.name == "add-mask":
			r.mask(c.message)
		case c.name == "error", c.name == "warning", c.name == "notice":
			a := c.annotation()
			a.Message = hide(a.Message, r.Masks)
			if count[c.name]++; count[c.name] > maxAnnotations {
				warn("more than %d annotations of level %s", maxAnnotations, c.name)
			} else {
				r.Annotations = append(r.Annotations, a)
			}
			if len(a.Message) > maxMessage {
				warn("an annotation of %d bytes, which is cut", len(a.Message))
			}
			print(strings.ToUpper(c.name[:1]) + c.name[1:] + ": " + a.Message)
		case c.name == "group":
			print("▼ " + c.message)
		case c.name == "endgroup", c.name == "debug":
		default:
			warn("command %s", c.name)
		}
	}
	r.Log = log.String()
}

// mask is AddMaskCommandExtension: the whole value, and each of its lines.
func (r *Result) mask(value string) {
	if strings.TrimSpace(value) == "" {
		r.Warnings = append(r.Warnings, "add-mask without a value")
		return
	}
	r.Masks = append(r.Masks, value)
	for _, line := range strings.FieldsFunc(value, func(c rune) bool { return c == '\r' || c == '\n' }) {
		if line = strings.TrimSpace(line); line != "" && line != value {
			r.Masks = append(r.Masks, line)
		}
	}
}

// hide is SecretMasker.MaskSecrets: places that overlap or touch become one.
func hide(text string, masks []string) string {
	var places [][2]int
	for _, m := range masks {
		for from := 0; ; {
			i := strings.Index(text[from:], m)
			if i < 0 {
				break
			}
			places = append(places, [2]int{from + i, from + i + len(m)})
			from += i + 1
		}
	}
	if len(places) == 0 {
		return text
	}
	slices.SortFunc(places, func(a, b [2]int) int { return cmp.Or(a[0]-b[0], b[1]-a[1]) })
	var b strings.Builder
	end := 0
	for i, p := range places {
		if i == 0 || p[0] > end {
			b.WriteString(text[end:p[0]] + "***")
		}
		end = max(end, p[1])
	}
	return b.String() + text[end:]
}
