package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
	"github.com/org/deploy-model-action/e2e/runner"
)

// bench is one run: a local cloud and the action as it ships.
type bench struct {
	cloud  *localcloud.Cloud
	binary string
	dir    string
	key    string
	count  int // of the folders and commits that were made
}

func start(ctx context.Context) (*bench, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	b := &bench{dir: dir}
	if b.binary, err = runner.BuildAction(ctx, "..", dir); err != nil {
		return nil, err
	}
	if b.cloud, err = localcloud.Start(ctx, localcloud.Options{Dir: filepath.Join(dir, "cloud"), Log: os.Stderr}); err != nil {
		return nil, err
	}
	key, err := os.ReadFile(b.cloud.CredentialsFile)
	b.key = string(key)
	return b, err
}

func (b *bench) close() {
	b.cloud.Close()
	_ = os.RemoveAll(b.dir)
}

// workspace makes a folder with the manifests, and publishes an image for the commit.
func (b *bench) workspace(ctx context.Context, manifests string) (folder, sha string, err error) {
	b.count++
	folder = filepath.Join(b.dir, fmt.Sprintf("workspace-%d", b.count))
	if err := os.MkdirAll(filepath.Join(folder, "kubernetes"), 0o755); err != nil {
		return "", "", err
	}
	// No file may be larger than 1 MiB.
	for i, some := range slices.Collect(slices.Chunk(strings.SplitAfter(manifests, "---\n"), 200)) {
		if err := os.WriteFile(filepath.Join(folder, "kubernetes", fmt.Sprintf("all-%d.yaml", i)), []byte(strings.Join(some, "")), 0o644); err != nil {
			return "", "", err
		}
	}
	sha, err = b.commit(ctx)
	return folder, sha, err
}

// commit is a new commit whose image is published.
func (b *bench) commit(ctx context.Context) (string, error) {
	b.count++
	sha := fmt.Sprintf("%040x", b.count)
	_, err := b.cloud.Registry.Push(ctx, localcloud.RegistryHost+"/model:"+sha, nil)
	return sha, err
}

// deploy runs the action; address is the proxy's, or that of a slow line to it.
func (b *bench) deploy(ctx context.Context, folder, sha, address, client string) (*runner.Result, error) {
	env := b.cloud.Env(client)
	for name, value := range env {
		env[name] = strings.ReplaceAll(value, strings.TrimPrefix(b.cloud.Proxy.URL, "http://"), address)
	}
	result, err := runner.Step{
		Binary: b.binary, Metadata: "../action.yml", Workspace: folder, SHA: sha, Env: env,
		With: map[string]string{
			"cluster_name": localcloud.Cluster, "zone": localcloud.Location,
			"registry_host": localcloud.RegistryHost, "credentials_json": b.key,
		},
	}.Run(ctx)
	if err == nil && result.ExitCode != 0 {
		err = fmt.Errorf("the action ended with exit code %d\n%s", result.ExitCode, result.Log)
	}
	return result, err
}

// kubeconfig is for kubectl with a token in hand, at its best: no program has to
// be started for a token. It goes through the proxy at address.
func (b *bench) kubeconfig(address string) (string, error) {
	token, _ := b.cloud.Google.Issue(b.cloud.ServiceAccount)
	path := filepath.Join(b.dir, "kubeconfig-"+strings.ReplaceAll(address, ":", "-"))
	content := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://192.0.2.10", certificate-authority-data: %q, proxy-url: "http://kubectl@%s"}}]
users: [{name: u, user: {token: %q}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, base64.StdEncoding.EncodeToString(b.cloud.ControlPlane.CA.PEM), address, token)
	return path, os.WriteFile(path, []byte(content), 0o600)
}

// command runs another tool and returns how long it took.
func (b *bench) command(ctx context.Context, env []string, args ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return time.Since(began), nil
}

// seen are the requests of a client at the API server's address.
func (b *bench) seen(client string) ([]proxy.Entry, error) {
	f, err := os.Open(b.cloud.RequestsFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []proxy.Entry
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e proxy.Entry
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.Client == client {
			all = append(all, e)
		}
	}
	return all, lines.Err()
}

// median of some times.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// compare prints a ratio beside its budget.
func compare(what string, ours, theirs time.Duration, budget float64) {
	ratio := ours.Seconds() / theirs.Seconds()
	fmt.Printf("%-76s %7.2f s / %7.2f s = %.2f   (budget %.2f)%s\n", what, ours.Seconds(), theirs.Seconds(), ratio, budget, over(ratio > budget))
}

func over(is bool) string {
	if is {
		return "  OVER"
	}
	return ""
}

// missing says which tools of others are not installed; nothing is compared with those.
func missing(tools ...string) error {
	var errs []error
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
