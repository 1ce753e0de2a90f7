// Package runner runs the action as the GitHub Actions runner does: the same
// environment, files and mounts, and the same rules for what the action prints.
// It follows actions/runner 2.336 (ContainerActionHandler.cs, ActionCommand.cs,
// FileCommandManager.cs).
//
// The action is a binary or an image; neither knows the difference.
package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"
)

// Step is one step of a workflow that uses the action.
type Step struct {
	// Binary or Image is the action.
	Binary, Image string
	// Metadata is the path of action.yml, for the inputs' defaults.
	Metadata string
	// With are the step's inputs.
	With map[string]string
	// Env is the environment that earlier steps and the workflow left, with paths of the host.
	Env map[string]string
	// Workspace is the checkout. Required.
	Workspace string
	// SHA is the commit; Event the trigger, `push` if empty; RunID, Number and
	// Attempt the run's: 16000000001, 1 and 1 if empty.
	SHA, Event, RunID, Number, Attempt string
	// Payload is the event's, as JSON; {} if empty.
	Payload string
	// OldRunner acts as runners before 2.331, and with them GHES, did: RUNNER_TEMP is
	// not mounted into the container, and names a folder of the machine there. A
	// binary gets a RUNNER_TEMP that does not exist.
	OldRunner bool
	// DockerArgs come before the image, e.g. --network host.
	DockerArgs []string
	// OnLine is told each line as it is printed; nil if nobody asks.
	OnLine func(line string)
	// OnStart is given, before the process starts, what ends it at once, as when the
	// runner's machine goes away; nil if nobody asks. Of a container, only the
	// client ends.
	OnStart func(kill func())
}

// Result is what the runner knows after the step.
type Result struct {
	ExitCode    int    // -1 if it was killed
	Raw         string // standard output and error, as printed
	Log         string // as a user reads it: masked, without commands
	Outputs     map[string]string
	Summary     string
	Annotations []Annotation
	Masks       []string
	Warnings    []string // of the runner itself
	Duration    time.Duration
	MaxRSS      int64    // bytes that the process held at most; 0 for a container
	Files       []string // that the action made or changed outside the runner's own files
}

// intToTerm and termToKill are the runner's patience after a cancellation.
const (
	intToTerm  = 7500 * time.Millisecond
	termToKill = 2500 * time.Millisecond
)

// Run runs the step. When ctx ends, the step is cancelled as the runner does:
// SIGINT, SIGTERM 7.5 s later, and 2.5 s after that it is killed.
func (s Step) Run(ctx context.Context) (*Result, error) {
	files, err := newFiles(s)
	if err != nil {
		return nil, fmt.Errorf("runner: %w", err)
	}
	defer files.remove()
	env, warnings, err := s.environment(files)
	if err != nil {
		return nil, fmt.Errorf("runner: %w", err)
	}
	before, err := files.snapshot()
	if err != nil {
		return nil, fmt.Errorf("runner: %w", err)
	}
	cmd := s.command(files, env)
	var out output
	out.onLine = s.OnLine
	cmd.Stdout, cmd.Stderr = &out, &out
	started := make(chan struct{})
	if s.OnStart != nil {
		s.OnStart(func() {
			<-started
			_ = cmd.Process.Kill()
		})
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("runner: %w", err)
	}
	close(started)
	held := measure(cmd.Process.Pid)
	err = wait(ctx, cmd)
	most := held.end()
	result := &Result{Raw: out.String(), Duration: time.Since(start), Warnings: warnings}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		result.ExitCode = exit.ExitCode()
	} else if err != nil {
		return result, fmt.Errorf("runner: %w", err)
	}
	if s.Image == "" {
		result.MaxRSS = most
	}
	parse(result)
	after, err := files.snapshot()
	if err != nil {
		return result, err
	}
	result.Files = changed(before, after)
	return result, files.read(result)
}

func wait(ctx context.Context, cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGINT, intToTerm}, {syscall.SIGTERM, termToKill}, {syscall.SIGKILL, time.Minute}} {
		_ = cmd.Process.Signal(step.signal)
		select {
		case err := <-done:
			return err
		case <-time.After(step.wait):
		}
	}
	return errors.New("the action does not end")
}

