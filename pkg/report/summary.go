package report

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/actions"
	"github.com/org/deploy-model-action/pkg/deploy"
)

// Bounds on what a summary shows of each; the log has the rest.
const (
	maxProblems = 50
	maxFailures = 20
	maxShown    = 20 // rows of a table that are not folded
	maxRows     = 500
)

// Summary is the job summary: the outcome first, then what went wrong, where
// the model serves, what happened to each object and how long each part took.
func Summary(r *deploy.Result, run actions.Run) string {
	d := document{left: actions.MaxSummary - len(tooLong)}
	d.add("## " + heading(r) + "\n\n")
	d.add(block(verdict(r, run)))
	d.add(problems(r, run))
	d.add(facts(r, run))
	for _, f := range r.Failures[:min(maxFailures, len(r.Failures))] {
		d.add(failure(f, r.Problems))
	}
	if more := len(r.Failures) - maxFailures; more > 0 {
		d.add(fmt.Sprintf("%s did not become ready; the log says why.\n\n", count(more, "more object", "more objects")))
	}
	d.add(smokeTest(r))
	d.add(restored(r))
	d.add(plan(r))
	d.add(objects(r))
	d.add(published(r))
	d.add(timeline(r))
	return d.String()
}

// document is a summary that grows by whole blocks, each complete in itself, so
// that leaving one out leaves no fence and no fold open.
type document struct {
	strings.Builder
	left int
	cut  bool
}

const tooLong = "Part of this summary is left out, since GitHub shows at most 1 MiB. The log has it.\n\n"

func (d *document) add(block string) {
	if len(block) <= d.left {
		d.WriteString(block)
		d.left -= len(block)
	} else if !d.cut {
		d.cut = true
		d.WriteString(tooLong)
	}
}

func heading(r *deploy.Result) string {
	what := "the manifests"
	if len(r.Images) > 0 {
		what = code(short(path.Base(r.Images[0].Reference)))
		if more := len(r.Images) - 1; more > 0 {
			what += " and " + count(more, "more image", "more images")
		}
	}
	switch r.Outcome {
	case deploy.Deployed:
		return "✅ Deployed " + what
	case deploy.Unchanged:
		return "✅ Unchanged: " + what + " serves already"
	case deploy.Planned:
		return "📋 Plan for " + what
	case deploy.Superseded:
		return "⏭️ A newer run took over from " + what
	case deploy.RolledBack:
		return "↩️ Rolled back " + what
	case deploy.Cancelled:
		return "⏹️ Cancelled the deploy of " + what
	default:
		if r.DryRun {
			return "❌ A deploy would fail: " + what
		}
		return "❌ Failed to deploy " + what
	}
}

// short cuts a commit's 40 digits to the 12 that people compare.
func short(reference string) string {
	name, tag, ok := strings.Cut(reference, ":")
	if !ok || !isCommit(tag) {
		return reference
	}
	return name + ":" + tag[:12]
}

// commit is the one that was deployed: the input sha where it is one, or the
// beginning of one, which need not be the one that the workflow runs for; "" where it
// is a tag of which nothing says whose it is.
func commit(r *deploy.Result, run actions.Run) string {
	is := strings.TrimPrefix(r.Commit, "sha-") // as docker/metadata-action writes it
	switch {
	case is == "", run.Ref == "refs/tags/"+r.Commit, len(is) >= 7 && strings.HasPrefix(run.SHA, is):
		return run.SHA
	case isCommit(is), len(is) >= 7 && len(is) < 40 && isHex(is):
		return is
	}
	return ""
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

func isCommit(s string) bool {
	return len(s) == 40 && isHex(s)
}

// problems is one box with everything that went wrong, each mistake an item.
func problems(r *deploy.Result, run actions.Run) string {
	if len(r.Problems) == 0 {
		return ""
	}
	var b strings.Builder
	if r.Outcome == deploy.Cancelled {
		b.WriteString("> [!WARNING]\n")
	} else {
		b.WriteString("> [!CAUTION]\n")
	}
	for i, p := range r.Problems {
		if i == maxProblems || b.Len() > maxBlock {
			fmt.Fprintf(&b, "> and %s\n>\n", count(len(r.Problems)-i, "more mistake", "more mistakes"))
			break
		}
		fmt.Fprintf(&b, "> **%s**", text(p.Title))
		if p.File != "" {
			b.WriteString(" in " + place(p, run))
		}
		b.WriteString("\n>\n")
		for l := range strings.SplitSeq(strings.TrimSpace(p.Message), "\n") {
			b.WriteString(mistake(strings.TrimPrefix(l, where(p)+": "), r.Failures))
		}
		b.WriteString(">\n")
	}
	return strings.TrimSuffix(b.String(), ">\n") + "\n"
}

// mistake is an item for one line of a problem's message. A line that a failure
// explains is taken apart into cause and fix.
func mistake(l string, failures []deploy.Failure) string {
	for _, f := range failures {
		if f.Fix != "" && strings.TrimSpace(l) == strings.TrimSpace(f.Object+": "+f.Cause+"; "+f.Fix) {
			return fmt.Sprintf("> - %s: %s\n>\n>   **What to do:** %s\n", code(f.Object), prose(f.Cause), prose(f.Fix))
		}
	}
	if l = prose(l); l == "" {
		return ""
	}
	return "> - " + l + "\n"
}

// where is the place that a problem is about, as compilers write it.
func where(p deploy.Problem) string {
	if p.Line > 0 {
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return p.File
}

// place links to the line of the manifest at this commit.
func place(p deploy.Problem, run actions.Run) string {
	target := ""
	if repo := repository(run); repo != "" && run.SHA != "" {
		target = repo + "/blob/" + run.SHA + "/" + escapePath(p.File)
		if p.Line > 0 {
			target += fmt.Sprintf("#L%d", p.Line)
		}
	}
	return link(code(where(p)), target)
}

// repository is the URL of the repository, "" when run by hand.
func repository(run actions.Run) string {
	if run.ServerURL == "" || run.Repository == "" {
		return ""
	}
	return strings.TrimSuffix(run.ServerURL, "/") + "/" + run.Repository
}

// facts say where it serves, what was deployed, and from where to where.
func facts(r *deploy.Result, run actions.Run) string {
	var rows [][2]string
	fact := func(name, value string) {
		if value != "" {
			rows = append(rows, [2]string{name, value})
		}
	}
	if r.URL != "" {
		fact(serves(r), "**"+link(text(r.URL), r.URL)+"**"+text(silence(r)))
	}
	fact("Change", change(r, run))
	fact("To go back", goBack(r))
	fact("Took", duration(r.Finished.Sub(r.Started)))
	fact("Health check", text(r.Health))
	fact("Not asked", text(r.Unasked))
	if r.Outcome == deploy.Deployed || r.Outcome == deploy.Unchanged {
		fact("No longer in the manifests", leaving(r))
	}
	for i, im := range r.Images {
		if i == maxShown {
			break
		}
		digest := code(im.Digest)
		if digest == "" {
			digest = "not built yet"
		}
		fact(imageLabel(r), link(code(im.Reference), imageURL(im))+"<br>"+digest)
	}
	if repo := repository(run); repo != "" {
		if is := commit(r, run); is != "" {
			fact("Commit", link(code(is[:min(12, len(is))]), repo+"/commit/"+is)+by(run.Actor))
		}
		if run.RunID != "" {
			fact("Run", link(text(strings.TrimSpace(run.Workflow+" #"+run.RunNumber)), repo+"/actions/runs/"+run.RunID)+attempt(run.RunAttempt))
		}
	}
	if c := r.Cluster; c.Name != "" {
		fact("Cluster", link(code(c.Name), clusterURL(c))+" in "+text(c.Location)+endpoint(c.EndpointKind))
	}
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&b, "| %s | %s |\n", unbroken(row[0]), row[1])
		if i == 0 {
			b.WriteString("| :-- | :-- |\n")
		}
	}
	b.WriteString("\n")
	return b.String()
}

