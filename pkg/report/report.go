// Package report tells people and later steps how a deploy ended: outputs for
// the workflow, annotations for the pull request, a job summary for whoever
// looks rather than reads, and the last lines of the log.
//
// It decides nothing and asks nobody: all it says is in the deploy.Result. What
// is safe to print where is left to pkg/actions; what is safe inside Markdown
// is decided here, since only the author of a document knows its structure.
package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/org/deploy-model-action/pkg/actions"
	"github.com/org/deploy-model-action/pkg/deploy"
)

// maxWarnings leaves room among GitHub's ten annotations for warnings of our own.
const maxWarnings = 5

// Write reports the result. It always writes all of it: a failed or cancelled
// deploy has changes and a URL to tell of as well.
func Write(w *actions.Workflow, r *deploy.Result) error {
	conclude(w, r)
	if r.Outcome == deploy.Superseded {
		w.Annotate(actions.Annotation{Level: "notice", Title: "Superseded", Message: overtaken(r, newer)})
	}
	for _, p := range r.Notices {
		w.Annotate(actions.Annotation{Level: "notice", Title: p.Title, Message: p.Message})
	}
	level := "error"
	if r.ExitCode == deploy.ExitOK { // a newer run took over from what failed
		level = "warning"
	}
	for _, p := range r.Problems {
		w.Annotate(actions.Annotation{Level: level, Title: p.Title, Message: p.Message, File: p.File, Line: p.Line})
	}
	for i, p := range r.Warnings {
		if i == maxWarnings {
			w.Printf("The API server warned of %d more, which are in the log above.", len(r.Warnings)-i)
			break
		}
		w.Annotate(actions.Annotation{Level: "warning", Title: p.Title, Message: p.Message, File: p.File, Line: p.Line})
	}
	return errors.Join(outputs(w, r), w.AppendSummary(Summary(r, w.Run())))
}

// conclude writes the last lines of the log.
func conclude(w *actions.Workflow, r *deploy.Result) {
	took := cmp.Or(duration(r.Finished.Sub(r.Started)), "0 ms")
	switch r.Outcome {
	case deploy.Deployed:
		w.Printf("Deployed in %s.", took)
	case deploy.Unchanged:
		w.Printf("Unchanged: this is what serves already (checked in %s).", took)
	case deploy.Planned:
		w.Printf("Planned in %s: %s. Nothing was changed.", took, planned(r))
	case deploy.Superseded:
		w.Printf("Superseded after %s. %s", took, overtaken(r, newer))
		if r.Newer != nil && r.Newer.URL != "" {
			w.Printf("%s", r.Newer.URL)
		}
	case deploy.RolledBack:
		w.Printf("Rolled back after %s. %s", took, wayBack(r))
	case deploy.Cancelled:
		w.Printf("Cancelled after %s. %s", took, left(r))
	default:
		w.Printf("Failed after %s. %s", took, left(r))
	}
	if r.URL != "" && (r.Outcome == deploy.Deployed || r.Outcome == deploy.Unchanged) {
		if r.Answers {
			w.Printf("Serves at %s%s", r.URL, silence(r))
		} else {
			w.Printf("Address: %s%s", r.URL, silence(r))
		}
	}
	if r.Outcome == deploy.Deployed && r.From.Commit != "" && r.From.RunURL != "" {
		w.Printf("Before, commit %s served; to go back, run its job again: %s", cut(r.From.Commit), r.From.RunURL)
	}
}

// silence says why an address is not said to serve.
func silence(r *deploy.Result) string {
	switch {
	case r.Internal:
		return " (internal: reachable from inside the network only)"
	case r.Answers || r.Silent == "":
		return ""
	}
	return " (it does not answer yet: " + r.Silent + ")"
}

// count words a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// objectChange is one object in the output `changes`.
type objectChange struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Action    string `json:"action"`
}

// outputs sets every output, also the empty ones, so that a later step reads
// this run's value and never that of a step with the same id. They say what is
// true now: after a rollback, the images that serve again.
func outputs(w *actions.Workflow, r *deploy.Result) error {
	image, digest := "", ""
	images := append([]string{}, r.Serving...)
	if len(images) > 0 {
		image = images[0]
		_, digest, _ = strings.Cut(image, "@")
	}
	changes := []objectChange{}
	for _, c := range r.Changes {
		changes = append(changes, objectChange{c.Kind, c.Namespace, c.Name, c.Action})
	}
	imagesJSON, err := json.Marshal(images)
	if err != nil {
		return fmt.Errorf("output images: %w", err)
	}
	changesJSON, err := json.Marshal(changes)
	if err != nil {
		return fmt.Errorf("output changes: %w", err)
	}
	var errs []error
	for _, o := range [][2]string{
		{"outcome", string(r.Outcome)},
		{"image", image},
		{"digest", digest},
		{"images", string(imagesJSON)},
		{"url", r.URL},
		{"external_ip", r.Host},
		{"changed", strconv.FormatBool(r.Changed())},
		{"changes", string(changesJSON)},
		{"previous", r.From.Image},
		{"plan", planned(r)},
	} {
		errs = append(errs, w.SetOutput(o[0], o[1]))
	}
	return errors.Join(errs...)
}
