package runner

import (
	"maps"
	"strconv"
	"strings"
	"unicode"
)

// Annotation is an error, warning or notice that the step left.
type Annotation struct {
	Level, Title, Message, File string
	Line                        int
}

// names are the commands that the runner registers; it knows no others.
var names = map[string]bool{
	"stop-commands": true, "add-mask": true, "error": true, "warning": true, "notice": true, "group": true, "endgroup": true,
	"set-output": true, "save-state": true, "set-env": true, "add-path": true, "add-matcher": true, "remove-matcher": true,
	"echo": true, "debug": true,
}

// command is one workflow command.
type command struct {
	name       string // in lower case
	properties map[string]string
	message    string
}

func (c command) annotation() Annotation {
	line, _ := strconv.Atoi(c.properties["line"])
	return Annotation{Level: c.name, Title: c.properties["title"], Message: c.message, File: c.properties["file"], Line: line}
}

// commands reads the commands of a stream; a token of stop-commands is one too,
// as long as it is in force.
type commands struct{ registered map[string]bool }

func newCommands() *commands { return &commands{maps.Clone(names)} }

// parse is ActionCommand.TryParseV2, then TryParse: `::name key=value,…::message`
// after any white space, or `##[name key=value;…]message` anywhere in the line.
func (k *commands) parse(line string) (command, bool) {
	if rest, ok := strings.CutPrefix(strings.TrimLeftFunc(line, unicode.IsSpace), "::"); ok {
		if head, message, ok := strings.Cut(rest, "::"); ok {
			if c, ok := k.command(head, ",", escapedProperty); ok {
				c.message = escapedMessage.Replace(message)
				return c, true
			}
		}
	}
	if _, rest, ok := strings.Cut(line, "##["); ok {
		if head, message, ok := strings.Cut(rest, "]"); ok {
			if c, ok := k.command(head, ";", escapedOld); ok {
				c.message = escapedOld.Replace(message)
				return c, true
			}
		}
	}
	return command{}, false
}

func (k *commands) command(head, separator string, unescape *strings.Replacer) (command, bool) {
	name, list, _ := strings.Cut(head, " ")
	c := command{name: strings.ToLower(name), properties: map[string]string{}}
	if !k.registered[c.name] {
		return command{}, false
	}
	if separator == "," {
		list = strings.TrimSpace(list)
	}
	for property := range strings.SplitSeq(list, separator) {
		if key, value, ok := strings.Cut(property, "="); ok && key != "" && value != "" {
			c.properties[strings.ToLower(key)] = unescape.Replace(value)
		}
	}
	return c, true
}

var (
	escapedMessage  = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%25", "%")
	escapedProperty = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%")
	escapedOld      = strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3B", ";", "%5D", "]", "%25", "%")
)
