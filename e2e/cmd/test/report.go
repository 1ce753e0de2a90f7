package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// report is what is shown of the tests.
type report struct {
	out     io.Writer
	output  map[[2]string][]string // what a test that runs has printed, by package and test
	builds  map[string][]string    // what the compiler said, by package
	skipped map[string][]string    // tests by reason
	figures []string
	failed  int
	why     []string // what failed tests logged, a line each
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[[2]string][]string{}, builds: map[string][]string{}, skipped: map[string][]string{}}
}

// add takes the next event.
func (r *report) add(e event) {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "output":
		if figure, ok := strings.CutPrefix(strings.TrimSpace(e.Output), "figure: "); ok {
			r.figures = append(r.figures, figure)
		}
		r.output[key] = append(r.output[key], e.Output)
	case "build-output":
		r.builds[e.ImportPath] = append(r.builds[e.ImportPath], e.Output)
	case "build-fail":
		r.print(r.builds[e.ImportPath])
	case "pass":
		if e.Test == "" {
			r.print(slices.DeleteFunc(r.output[key], func(l string) bool { return !strings.HasPrefix(l, "ok  ") }))
		}
		delete(r.output, key)
	case "skip":
		if e.Test != "" {
			why := reason(r.output[key])
			r.skipped[why] = append(r.skipped[why], e.Package+" "+e.Test)
		}
		delete(r.output, key)
	case "fail":
		if e.Test == "" {
			// Tests that did not end, as after a panic or at the time limit.
			for _, open := range slices.SortedFunc(maps.Keys(r.output), func(a, b [2]string) int { return strings.Compare(a[1], b[1]) }) {
				if open[0] == e.Package && open[1] != "" {
					r.print(r.output[open])
					delete(r.output, open)
				}
			}
		} else {
			r.failed++
			r.why = append(r.why, why(e, r.output[key])...)
		}
		r.print(r.output[key])
		delete(r.output, key)
	}
}

func (r *report) print(lines []string) {
	for _, l := range lines {
		if !progress.MatchString(l) {
			fmt.Fprint(r.out, l)
		}
	}
}

// progress are the lines that -json implies and that say nothing.
var progress = regexp.MustCompile(`^=== (RUN|PAUSE|CONT|NAME)\b`)

// place is where a test's log says that a line comes from.
var place = regexp.MustCompile(`^\s*[\w.-]+\.go:\d+: `)

// reason is the last thing that a test logged before it was skipped.
func reason(output []string) string {
	for _, l := range slices.Backward(output) {
		if place.MatchString(l) {
			return strings.TrimSpace(place.ReplaceAllString(l, ""))
		}
	}
	return "it gives no reason"
}

// maxWhy and maxLine bound what is repeated of one failed test: a line of a log
// that quotes another may have thousands of characters.
const (
	maxWhy  = 20
	maxLine = 400
)

// why are the first lines of what a failed test logged. They stand at the end
// again: a log of all packages is long, and who reads it may have its end only.
func why(e event, output []string) []string {
	var lines []string
	for i, l := range output {
		if !place.MatchString(l) || len(lines) == maxWhy {
			continue
		}
		l = strings.TrimSpace(l)
		if strings.HasSuffix(l, ":") && i+1 < len(output) { // the text begins on the next line
			l += " " + strings.TrimSpace(output[i+1])
		}
		if len(l) > maxLine {
			l = strings.ToValidUTF8(l[:maxLine], "") + "…"
		}
		lines = append(lines, e.Test+": "+l)
	}
	return lines
}

// end prints what was kept for the end.
func (r *report) end() {
	if len(r.figures) > 0 {
		fmt.Fprintln(r.out, "\nFigures:")
	}
	for _, f := range r.figures {
		fmt.Fprintln(r.out, "  "+f)
	}
	n := 0
	for _, tests := range r.skipped {
		n += len(tests)
	}
	fmt.Fprintf(r.out, "\n%s failed, %s skipped", tests(r.failed), tests(n))
	if n > 0 {
		fmt.Fprint(r.out, ":")
	}
	fmt.Fprintln(r.out)
	for _, why := range slices.Sorted(maps.Keys(r.skipped)) {
		fmt.Fprintln(r.out, "  "+why)
		for _, test := range r.skipped[why] {
			fmt.Fprintln(r.out, "    "+test)
		}
	}
	if len(r.why) > 0 {
		fmt.Fprintln(r.out, "\nWhat the failed ones logged:")
	}
	for _, line := range r.why {
		fmt.Fprintln(r.out, "  "+line)
	}
}

func tests(n int) string {
	if n == 1 {
		return "1 test"
	}
	return fmt.Sprintf("%d tests", n)
}
