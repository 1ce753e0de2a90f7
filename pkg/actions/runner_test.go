package actions

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// A command is one that the runner found in what was printed.
type command struct {
	Name       string
	Properties map[string]string
	Data       string
}

// obey reads what was printed as the runner does: its reader's line breaks, then
// ActionCommand.TryParseV2, then ActionCommand.TryParse. It returns the commands
// that it would execute, and the lines that it would only show.
func obey(printed string) (commands []command, shown []string) {
	for _, line := range lineBreak.Split(printed, -1) {
		// .NET reads what is no UTF-8 as U+FFFD.
		line = strings.ToValidUTF8(line, "\uFFFD")
		if c, ok := parseV2(line); ok {
			commands = append(commands, c)
		} else if c, ok := parseV1(line); ok {
			commands = append(commands, c)
		} else {
			shown = append(shown, line)
		}
	}
	return commands, shown
}

var lineBreak = regexp.MustCompile("\r\n|\n|\r")

// registered are the commands of ActionCommandManager.cs, which takes them in any case.
var registered = []string{
	"add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "internal-set-repo-path",
	"notice", "remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning",
}

func parseV2(line string) (command, bool) {
	// Comparisons by culture pass over what has no weight in sorting, wherever it stands.
	line = strings.TrimLeftFunc(line, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r)
	})
	rest, ok := strings.CutPrefix(line, "::")
	if !ok {
		return command{}, false
	}
	head, data, ok := strings.Cut(rest, "::")
	if !ok {
		return command{}, false
	}
	return parsed(head, data, ",", strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%"),
		strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%"))
}

func parseV1(line string) (command, bool) {
	_, rest, ok := strings.Cut(line, "##[")
	if !ok {
		return command{}, false
	}
	head, data, ok := strings.Cut(rest, "]")
	if !ok {
		return command{}, false
	}
	unescape := strings.NewReplacer("%3B", ";", "%0D", "\r", "%0A", "\n", "%5D", "]", "%25", "%")
	return parsed(head, data, ";", unescape, unescape)
}

func parsed(head, data, separator string, unescape, unescapeProperty *strings.Replacer) (command, bool) {
	name, list, _ := strings.Cut(head, " ")
	if !slices.Contains(registered, strings.ToLower(name)) {
		return command{}, false
	}
	c := command{Name: name, Data: unescape.Replace(data)}
	for property := range strings.SplitSeq(list, separator) {
		if key, value, ok := strings.Cut(strings.TrimSpace(property), "="); ok && value != "" {
			if c.Properties == nil {
				c.Properties = map[string]string{}
			}
			c.Properties[key] = unescapeProperty.Replace(value)
		}
	}
	return c, true
}

// fileValue is one entry of GITHUB_OUTPUT.
type fileValue struct{ Name, Value string }

// readFile reads GITHUB_OUTPUT as FileCommandManager.cs does on Linux, where only
// \n ends a line. What the runner fails the step for fails the test.
func readFile(t *testing.T, text string) []fileValue {
	t.Helper()
	var values []fileValue
	for text != "" {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if line == "" {
			continue
		}
		equals, heredoc := strings.Index(line, "="), strings.Index(line, "<<")
		switch {
		case equals >= 0 && (heredoc < 0 || equals < heredoc):
			values = append(values, fileValue{line[:equals], line[equals+1:]})
		case heredoc > 0 && line[heredoc+2:] != "":
			delimiter := line[heredoc+2:]
			value, rest, ok := strings.Cut("\n"+text, "\n"+delimiter+"\n")
			if !ok {
				t.Fatalf("matching delimiter not found: %s", strconv.Quote(delimiter))
			}
			values = append(values, fileValue{line[:heredoc], strings.TrimPrefix(value, "\n")})
			text = rest
		default:
			t.Fatalf("invalid format: %s", strconv.Quote(line))
		}
	}
	return values
}
