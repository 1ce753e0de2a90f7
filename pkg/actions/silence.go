package actions

import (
	"io"
	"log"
	"log/slog"
	"os"

	"k8s.io/klog/v2"
)

// Silence keeps libraries from printing past the Workflow. Some log what a
// server sent: net/http quotes an answer that nobody asked for, and the runner
// would take `##[set-output name=image]` from the middle of that line. Kustomize
// writes what it finds old-fashioned to os.Stderr, which is what stderr points to.
// It is for the process as a whole, so main calls it.
func Silence(stderr **os.File) {
	log.SetOutput(io.Discard)
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // client-go's
	// Without it, writing fails, which nobody looks at either.
	*stderr, _ = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
}
