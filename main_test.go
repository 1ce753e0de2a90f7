package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// last is the value that GitHub takes of an output: that of its last line.
func last(t *testing.T, file, name string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	value := ""
	lines := strings.Split(string(content), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, name+"<<") && i+1 < len(lines) {
			value = lines[i+1]
		}
	}
	return value
}

// Whatever happens, a later step reads an outcome, and the exit code is true: 2
// says that the inputs are wrong and nothing was contacted.
func TestTheOutcomeIsAlwaysWritten(t *testing.T) {
	t.Parallel()
	workspace := t.TempDir()
	var nothing map[string]int
	for _, tt := range []struct {
		name, workspace string
		args            []string
		panics          func()
		exit            int
		log             string
	}{
		{"wrong inputs", workspace, nil, nil, 2, "cluster_name"},
		{"no workspace", filepath.Join(workspace, "nothing"), nil, nil, 2, "run actions/checkout first"},
		{"unknown command", workspace, []string{"deplyo"}, nil, 2, `unknown command "deplyo"`},
		{"panic", workspace, nil, func() { nothing["a"] = 1 }, 1, "Fault of the action"},
		{"panic with words of somebody else", workspace, nil, func() { panic(errors.New("token hunter2")) }, 1, "*errors.errorString"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			output := filepath.Join(t.TempDir(), "output")
			if err := os.WriteFile(output, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			getenv := func(name string) string {
				switch {
				case name == "GITHUB_OUTPUT":
					return output
				case name == "GITHUB_WORKSPACE":
					return tt.workspace
				case name == "GITHUB_EVENT_NAME" && tt.panics != nil || strings.HasPrefix(name, "GOOGLE_") && tt.panics != nil:
					tt.panics()
				}
				return ""
			}
			var log strings.Builder
			code := run(t.Context(), tt.args, getenv, io.Writer(&log))
			if code != tt.exit || last(t, output, "outcome") != "failed" {
				t.Errorf("exit code %d, outcome %q; want %d and failed\n%s", code, last(t, output, "outcome"), tt.exit, log.String())
			}
			if !strings.Contains(log.String(), tt.log) || strings.Contains(log.String(), "hunter2") {
				t.Errorf("the log is\n%s", log.String())
			}
		})
	}
}
