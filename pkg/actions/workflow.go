// Package actions speaks GitHub's protocol for one step of a workflow: inputs
// from the environment, outputs and the job summary to files, annotations,
// masks and groups as commands on standard output, and the one log writer of
// the program.
//
// The runner takes commands from any line that is printed, whoever wrote it:
// a pod's log, an API's message or an image's name must not be able to speak to
// it. So everything that is printed goes through here and is made harmless.
// What is worth printing is left to others.
package actions

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sethvargo/go-githubactions"
)

// Workflow is the step that the program runs as. Its methods may be called
// concurrently.
type Workflow struct {
	getenv func(string) string
	sdk    *githubactions.Action

	mu          sync.Mutex
	stdout      io.Writer
	annotations map[string]int
}

// New returns the step whose environment getenv reads and whose runner reads stdout.
func New(getenv func(string) string, stdout io.Writer) *Workflow {
	// A redirect would take the job's token elsewhere.
	client := &http.Client{
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Workflow{
		getenv: getenv,
		sdk: githubactions.New(githubactions.WithGetenv(getenv), githubactions.WithWriter(io.Discard),
			githubactions.WithHTTPClient(client)),
		stdout:      stdout,
		annotations: map[string]int{},
	}
}

// Printf writes lines of the log, made harmless.
func (w *Workflow) Printf(format string, args ...any) {
	w.write(clean(fmt.Sprintf(format, args...)))
}

// Group begins a group of the log; the runner folds its lines under the title.
//
// ::group::<title>
func (w *Workflow) Group(title string) {
	w.command("group", nil, oneLine(title))
}

// EndGroup ends the group.
//
// ::endgroup::
func (w *Workflow) EndGroup() {
	w.command("endgroup", nil, "")
}

// Warning annotates the run with a warning.
func (w *Workflow) Warning(message string) {
	w.Annotate(Annotation{Level: "warning", Message: message})
}

// minMask keeps braces and short words out of the masks: a masked "{" would
// turn every JSON in the log into stars.
const minMask = 5

// jsonText writes what JSON cannot hold in a string.
var jsonText = strings.NewReplacer("\r", `\r`, "\n", `\n`, "\t", `\t`, `"`, `\"`, `\`, `\\`)

// Mask keeps a secret out of all that is printed later. Mask before first use:
// the runner does not look back. Outside of GitHub Actions it does nothing: where
// nobody obeys the command, it would only show the secret.
//
// ::add-mask::<line>
func (w *Workflow) Mask(secret string) {
	if w.getenv("GITHUB_ACTIONS") != "true" {
		return
	}
	mask := func(text string) {
		if text = strings.TrimSpace(text); len(text) >= minMask {
			w.command("add-mask", nil, text)
		}
	}
	for line := range strings.FieldsFuncSeq(secret, func(r rune) bool { return r == '\n' || r == '\r' }) {
		mask(line)
		// The log writer leaves characters out, and would print another text.
		for printed := range strings.SplitSeq(plain(line), "\n") {
			if printed != line {
				mask(printed)
			}
		}
	}
	if trimmed := strings.TrimSpace(secret); strings.ContainsAny(trimmed, "\n\r") {
		// JSON shows a line break as two characters, and the whole on one line.
		mask(jsonText.Replace(trimmed))
	}
}

// write is the only place that anything reaches standard output from.
func (w *Workflow) write(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	// A runner that went away is not a reason to leave a rollout unfinished.
	_, _ = io.WriteString(w.stdout, text)
}
