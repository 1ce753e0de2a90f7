package actions

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
)

// MaxSummary is what a job summary may hold; from 1 MiB on, the runner drops it whole.
const MaxSummary = 900 << 10

// SetOutput sets an output of the step. Without GITHUB_OUTPUT, as when the
// image is run by hand, it does nothing.
//
// The delimiter is new for each output: with one that is known beforehand, a
// value could end itself and forge the next output (CVE-2022-35954).
//
// <name><<ghadelimiter_<random>
// <value>
// ghadelimiter_<random>
func (w *Workflow) SetOutput(name, value string) error {
	delimiter := "ghadelimiter_" + rand.Text()
	if strings.Contains(value, delimiter) || strings.ContainsAny(name, "\r\n=<") || name == "" {
		return fmt.Errorf("output %q: name or value cannot be written", name)
	}
	if err := appendFile(w.getenv("GITHUB_OUTPUT"), fmt.Sprintf("%s<<%s\n%s\n%s\n", name, delimiter, value, delimiter)); err != nil {
		return fmt.Errorf("output %q: %w", name, err)
	}
	return nil
}

// AppendSummary adds to the job summary. Its author knows best what to leave out
// to keep within MaxSummary; what is longer is cut at a line. Without
// GITHUB_STEP_SUMMARY it does nothing.
func (w *Workflow) AppendSummary(markdown string) error {
	if len(markdown) > MaxSummary {
		markdown = markdown[:strings.LastIndexByte(markdown[:MaxSummary], '\n')+1]
	}
	if err := appendFile(w.getenv("GITHUB_STEP_SUMMARY"), markdown); err != nil {
		return fmt.Errorf("job summary: %w", err)
	}
	return nil
}

func appendFile(path, content string) (err error) {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(content)
	return err
}