// environment is what the runner gives a container action.
func (s Step) environment(f *files) (map[string]string, []string, error) {
	content, err := os.ReadFile(s.Metadata)
	if err != nil {
		return nil, nil, err
	}
	var action struct {
		Inputs map[string]struct {
			Default string `json:"default"`
		} `json:"inputs"`
	}
	if err := yaml.Unmarshal(content, &action); err != nil {
		return nil, nil, err
	}
	env := map[string]string{}
	for name, in := range action.Inputs {
		value := strings.ReplaceAll(in.Default, "${{ github.sha }}", s.SHA)
		if v, ok := s.With[name]; ok {
			value = v
		}
		env["INPUT_"+strings.ToUpper(strings.ReplaceAll(name, " ", "_"))] = value
	}
	var warnings []string
	for name := range s.With {
		if _, ok := action.Inputs[name]; !ok {
			warnings = append(warnings, fmt.Sprintf("Unexpected input(s) '%s'", name))
			env["INPUT_"+strings.ToUpper(name)] = s.With[name]
		}
	}
	maps.Copy(env, map[string]string{
		"GITHUB_ACTIONS": "true", "CI": "true",
		"GITHUB_ACTION": "deploy", "GITHUB_ACTOR": "octocat", "GITHUB_API_URL": "https://api.github.com",
		"GITHUB_EVENT_NAME": or(s.Event, "push"), "GITHUB_EVENT_PATH": f.event, "GITHUB_GRAPHQL_URL": "https://api.github.com/graphql",
		"GITHUB_HEAD_REF": "", "GITHUB_BASE_REF": "", "GITHUB_JOB": "deploy", "GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main",
		"GITHUB_REPOSITORY": "octocat/model", "GITHUB_REPOSITORY_OWNER": "octocat", "GITHUB_RETENTION_DAYS": "90",
		"GITHUB_RUN_ID": or(s.RunID, "16000000001"), "GITHUB_RUN_NUMBER": or(s.Number, "1"), "GITHUB_RUN_ATTEMPT": or(s.Attempt, "1"),
		"GITHUB_SERVER_URL": "https://github.com", "GITHUB_SHA": s.SHA, "GITHUB_WORKFLOW": "MLOps", "GITHUB_WORKSPACE": f.workspace,
		"GITHUB_OUTPUT": f.output, "GITHUB_ENV": f.env, "GITHUB_PATH": f.path, "GITHUB_STATE": f.state, "GITHUB_STEP_SUMMARY": f.summary,
		"RUNNER_OS": "Linux", "RUNNER_ARCH": "X64", "RUNNER_NAME": "GitHub Actions 1", "RUNNER_ENVIRONMENT": "github-hosted",
		"RUNNER_TEMP": f.temp, "RUNNER_TOOL_CACHE": "/opt/hostedtoolcache", "HOME": f.home,
	})
	if s.OldRunner {
		env["RUNNER_TEMP"] = unmounted
	}
	maps.Copy(env, s.Env)
	return env, warnings, nil
}

// unmounted is a folder of the machine that is not there where the action runs.
const unmounted = "/home/runner/work/_temp"

// command is the binary with that environment and no other, or the runner's own docker run.
func (s Step) command(f *files, env map[string]string) *exec.Cmd {
	if s.Image == "" {
		cmd := exec.Command(s.Binary) //nolint:noctx // it is cancelled by signals, as the runner does
		cmd.Dir = s.Workspace
		for name, value := range env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		return cmd
	}
	args := []string{
		"run", "--name", "deploymodelaction_" + filepath.Base(f.temp), "--label", "localcloud",
		"--workdir", "/github/workspace", "--rm",
	}
	cmdEnv := os.Environ()
	for _, name := range slices.Sorted(maps.Keys(env)) {
		args = append(args, "-e", name) // names only: a value would be on the command line
		cmdEnv = append(cmdEnv, name+"="+f.translate(env[name]))
	}
	args = append(args, "-v", "/var/run/docker.sock:/var/run/docker.sock")
	if !s.OldRunner {
		args = append(args, "-v", f.temp+":/github/runner_temp")
	}
	args = append(args, "-v", f.home+":/github/home", "-v", f.workflow+":/github/workflow",
		"-v", f.commands+":/github/file_commands", "-v", s.Workspace+":/github/workspace")
	args = append(append(args, s.DockerArgs...), s.Image)
	cmd := exec.Command("docker", args...) //nolint:noctx // as above
	cmd.Env = cmdEnv
	return cmd
}

// output collects lines as they come.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
	rest   string
	onLine func(string)
}

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.onLine != nil {
		o.rest += string(b)
		for {
			line, rest, ok := strings.Cut(o.rest, "\n")
			if !ok {
				break
			}
			o.rest = rest
			o.onLine(line)
		}
	}
	return o.buffer.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
}

func or(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
