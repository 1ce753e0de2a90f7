package actions

import (
	"io"
	"log"
	"log/slog"

	"k8s.io/klog/v2"
)

// Silence keeps libraries from printing past the Workflow. Some log what a
// server sent: net/http quotes an answer that nobody asked for, and the runner
// would take `##[set-output name=image]` from the middle of that line. It is for
// the process as a whole, so main calls it.
func Silence() {
	log.SetOutput(io.Discard)
	klog.SetSlogLogger(slog.New(slog.DiscardHandler)) // client-go's
}
