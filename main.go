// Command deploy-model-action deploys a model to Google Kubernetes Engine as
// one step of a GitHub Actions workflow: it applies the repository's manifests
// with the image of this commit and waits until that serves.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/org/deploy-model-action/pkg/actions"
	"github.com/org/deploy-model-action/pkg/deploy"
	"github.com/org/deploy-model-action/pkg/grant"
	"github.com/org/deploy-model-action/pkg/report"
)

func main() {
	actions.Silence(&os.Stderr)
	// The runner sends SIGINT, SIGTERM 7.5 s later, and kills 2.5 s after that.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) (code int) {
	workflow := actions.New(getenv, stdout)
	defer report.Rescue(workflow, &code)
	options := deploy.Defaults()
	options.Mistakes = workflow.Bind(&options)
	runner := deploy.Runner{Getenv: getenv, IDToken: workflow.IDToken, Fork: workflow.Event().Fork}
	switch {
	case len(args) == 0: // as the runner starts it
	case args[0] == "grant":
		return grant.Run(ctx, args[1:], grant.Options{Getenv: getenv, Printf: workflow.Printf, Mask: workflow.Mask})
	case args[0] == "history":
		return deploy.History(ctx, args[1:], deploy.HistoryOptions{Inputs: options, Runner: runner, Log: workflow})
	default:
		return report.Refuse(workflow, "Unknown command", fmt.Sprintf("unknown command %q: without one, the image is a step of a workflow; `grant` gives a service account its roles, `history` shows what was deployed", args[0]))
	}
	folder := workflow.Run().Workspace
	workspace, err := os.OpenRoot(folder)
	if err != nil {
		return report.Refuse(workflow, "Workspace", fmt.Sprintf("open workspace %q: %v; run actions/checkout first", folder, err))
	}
	defer workspace.Close()
	runner.Workspace = workspace
	written := report.Begin(workflow)
	result := deploy.Run(ctx, options, runner, workflow)
	if err := errors.Join(written, report.Write(workflow, result)); err != nil {
		// The deploy stands; a step that reads its outputs must not go on without them.
		workflow.Annotate(actions.Annotation{Level: "error", Title: "Report", Message: err.Error()})
		return max(result.ExitCode, deploy.ExitRefused)
	}
	return result.ExitCode
}
