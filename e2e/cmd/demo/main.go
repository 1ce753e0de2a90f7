// Command demo shows the action at work: it starts a local cloud, deploys the
// seed's model, deploys the same commit again, then a new commit, and asks the
// model's URL. What it prints of a deploy is what a user sees in the job's log.
package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/runner"
)

// The commits of the demo.
const (
	first  = "3b1c9f04d5e6a7b8c9d0e1f2a3b4c5d6e7f80912"
	second = "8e2d7a6b5c4f3e2d1c0b9a8f7e6d5c4b3a291807"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "demo")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root := ".." // go -C e2e run ./cmd/demo
	binary, err := runner.BuildAction(ctx, root, dir)
	if err != nil {
		return err
	}
	cloud, err := localcloud.Start(ctx, localcloud.Options{Dir: filepath.Join(dir, "cloud"), Log: os.Stderr})
	if err != nil {
		return err
	}
	defer cloud.Close()
	workspace := filepath.Join(dir, "workspace")
	if err := os.CopyFS(filepath.Join(workspace, "kubernetes"), os.DirFS(filepath.Join(root, "testdata", "kubernetes"))); err != nil {
		return err
	}
	key, err := os.ReadFile(cloud.CredentialsFile)
	if err != nil {
		return err
	}
	for _, sha := range []string{first, second} {
		if _, err := cloud.Registry.Push(ctx, localcloud.RegistryHost+"/celestial-bodies-classifier:"+sha, nil); err != nil {
			return err
		}
	}
	var last *runner.Result
	for _, deploy := range []struct{ title, sha string }{
		{"A first deploy", first}, {"The same commit again", first}, {"A new commit", second},
	} {
		fmt.Printf("\n===== %s (%s)\n", deploy.title, deploy.sha[:12])
		step := runner.Step{
			Binary: binary, Metadata: filepath.Join(root, "action.yml"), Workspace: workspace, SHA: deploy.sha, Env: cloud.Env("demo"),
			With: map[string]string{
				"cluster_name": localcloud.Cluster, "zone": localcloud.Location,
				"registry_host": localcloud.RegistryHost, "credentials_json": string(key),
			},
		}
		if last, err = step.Run(ctx); err != nil {
			return err
		}
		fmt.Print(last.Log)
		if last.ExitCode != 0 {
			return fmt.Errorf("the action ended with exit code %d", last.ExitCode)
		}
		if summary := os.Getenv("DEMO_SUMMARY"); summary != "" { // to look at it
			if err := os.WriteFile(summary, []byte(last.Summary), 0o644); err != nil {
				return err
			}
		}
	}
	return ask(ctx, cloud, last.Outputs["url"])
}

// ask shows what the model answers, as anybody on the internet would see it.
func ask(ctx context.Context, cloud *localcloud.Cloud, address string) error {
	through, err := url.Parse(cloud.Proxy.URL)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(through)}, Timeout: 10 * time.Second}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	fmt.Printf("\n===== GET %s: %s\n%s", address, response.Status, body)
	return nil
}
