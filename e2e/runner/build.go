package runner

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// BuildAction compiles the action as the Dockerfile does and returns its path.
func BuildAction(ctx context.Context, root, dir string) (string, error) {
	binary := filepath.Join(dir, "deploy-model-action")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the action: %w\n%s", err, out)
	}
	return binary, nil
}
