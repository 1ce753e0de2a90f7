package runner

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// Annotation is an error, warning or notice that the step left.
type Annotation struct {
	Level, Title, Message, File string
	Line                        int
}

// lineBreak is how the runner's .NET reader splits a stream.
var lineBreak = regexp.MustCompile("\r\n|\n|\r")

// parse reads what was printed by the runner's rules: commands at a line's
// start after white space, or as ##[command] anywhere in it; masks apply to
// every later line.
func parse(r *Result) {
	var log strings.Builder
	stopped := ""
	for _, line := range lineBreak.Split(strings.TrimRight(r.Raw, "\r\n"), -1) {
		name, properties, message, ok := command(line)
		switch {
		case stopped != "":
			if ok && name == stopped {
				stopped = ""
				continue
			}
		case ok && name == "stop-commands":
			stopped = message
			continue
		case ok && name == "add-mask":
			for _, part := range strings.FieldsFunc(message, func(c rune) bool { return c == '\r' || c == '\n' }) {
				r.Masks = append(r.Masks, part)
			}
			continue
		case ok && (name == "error" || name == "warning" || name == "notice"):
			number, _ := strconv.Atoi(properties["line"])
			r.Annotations = append(r.Annotations, Annotation{
				Level: name, Title: properties["title"], Message: message, File: properties["file"], Line: number,
			})
			line = strings.ToUpper(name[:1]) + name[1:] + ": " + message
		case ok && name == "group":
			line = "▼ " + message
		case ok && name == "endgroup":
			continue
		case ok && registered[name]:
			r.Warnings = append(r.Warnings, "command "+name)
			continue
		}
		for _, mask := range r.Masks {
			line = strings.ReplaceAll(line, mask, "***")
		}
		log.WriteString(line + "\n")
	}
	r.Log = log.String()
}

// registered are the commands that the runner obeys beside those above.
var registered = map[string]bool{
	"set-output": true, "save-state": true, "set-env": true, "add-path": true, "add-matcher": true,
	"remove-matcher": true, "echo": true, "debug": true, "internal-set-repo-path": true,
}

// command is ActionCommand.TryParseV2 and TryParse.
func command(line string) (name string, properties map[string]string, message string, ok bool) {
	trimmed := strings.TrimLeftFunc(line, unicode.IsSpace)
	if rest, found := strings.CutPrefix(trimmed, "::"); found {
		if head, data, found := strings.Cut(rest, "::"); found {
			return split(head, data, ",", escapeData, escapeProperty)
		}
	}
	if i := strings.Index(line, "##["); i >= 0 {
		if head, data, found := strings.Cut(line[i+3:], "]"); found {
			return split(head, data, ";", escapeOld, escapeOld)
		}
	}
	return "", nil, "", false
}

var (
	escapeData     = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%")
	escapeProperty = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%")
	escapeOld      = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3B", ";", "%5D", "]", "%25", "%")
)

func split(head, data, separator string, unescape, unescapeProperty *strings.Replacer) (string, map[string]string, string, bool) {
	name, list, _ := strings.Cut(head, " ")
	properties := map[string]string{}
	for _, p := range strings.Split(list, separator) {
		if k, v, ok := strings.Cut(strings.TrimSpace(p), "="); ok {
			properties[k] = unescapeProperty.Replace(v)
		}
	}
	return name, properties, unescape.Replace(data), name != ""
}
