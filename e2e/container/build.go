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
	"strings"
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
	if err := Bases(ctx, root, log); err != nil {
		return "", err
	}
	// Exactly the runner's command: no build arguments, no cache from elsewhere.
	if err := docker(ctx, nil, log, "build", "-t", Tag, "-f", filepath.Join(root, "Dockerfile"), root); err != nil {
		return "", err
	}
	return Tag, nil
}

// Bases makes the base images of the Dockerfile in root present, for whoever
// builds it.
func Bases(ctx context.Context, root string, log io.Writer) error {
	dockerfile, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		return fmt.Errorf("base images: %w", err)
	}
	for _, arg := range baseArg.FindAllStringSubmatch(string(dockerfile), -1) {
		b := base{root: root, name: arg[2], build: arg[1] == "BUILD_IMAGE"}
		if err := b.ensure(ctx, log); err != nil {
			return fmt.Errorf("base image %q: %w", b.name, err)
		}
	}
	return nil
}

// base is a base image of the Dockerfile.
type base struct {
	root, name string
	build      bool // it compiles, and is not shipped
}

// ensure makes the image present under its own name. A stand-in that another
// state of the module made is made again.
func (b base) ensure(ctx context.Context, log io.Writer) error {
	state, err := b.state(ctx)
	if err != nil {
		return err
	}
	label, err := exec.CommandContext(ctx, "docker", "image", "inspect", "--format", `{{index .Config.Labels "`+standInLabel+`"}}`, b.name).Output()
	if made := strings.TrimSpace(string(label)); err == nil && (made == "" || made == state) {
		return nil
	}
	if err != nil {
		pull, cancel := context.WithTimeout(ctx, pullTimeout)
		defer cancel()
		if exec.CommandContext(pull, "docker", "pull", "--quiet", b.name).Run() == nil {
			return nil
		}
		fmt.Fprintf(log, "no registry has %s here: a stand-in is made from this machine's files\n", b.name)
	}
	args := []string{"import", "--change", "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "--change", "LABEL " + standInLabel + "=" + state}
	if b.build {
		args = append(args, "--change", "ENV PATH=/usr/local/go/bin:/bin", "--change", "ENV GOPATH="+goPath, "--change", "ENV GOTOOLCHAIN=local")
	}
	read, write := io.Pipe()
	go func() { write.CloseWithError(b.standIn(ctx, write)) }()
	return docker(ctx, read, log, append(args, "-", b.name)...)
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
