package wire

import (
	"context"
	"sync"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
)

const (
	// warningLimit is how long one is, in runes, and maxWarnings how many there are.
	warningLimit = 300
	maxWarnings  = 50
)

// Warning is what the API server warns of: deprecated fields, what Autopilot
// changed, what a policy would forbid.
type Warning struct {
	About object.ID // the object that was sent; the zero ID if none was
	Text  string    // one harmless line
}

// Warnings keeps what the API server warned of, each once. It is what client-go
// has as a handler, and is safe for concurrent use.
type Warnings struct {
	mu    sync.Mutex
	said  map[Warning]bool
	all   []Warning
	taken int
}

// aboutKey is the context's key for the object that a request sends.
type aboutKey struct{}

// About is a context for requests that send an object.
func About(ctx context.Context, id object.ID) context.Context {
	return context.WithValue(ctx, aboutKey{}, id)
}

// quietKey is the context's key for requests of whose warnings nobody wants to know.
type quietKey struct{}

// Quiet is a context for requests that send what nobody is to be warned of.
func Quiet(ctx context.Context) context.Context { return context.WithValue(ctx, quietKey{}, true) }

// HandleWarningHeaderWithContext takes in a header Warning (RFC 7234 §5.5), of
// which 299 is the one that Kubernetes sends.
func (w *Warnings) HandleWarningHeaderWithContext(ctx context.Context, code int, _, text string) {
	about, _ := ctx.Value(aboutKey{}).(object.ID)
	if code != 299 || text == "" || ctx.Value(quietKey{}) != nil || about.Kind == "Secret" { // it may quote the Secret
		return
	}
	warning := Warning{About: about, Text: redact.Line(text, warningLimit)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said[warning] || len(w.all) >= maxWarnings {
		return
	}
	if w.said == nil {
		w.said = map[Warning]bool{}
	}
	w.said[warning] = true
	w.all = append(w.all, warning)
}

// Take returns what was not taken before.
func (w *Warnings) Take() []Warning {
	w.mu.Lock()
	defer w.mu.Unlock()
	fresh := w.all[w.taken:]
	w.taken = len(w.all)
	return fresh
}
