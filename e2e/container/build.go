// Package container builds the action's image from its Dockerfile, unchanged,
// as the runner does at the start of a job.
//
// The base images are pulled where a registry can be reached. Where none can,
// stand-ins of the same name are made from what the machine has: its Go
// toolchain with busybox for the build, certificates and little else for the
// result. How the image is run is left to package runner.
package container

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"
)

// Tag is the name that Build gives the image.
const Tag = "deploy-model-action:e2e"

// pullTimeout is long for a base image and short for a registry that is not there.
const pullTimeout = 2 * time.Minute

var baseArg = regexp.MustCompile(`(?m)^ARG (BUILD_IMAGE|BASE_IMAGE)=(\S+)$`)

// Available tells whether a Docker engine answers.
func Available(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput()
	if err != nil {
		return fmt.Errorf("docker version: %w: %s", err, out)
	}
	return nil
}

// Build builds the image from the Dockerfile in root and returns its name.
// What Docker prints goes to log.
func Build(ctx context.Context, root string, log io.Writer) (string, error) {
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		return "", fmt.Errorf("build: %w", err)
	}
	for _, arg := range baseArg.FindAllStringSubmatch(string(dockerfile), -1) {
		if err := ensure(ctx, arg[1], arg[2], log); err != nil {
			return "", fmt.Errorf("base image %q: %w", arg[2], err)
		}
	}
	// Exactly the runner's command: no build arguments, no cache from elsewhere.
	if err := docker(ctx, nil, log, "build", "-t", Tag, "-f", filepath.Join(root, "Dockerfile"), root); err != nil {
		return "", err
	}
	return Tag, nil
}

// ensure makes a base image present under its own name.
func ensure(ctx context.Context, arg, name string, log io.Writer) error {
	if exec.CommandContext(ctx, "docker", "image", "inspect", name).Run() == nil {
		return nil
	}
	pull, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	if exec.CommandContext(pull, "docker", "pull", "--quiet", name).Run() == nil {
		return nil
	}
	fmt.Fprintf(log, "no registry has %s here: a stand-in is made from this machine's files\n", name)
	read, write := io.Pipe()
	standIn := baseStandIn
	changes := []string{"--change", "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}
	if arg == "BUILD_IMAGE" {
		standIn = buildStandIn
		changes = append(changes, "--change", "ENV PATH=/usr/local/go/bin:/bin", "--change", "ENV GOPATH=/go", "--change", "ENV GOTOOLCHAIN=local")
	}
	go func() { write.CloseWithError(standIn(ctx, write)) }()
	return docker(ctx, read, log, append(append([]string{"import"}, changes...), "-", name)...)
}

func docker(ctx context.Context, stdin io.Reader, log io.Writer, args ...string) error {
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, log, log
	cmd.Env = append(os.Environ(), "DOCKER_BUILDKIT=0") // the stand-ins need nothing of BuildKit, whose frontend may have to be pulled
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("docker %s: %w", args[0], err)
	}
	return nil
}
