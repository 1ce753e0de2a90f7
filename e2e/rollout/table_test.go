package rollout_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/proxy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// row is one line of the table of verdicts: what is deployed, and why our verdict
// is right where kubectl has another one.
type row struct {
	// line is the paragraph of the review that found a wrong verdict or sentence
	// here: C of verdicts, D of health, E of words.
	line, name string

	before   string            // manifest of a version that serves before; none if empty
	old      map[string]string // how that one's image acts
	arrange  func(x *cloudtest.Test)
	manifest string
	labels   map[string]string
	with     map[string]string
	faults   []proxy.Fault
	status   string // written by the controller of the custom resource, as YAML

	outcome string
	shows   string // expression for the part of the log that is our sentence; all annotations if empty
	kubectl string // rollout status deployment/model if empty, nobody if "-"
	why     string // we differ from kubectl, if we do
	sample  bool   // played by every `make test`
	built   bool   // arrange has published the version
}

// played is what became of a row.
type played struct {
	row
	exit             int
	got, said, other string
	took             time.Duration
}

// TestVerdicts prints the table of verdicts, ours and kubectl's: what was wrong
// once, and is right now. Each row is held against its paragraph of a golden file.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var all []played
	t.Cleanup(func() {
		slices.SortFunc(all, func(a, b played) int { return strings.Compare(a.line+a.name, b.line+b.name) })
		cloudtest.Figure(t, "%s", printed(all))
		compare(t, all)
	})
	for _, r := range rows() {
		if !r.sample && !cloudtest.Campaign() {
			continue
		}
		t.Run(r.line+" "+r.name, func(t *testing.T) {
			t.Parallel()
			p := r.play(cloudtest.New(t))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, p)
		})
	}
}

// play deploys the row, and has kubectl watch the same rollout from the moment that
// it begins.
func (r row) play(x *cloudtest.Test) played {
	x.Helper()
	with := map[string]string{"rollback": "false", "timeout": "1m"}
	for name, value := range r.with {
		with[name] = value
	}
	if r.before != "" {
		want(x, deploy(x, 1, r.before, r.old, nil), "deployed")
	}
	if r.arrange != nil {
		r.arrange(x)
	}
	for _, f := range r.faults {
		f.Client = x.Client
		x.Cleanup(x.Cloud.Proxy.Faults.Add(f))
	}
	if !r.built {
		x.Push(x.SHA(2), r.labels)
	}
	x.Write("kubernetes/model.yaml", r.manifest)
	if r.status != "" {
		x.Cleanup(controls(x, r.manifest, r.status))
	}
	step := x.Step(x.SHA(2), with)
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.Context()))
	defer cancel()
	other, begun := make(chan string, 1), false
	step.OnLine = func(line string) {
		if r.kubectl != "-" && !begun && writes.MatchString(line) {
			begun = true
			go func() { other <- asks(ctx, x, r.kubectl) }()
		}
	}
	result := x.Run(step)
	p := played{row: r, exit: result.ExitCode, got: result.Outputs["outcome"], took: result.Duration, other: "nobody waits"}
	if result.Outputs["outcome"] != r.outcome {
		x.Errorf("exit code %d, outcome %q, want %q", result.ExitCode, result.Outputs["outcome"], r.outcome)
	}
	switch {
	case r.shows != "":
		if p.said = x.Same(regexp.MustCompile(r.shows).FindString(result.Log)); p.said == "" {
			x.Errorf("no line of the log is like %q", r.shows)
		}
	case len(result.Annotations) > 0:
		p.said = x.Verdict(result)
	}
	if begun {
		// Whoever is sooner is no other verdict.
		late := time.AfterFunc(10*time.Second, cancel)
		p.other = x.Same(<-other)
		late.Stop()
	}
	return p
}

// writes is the line that says that the workload is written.
var writes = regexp.MustCompile(`/model (created|configured|unchanged)|/[a-z]+ created`)

