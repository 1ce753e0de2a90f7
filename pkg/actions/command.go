package actions

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sethvargo/go-githubactions"
)

// maxAnnotations and maxMessage are what the runner keeps of a step
// (ExecutionContext.cs); the rest would be dropped without a word.
const (
	maxAnnotations = 10
	maxMessage     = 4096
	maxTitle       = 255 // of GitHub's checks API
)

// Annotation is a message that GitHub shows beside the run and, with a file,
// beside the line of a change.
type Annotation struct {
	Level   string // "error", "warning" or "notice"; default "error"
	Title   string
	Message string
	File    string // relative to the workspace, with slashes
	Line    int    // 0: none
}

// Annotate shows the annotation. From the eleventh of a level on, which the
// runner would drop, it is a line of the log.
//
// ::error file=<file>,line=<line>,title=<title>::<message>
func (w *Workflow) Annotate(a Annotation) {
	level := cmp.Or(a.Level, "error")
	w.mu.Lock()
	w.annotations[level]++
	n := w.annotations[level]
	w.mu.Unlock()
	if n > maxAnnotations {
		where := ""
		switch {
		case a.File != "" && a.Line > 0:
			where = fmt.Sprintf("%s:%d: ", a.File, a.Line)
		case a.File != "":
			where = a.File + ": "
		}
		w.Printf("%s: %s%s", level, where, a.Message)
		return
	}
	properties := githubactions.CommandProperties{}
	set := func(name, value string) {
		if value != "" {
			properties[name] = value
		}
	}
	set("file", oneLine(a.File))
	if a.Line > 0 {
		set("line", itoa(a.Line))
	}
	set("title", shorten(oneLine(a.Title), maxTitle))
	w.command(level, properties, shorten(plain(a.Message), maxMessage))
}

// command writes a workflow command; the message's line breaks are escaped.
func (w *Workflow) command(name string, properties githubactions.CommandProperties, message string) {
	c := githubactions.Command{Name: name, Message: message, Properties: properties}
	w.write(c.String() + "\n")
}

// shorten cuts a text after at most n bytes, at a character.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const more = "…"
	cut := n - len(more)
	for cut > 0 && !isStart(s[cut]) {
		cut--
	}
	return s[:cut] + more
}

// isStart tells whether a byte begins a UTF-8 character.
func isStart(b byte) bool { return b&0xC0 != 0x80 }

// oneLine is a text for a title: plain, on one line.
func oneLine(s string) string {
	return strings.Join(slices.Collect(strings.FieldsFuncSeq(plain(s), func(r rune) bool { return r == '\n' })), " ")
}
