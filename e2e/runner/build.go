package runner

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BuildAction compiles the action as the Dockerfile does and returns its path.
// Flags of go build may be added.
func BuildAction(ctx context.Context, root, dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, "deploy-model-action")
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", binary}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the action: %w\n%s", err, out)
	}
	return binary, nil
}
