package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/org/deploy-model-action/pkg/actions"
	"github.com/org/deploy-model-action/pkg/deploy"
)

// maxNamed bounds how many objects a sentence names.
const maxNamed = 10

// The actions of a rollback, as the result names them.
const (
	restoredAction    = "restored"
	leftAction        = "left"
	notRestoredAction = "not restored"
)

// block is a paragraph of the summary; "" stays "".
func block(sentence string) string {
	if sentence == "" {
		return ""
	}
	return sentence + "\n\n"
}

// verdict says what a deploy that did not succeed leaves behind, in Markdown.
func verdict(r *deploy.Result, run actions.Run) string {
	switch r.Outcome {
	case deploy.Deployed, deploy.Unchanged:
		return ""
	case deploy.Planned:
		return text("A deploy would do this: " + planned(r) + ". Nothing was changed.")
	case deploy.Superseded:
		return overtaken(r, func(n deploy.Newer) string { return link(text(newer(n)), n.URL) })
	case deploy.RolledBack:
		return "This deploy failed. " + text(wayBack(r)) + nowServing(r, run)
	}
	return text(left(r))
}

// overtaken says who took over, and what that means for what this run wrote.
func overtaken(r *deploy.Result, name func(deploy.Newer) string) string {
	by := "a newer run"
	if r.Newer != nil {
		by = name(*r.Newer)
	}
	sentence := "This release was taken over by " + by + ", and what that deploys counts."
	if n := changed(r); n > 0 {
		return sentence + fmt.Sprintf(" This run had written %s by then, and restored nothing.", count(n, "object", "objects"))
	}
	return sentence + " This run changed nothing."
}

// newer names the run that took over.
func newer(n deploy.Newer) string {
	name := "a newer run"
	if n.Run != "" {
		name = "run " + n.Run
	}
	if n.Commit != "" {
		name += " of commit " + n.Commit[:min(12, len(n.Commit))]
	}
	return name
}

// left says how the cluster differs from before.
func left(r *deploy.Result) string {
	if len(r.Restored) > 0 {
		return wayBack(r)
	}
	var names []string
	for _, c := range r.Changes {
		if c.Remains() {
			names = append(names, named(c))
		}
	}
	if len(names) == 0 {
		return "Nothing in the cluster was changed."
	}
	return fmt.Sprintf("Changed before that, and not put back: %s.", some(names)) + goOn(r)
}

// goOn says of which objects earlier pods go on serving, beside what failed.
func goOn(r *deploy.Result) string {
	var names []string
	for _, f := range r.Failures {
		switch {
		case f.Earlier == 1:
			names = append(names, "1 pod of "+f.Object)
		case f.Earlier > 1:
			names = append(names, fmt.Sprintf("%d pods of %s", f.Earlier, f.Object))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " What serves now, of an earlier revision: " + some(names) + "."
}

// wayBack says what the rollback did, whether what it restored serves, and what
// it did not touch.
func wayBack(r *deploy.Result) string {
	by := map[string][]string{}
	for _, x := range r.Restored {
		by[x.Action] = append(by[x.Action], x.Object)
	}
	var said []string
	if names := by[restoredAction]; len(names) > 0 {
		said = append(said, "Restored to what was there before: "+some(names)+again(r)+".")
	} else if len(by[notRestoredAction]) == 0 {
		said = append(said, "There was nothing to go back to.")
	}
	if names := by[leftAction]; len(names) > 0 {
		said = append(said, "Left as it is: "+some(names)+".")
	}
	if names := by[notRestoredAction]; len(names) > 0 {
		said = append(said, "Not restored: "+some(names)+".")
	}
	return strings.Join(said, " ")
}

// again says whether what was restored serves, and if it does not, whether it
// did before: a rollback cannot make well what was ill.
func again(r *deploy.Result) string {
	var well, ill, wasIll, unknown []string
	for _, x := range r.Restored {
		switch {
		case x.Unwaited:
			unknown = append(unknown, x.Object)
		case !x.Waited:
		case x.Ready:
			well = append(well, x.Object)
		case x.WasReady:
			ill = append(ill, x.Object)
		default:
			wasIll = append(wasIll, x.Object)
		}
	}
	switch {
	case len(unknown) > 0:
		return "; the run was cancelled before it was known whether " + some(unknown) + " serves again"
	case len(ill) > 0:
		return "; not ready again yet: " + some(ill)
	case len(wasIll) > 0:
		return "; " + some(wasIll) + " is not ready, and was not before this deploy"
	case len(well) > 0:
		return "; " + serve(well, r.Restored) + " again"
	}
	return ""
}

// serve says who of what was restored serves: a ConfigMap beside it does not.
func serve(names []string, all []deploy.Restored) string {
	restored := 0
	for _, x := range all {
		if x.Action == restoredAction {
			restored++
		}
	}
	switch {
	case restored == 1:
		return "it serves"
	case len(names) == 1:
		return names[0] + " serves"
	}
	return some(names) + " serve"
}

// servesAgain reports whether everything that was restored and waited for is ready.
func servesAgain(r *deploy.Result) bool {
	ready := false
	for _, x := range r.Restored {
		if x.Unwaited || x.Waited && !x.Ready {
			return false
		}
		ready = ready || x.Waited
	}
	return ready
}

// nowServing names the image that serves in place of the one that failed.
func nowServing(r *deploy.Result, _ actions.Run) string {
	if len(r.Serving) == 0 {
		return ""
	}
	names := make([]string, 0, len(r.Serving))
	for _, image := range r.Serving {
		reference, _, _ := strings.Cut(image, "@")
		names = append(names, code(short(reference)))
	}
	if slices.ContainsFunc(r.Restored, func(x deploy.Restored) bool { return x.Unwaited }) {
		return " What was put back: " + some(names) + "."
	}
	return " What serves now: " + some(names) + "."
}

// changed counts the objects that are different from before.
func changed(r *deploy.Result) int {
	n := 0
	for _, c := range r.Changes {
		if c.Remains() {
			n++
		}
	}
	return n
}

func named(c deploy.Change) string {
	if c.Namespace == "" {
		return c.Kind + " " + c.Name
	}
	return c.Kind + " " + c.Namespace + "/" + c.Name
}

// some names the first of many.
func some(names []string) string {
	if more := len(names) - maxNamed; more > 0 {
		return strings.Join(names[:maxNamed], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// change is from which commit to which, with a link to what lies between.
func change(r *deploy.Result, run actions.Run) string {
	from, to := r.From.Commit, cmp.Or(commit(r, run), r.Commit)
	if r.Outcome == deploy.Superseded || from == "" || to == "" || from == to {
		return ""
	}
	target := ""
	if repo := repository(run); repo != "" && isCommit(from) && isCommit(to) {
		target = repo + "/compare/" + from + "..." + to
	}
	return link(code(cut(from))+" → "+code(cut(to)), target)
}

// goBack says how to serve again what served before.
func goBack(r *deploy.Result) string {
	if r.From.Commit == "" || r.Outcome != deploy.Deployed {
		return ""
	}
	way := "run this workflow with " + code("sha: "+r.From.Commit)
	if r.From.RunURL != "" {
		return link("run again the job that deployed it", r.From.RunURL) + ", or " + way
	}
	return way
}

// cut shortens a commit to the 12 digits that people compare.
func cut(commit string) string {
	if isCommit(commit) {
		return commit[:12]
	}
	return commit
}
