package runner

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const metadata = `
inputs:
  cluster_name: {required: true}
  sha: {default: "${{ github.sha }}"}
  timeout: {default: 10m}
`

// script makes a step out of a shell script.
func script(t *testing.T, body string) Step {
	t.Helper()
	dir := t.TempDir()
	s := Step{
		Binary: filepath.Join(dir, "action"), Metadata: filepath.Join(dir, "action.yml"),
		Workspace: filepath.Join(dir, "workspace"), SHA: "3b1c9f",
	}
	if err := os.Mkdir(s.Workspace, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{s.Binary: "#!/bin/sh\n" + body, s.Metadata: metadata} {
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestRun(t *testing.T) {
	t.Parallel()
	s := script(t, `
echo "inputs: [$INPUT_CLUSTER_NAME] [$INPUT_SHA] [$INPUT_TIMEOUT] [$INPUT_EXTRA]"
echo "env: $GITHUB_ACTIONS $CI $GITHUB_EVENT_NAME $GITHUB_RUN_ID $GITHUB_RUN_NUMBER $GITHUB_RUN_ATTEMPT $EARLIER [$PATH_OF_TEST]"
pwd >&2
echo outcome=deployed >>"$GITHUB_OUTPUT"
echo "# Summary" >>"$GITHUB_STEP_SUMMARY"
echo "::error title=T::no"
echo new >new; echo changed >kept; rm gone; echo temp >"$RUNNER_TEMP/t"; echo home >"$HOME/h"
exit 7`)
	for name, content := range map[string]string{"kept": "old\n", "same": "same\n", "gone": "x"} {
		if err := os.WriteFile(filepath.Join(s.Workspace, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.With = map[string]string{"cluster_name": "c", "extra": "e"}
	s.Env = map[string]string{"EARLIER": "step", "PATH": os.Getenv("PATH")}
	s.RunID, s.Number, s.Attempt = "34", "12", "2"
	var lines []string
	s.OnLine = func(line string) { lines = append(lines, line) }
	r, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := "inputs: [c] [3b1c9f] [10m] [e]\nenv: true true push 34 12 2 step []\n" + s.Workspace + "\nError: no\n"
	if diff := cmp.Diff(want, r.Log); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if len(lines) != 4 || lines[0] != "inputs: [c] [3b1c9f] [10m] [e]" {
		t.Errorf("lines as they came: %q", lines)
	}
	if r.ExitCode != 7 || r.Outputs["outcome"] != "deployed" || r.Summary != "# Summary\n" || len(r.Annotations) != 1 || r.MaxRSS == 0 {
		t.Errorf("result: %+v", r)
	}
	if diff := cmp.Diff([]string{"Unexpected input(s) 'extra'"}, r.Warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	var names []string
	for _, file := range r.Files {
		names = append(names, filepath.Base(file))
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"gone", "h", "kept", "new", "t"}, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestFilesThatNoStepMayWrite(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`echo A=b >>"$GITHUB_ENV"`:                          "GITHUB_ENV: the action wrote to it",
		`echo /x >>"$GITHUB_PATH"`:                          "GITHUB_PATH: the action wrote to it",
		`echo a=b >>"$GITHUB_STATE"`:                        "GITHUB_STATE: the action wrote to it",
		`echo broken >>"$GITHUB_OUTPUT"`:                    `GITHUB_OUTPUT: invalid format "broken"`,
		`head -c 1048577 /dev/zero >"$GITHUB_STEP_SUMMARY"`: "GITHUB_STEP_SUMMARY: 1048577 bytes; the runner drops more than 1 MiB",
	} {
		s := script(t, body)
		s.Env = map[string]string{"PATH": os.Getenv("PATH")}
		if _, err := s.Run(t.Context()); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", body, err, want)
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, body string
		code       int
		least      time.Duration
	}{
		{"by SIGINT", `trap 'echo got INT; exit 3' INT; echo ready; while :; do sleep 0.05; done`, 3, 0},
		{"by SIGTERM", `trap '' INT; trap 'echo got TERM; exit 4' TERM; echo ready; while :; do sleep 0.05; done`, 4, intToTerm},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := script(t, test.body)
			s.Env = map[string]string{"PATH": os.Getenv("PATH")}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.OnLine = func(string) { cancel() }
			r, err := s.Run(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if r.ExitCode != test.code || r.Duration < test.least || r.Duration > test.least+3*time.Second {
				t.Errorf("exit code %d after %s, want %d after %s: %s", r.ExitCode, r.Duration, test.code, test.least, r.Log)
			}
		})
	}
}

// TestKill ends a step without a chance to say or do anything.
func TestKill(t *testing.T) {
	t.Parallel()
	s := script(t, `trap 'echo got a signal' INT TERM; echo ready; while :; do sleep 0.05; done`)
	s.Env = map[string]string{"PATH": os.Getenv("PATH")}
	var kill func()
	s.OnStart = func(k func()) { kill = k }
	s.OnLine = func(string) { kill() }
	r, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.ExitCode != -1 || r.Log != "ready\n" {
		t.Errorf("exit code %d, log %q", r.ExitCode, r.Log)
	}
}

func TestDockerCommand(t *testing.T) {
	t.Parallel()
	s := script(t, "")
	s.Image, s.DockerArgs = "image:tag", []string{"--network", "host"}
	s.Env = map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": filepath.Join(s.Workspace, "gha-creds-1.json")}
	f, err := newFiles(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.remove() })
	env, _, err := s.environment(f)
	if err != nil {
		t.Fatal(err)
	}
	cmd := s.command(f, env)
	line := strings.Join(cmd.Args, " ")
	for _, part := range []string{
		"docker run --name deploymodelaction_", " --workdir /github/workspace --rm -e ", " -e GOOGLE_APPLICATION_CREDENTIALS ", " -e INPUT_CLUSTER_NAME ",
		" -v /var/run/docker.sock:/var/run/docker.sock -v " + f.temp + ":/github/runner_temp -v " + f.home + ":/github/home -v " +
			f.workflow + ":/github/workflow -v " + f.commands + ":/github/file_commands -v " + s.Workspace + ":/github/workspace --network host image:tag",
	} {
		if !strings.Contains(line, part) {
			t.Errorf("%s\nlacks %q", line, part)
		}
	}
	for _, variable := range []string{
		"GOOGLE_APPLICATION_CREDENTIALS=/github/workspace/gha-creds-1.json", "GITHUB_WORKSPACE=/github/workspace", "HOME=/github/home",
		"GITHUB_EVENT_PATH=/github/workflow/event.json", "RUNNER_TEMP=/github/runner_temp", "INPUT_SHA=3b1c9f",
	} {
		if !slices.Contains(cmd.Env, variable) {
			t.Errorf("the environment lacks %s", variable)
		}
	}
	if strings.Contains(line, "gha-creds-1.json") {
		t.Errorf("a value is on the command line: %s", line)
	}

	s.OldRunner = true
	if env, _, err = s.environment(f); err != nil {
		t.Fatal(err)
	}
	cmd = s.command(f, env)
	if strings.Contains(strings.Join(cmd.Args, " "), "runner_temp") || !slices.Contains(cmd.Env, "RUNNER_TEMP="+unmounted) {
		t.Errorf("an old runner has RUNNER_TEMP mounted: %q", cmd.Args)
	}
}
