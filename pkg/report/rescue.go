package report

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/org/deploy-model-action/pkg/actions"
	"github.com/org/deploy-model-action/pkg/deploy"
	"github.com/org/deploy-model-action/pkg/fault"
)

// Begin writes the outcome that holds if nothing more is heard of this run: the
// process was killed, or has crashed. GitHub takes the last value of an output.
func Begin(w *actions.Workflow) error { return w.SetOutput("outcome", string(deploy.Failed)) }

// Refuse reports a run that ends before there is anything to deploy.
func Refuse(w *actions.Workflow, title, message string) int {
	return end(w, actions.Annotation{Level: "error", Title: title, Message: message}, deploy.ExitInput)
}

// Rescue is deferred around a run. A panic of it is reported as what it is, a
// fault of this program: the runtime would end with exit code 2, which says that
// the inputs are wrong and nothing was contacted.
func Rescue(w *actions.Workflow, code *int) {
	cause := recover()
	if cause == nil {
		return
	}
	stack := debug.Stack()
	if of, ok := cause.(*fault.Panic); ok {
		cause, stack = of.Value, of.Stack
	}
	what := fmt.Sprintf("%T", cause) // its words may hold anything
	if known, ok := cause.(runtime.Error); ok {
		what = known.Error()
	}
	for line := range strings.Lines(string(stack)) {
		w.Printf("%s", strings.TrimRight(line, "\n"))
	}
	*code = end(w, actions.Annotation{
		Level: "error", Title: "Fault of the action",
		Message: fmt.Sprintf("deploy-model-action has a fault (panic: %s), and ended in the middle: what was applied until then is not known, and nothing was put back; look at the log above and at the cluster, run the job again, and report the fault with these lines", what),
	}, deploy.ExitRefused)
}

// end reports a failure of which there is no result.
func end(w *actions.Workflow, a actions.Annotation, code int) int {
	w.Annotate(a)
	if err := w.SetOutput("outcome", string(deploy.Failed)); err != nil {
		w.Annotate(actions.Annotation{Level: "error", Title: "Report", Message: err.Error()})
	}
	return code
}