// asks is kubectl's verdict: its exit code, or that it still waited when it was
// stopped, when its --timeout would have made it fail.
func asks(ctx context.Context, x *cloudtest.Test, command string) string {
	if command == "" {
		command = "rollout status deployment/model"
	}
	path, err := exec.LookPath("kubectl")
	if err != nil {
		return "kubectl is not installed"
	}
	args := append([]string{"--kubeconfig", x.Cloud.Kubeconfig, "--namespace", x.Namespace}, strings.Fields(command)...)
	for {
		var out bytes.Buffer
		c := exec.CommandContext(ctx, path, args...)
		c.Stdout, c.Stderr = &out, &out
		err := c.Run()
		last := out.String()
		if lines := strings.Split(strings.TrimSpace(last), "\n"); len(lines) > 0 {
			last = lines[len(lines)-1]
		}
		var code *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return command + ": waits until its --timeout"
		case err == nil:
			return command + ": exit 0"
		case strings.Contains(last, "NotFound"): // it is not written yet
			time.Sleep(200 * time.Millisecond)
		case errors.As(err, &code):
			return fmt.Sprintf("%s: exit %d: %s", command, code.ExitCode(), last)
		default:
			return err.Error()
		}
	}
}

// paragraph is a row of the golden file: all but what varies.
func (p played) paragraph() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s %s\noutcome: %s, exit code %d\n", p.line, p.name, p.got, p.exit)
	for line := range strings.Lines(p.said) {
		fmt.Fprintf(&b, "says:    %s\n", strings.TrimSpace(line))
	}
	fmt.Fprintf(&b, "kubectl: %s\n", p.other)
	if p.why != "" {
		fmt.Fprintf(&b, "why:     %s\n", p.why)
	}
	return b.String() + "\n"
}

// printed is the table with the seconds.
func printed(all []played) string {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "deployed\tours\tafter\tkubectl\tours says\twhy we differ")
	for _, p := range all {
		fmt.Fprintf(w, "%s %s\t%s\t%.0f s\t%s\t%s\t%s\n", p.line, p.name, p.got, p.took.Seconds(), brief(p.other), brief(p.said), p.why)
	}
	_ = w.Flush()
	return b.String()
}

func brief(text string) string {
	if text = strings.Join(strings.Fields(text), " "); len(text) > 160 {
		text = text[:160] + "…"
	}
	return text
}

// compare holds the rows against their paragraphs of the golden file. With -update
// it writes those that were played, and keeps the others.
func compare(t *testing.T, all []played) {
	t.Helper()
	const path = "testdata/verdicts.golden"
	content, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	known := map[string]string{}
	for paragraph := range strings.SplitSeq(string(content), "\n\n") {
		if title, _, ok := strings.Cut(paragraph, "\n"); ok {
			known[title] = strings.TrimSpace(paragraph) + "\n\n"
		}
	}
	_, err = exec.LookPath("kubectl")
	for _, p := range all {
		got := p.paragraph()
		title, _, _ := strings.Cut(got, "\n")
		want := known[title]
		if err != nil { // kubectl's word is what it said where it was asked
			got, want = kubectlLine.ReplaceAllString(got, ""), kubectlLine.ReplaceAllString(want, "")
		}
		if !*update && got != want {
			t.Errorf("another verdict; if it is right, write it with -update\n--- want\n%s--- got\n%s", want, got)
		}
		known[title] = got
	}
	if !*update {
		return
	}
	var text strings.Builder
	for _, r := range rows() {
		text.WriteString(known["## "+r.line+" "+r.name])
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

var kubectlLine = regexp.MustCompile(`(?m)^kubectl: .*\n`)

// TestEachDifferenceHasAReason holds that wherever the golden file has kubectl
// succeed and us fail, or the other way round, it says why we are right.
func TestEachDifferenceHasAReason(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/verdicts.golden")
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for _, r := range rows() {
		_, rest, there := strings.Cut(text, "## "+r.line+" "+r.name+"\n")
		paragraph, _, _ := strings.Cut(rest, "\n\n")
		_, other, _ := strings.Cut(paragraph, "\nkubectl: ")
		ours, theirs := strings.Contains(paragraph, ", exit code 0"), strings.Contains(other, ": exit 0")
		asked := !strings.HasPrefix(other, "nobody waits")
		if !there || (asked && ours != theirs) != strings.Contains(paragraph, "\nwhy: ") {
			t.Errorf("%s %s: a difference from kubectl and its reason go together:\n%s", r.line, r.name, paragraph)
		}
	}
}
