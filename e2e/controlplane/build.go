// Package controlplane builds and runs a real Kubernetes control plane: etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler in one child
// process, with a certificate authority of its own.
//
// It authenticates bearer tokens by webhook and authorises by RBAC, as GKE
// does, and reaches nodes and pods through its caller. Who may have a token,
// and what nodes there are, is left to others.
package controlplane

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// module is this module; its go.mod pins the version of Kubernetes.
const module = "github.com/org/deploy-model-action/e2e"

// Build compiles one of this module's commands that hold Kubernetes itself
// ("controlplane" or "kubelet") and returns its path. What was built before is
// kept in the user's cache folder. Since compiling takes minutes the first
// time, log is told before and after.
func Build(ctx context.Context, command string, log io.Writer) (string, error) {
	dir, err := goList(ctx, "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		return "", fmt.Errorf("build %s: run it inside the folder e2e: %w", command, err)
	}
	version, err := goList(ctx, "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	if err != nil {
		return "", fmt.Errorf("build %s: %w", command, err)
	}
	sum, err := digest(dir, filepath.Join(dir, "cmd", command))
	if err != nil {
		return "", fmt.Errorf("build %s: %w", command, err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("build %s: %w", command, err)
	}
	cache = filepath.Join(cache, "deploy-model-action")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", fmt.Errorf("build %s: %w", command, err)
	}
	unlock, err := lock(filepath.Join(cache, command+".lock"))
	if err != nil {
		return "", fmt.Errorf("build %s: %w", command, err)
	}
	defer unlock()
	binary := filepath.Join(cache, fmt.Sprintf("%s-%s-%x", command, version, sum[:6]))
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}

	fmt.Fprintf(log, "building the %s from k8s.io/kubernetes %s: about 8 minutes on 2 cores the first time, seconds later ...\n", command, version)
	start := time.Now()
	minor, _, _ := strings.Cut(strings.TrimPrefix(version, "v1."), ".")
	const stamp = "-X k8s.io/component-base/version."
	// Stamped, since kubectl cannot parse the version of an unstamped server.
	ldflags := "-s -w " + stamp + "gitVersion=" + version + " " + stamp + "gitMajor=1 " + stamp + "gitMinor=" + minor + " " + stamp + "gitTreeState=clean"
	build := exec.CommandContext(ctx, "go", "build", "-ldflags", ldflags, "-o", binary+".new", "./cmd/"+command)
	build.Dir, build.Stdout, build.Stderr = dir, log, log
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("build %s: %w", command, err)
	}
	if err := os.Rename(binary+".new", binary); err != nil {
		return "", fmt.Errorf("build %s: %w", command, err)
	}
	fmt.Fprintf(log, "built the %s in %s\n", command, time.Since(start).Round(time.Second))
	return binary, nil
}

func goList(ctx context.Context, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", append([]string{"list"}, args...)...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w: %s", err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}

// digest covers what the binary is made from.
func digest(moduleDir, commandDir string) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(commandDir, "*.go"))
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	for _, name := range append(files, filepath.Join(moduleDir, "go.mod"), filepath.Join(moduleDir, "go.sum")) {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(h, "%s %d\n", filepath.Base(name), len(content))
		h.Write(content)
	}
	return h.Sum(nil), nil
}

// lock keeps test packages that run at the same time from building twice.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
