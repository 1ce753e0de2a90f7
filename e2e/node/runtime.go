package node

import (
	"fmt"
	"strings"
)

// notFound is what containerd 1.6 and runc 1.1 say of a command that the image does not have.
func notFound(command string) string {
	cause := fmt.Sprintf("exec: %q: executable file not found in $PATH", command)
	if strings.Contains(command, "/") {
		cause = fmt.Sprintf("exec: %q: stat %s: no such file or directory", command, command)
	}
	return "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: " + cause + ": unknown"
}