// leaving names what the manifests hold no longer and what stays all the same.
func leaving(r *deploy.Result) string {
	var names []string
	for i, name := range r.Leaving {
		if i == maxShown {
			names = append(names, fmt.Sprintf("%d more", len(r.Leaving)-i))
			break
		}
		names = append(names, code(name))
	}
	if len(names) == 0 {
		return ""
	}
	return strings.Join(names, ", ") + "<br>left as " + map[bool]string{true: "it is", false: "they are"}[len(r.Leaving) == 1] + "; " + code("prune: true") + " deletes what leaves them"
}

// serves words what a URL is worth after this outcome: it serves only if it answered.
func serves(r *deploy.Result) string {
	switch {
	case !r.Answers:
	case r.Outcome == deploy.Deployed, r.Outcome == deploy.Unchanged:
		return "Serves at"
	case r.Outcome == deploy.RolledBack && servesAgain(r):
		return "Serves again at"
	}
	return "Address"
}

// imageLabel keeps the image that failed from being taken for the one that serves.
func imageLabel(r *deploy.Result) string {
	switch r.Outcome {
	case deploy.Deployed, deploy.Unchanged, deploy.Planned:
		return "Image"
	}
	return "Image of this run"
}

func by(actor string) string {
	if actor == "" {
		return ""
	}
	return " by " + text(actor)
}

func attempt(n string) string {
	if n == "" || n == "1" {
		return ""
	}
	return ", attempt " + text(n)
}

func endpoint(kind string) string {
	if kind == "" {
		return ""
	}
	return ", through its " + code(kind) + " endpoint"
}

// failure is the explanation of one object. What only the person who repairs it
// wants to read is folded away.
func failure(f deploy.Failure, told []deploy.Problem) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Why %s is not ready", code(f.Object))
	if f.Reason != "" {
		b.WriteString(": " + text(f.Reason))
	}
	b.WriteString("\n\n")
	known := false
	for _, p := range told {
		known = known || f.Cause != "" && strings.Contains(p.Message, f.Cause)
	}
	if !known {
		for _, part := range [][2]string{{"Cause", f.Cause}, {"What to do", f.Fix}} {
			if sentence := prose(part[1]); sentence != "" {
				fmt.Fprintf(&b, "**%s:** %s\n\n", part[0], sentence)
			}
		}
	}
	b.WriteString(events(f.Events))
	title := "Log"
	if f.LogsOf != "" {
		title = "Log of " + f.LogsOf
	}
	b.WriteString(fold(fmt.Sprintf("%s (%s)", title, count(len(f.Logs), "line", "lines")), "text", f.Logs))
	return b.String()
}

// events are a folded list, as their long lines want to be wrapped.
func events(all []string) string {
	if len(all) == 0 {
		return ""
	}
	var items []string
	for _, e := range all {
		items = append(items, "- "+text(e)+"\n")
	}
	return fmt.Sprintf("<details><summary>Events since the deploy began (%d)</summary>\n\n%s\n</details>\n\n", len(all), strings.Join(fitting(items), ""))
}

// duration is a time as people say it.
func duration(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}

// unbroken keeps words of a narrow cell on one line.
func unbroken(s string) string { return strings.ReplaceAll(s, " ", "&nbsp;") }
