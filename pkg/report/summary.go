package report

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/org/deploy-model-action/pkg/actions"
	"github.com/org/deploy-model-action/pkg/deploy"
)

// Summary is the job summary: the outcome first, then where it serves, what
// changed, how long each part took, and on failure why.
func Summary(r *deploy.Result, run actions.Run) string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", heading(r))
	lead(&b, r, run)
	problems(&b, r)
	failures(&b, r)
	restored(&b, r)
	changes(&b, r)
	timeline(&b, r)
	return b.String()
}

func heading(r *deploy.Result) string {
	what := "the manifests"
	if len(r.Images) > 0 {
		what = code(short(path.Base(r.Images[0].Reference)))
		if more := len(r.Images) - 1; more > 0 {
			what += fmt.Sprintf(" and %s", count(more, "more image", "more images"))
		}
	}
	switch r.Outcome {
	case deploy.Deployed:
		return "✅ Deployed " + what
	case deploy.Unchanged:
		return "✅ Unchanged: " + what + " serves already"
	case deploy.RolledBack:
		return "↩️ Rolled back " + what
	case deploy.Cancelled:
		return "⏹️ Cancelled " + what
	default:
		return "❌ Failed to deploy " + what
	}
}

// short cuts a commit's 40 digits to the 12 that people compare.
func short(reference string) string {
	name, tag, ok := strings.Cut(reference, ":")
	if !ok || len(tag) != 40 || strings.Trim(tag, "0123456789abcdef") != "" {
		return reference
	}
	return name + ":" + tag[:12]
}

// lead is the paragraph under the heading: where it serves, from which commit
// and run, on which cluster.
func lead(b *strings.Builder, r *deploy.Result, run actions.Run) {
	var parts []string
	if r.URL != "" {
		parts = append(parts, fmt.Sprintf("**%s**%s", link(r.URL, r.URL), internalNote(r)))
	}
	if r.Cluster.Name != "" {
		parts = append(parts, "cluster "+link(r.Cluster.Name, clusterURL(r.Cluster)))
	}
	if run.ServerURL != "" && run.Repository != "" {
		repository := strings.TrimSuffix(run.ServerURL, "/") + "/" + run.Repository
		if run.SHA != "" {
			sha := run.SHA
			parts = append(parts, "commit "+link(sha[:min(12, len(sha))], repository+"/commit/"+sha))
		}
		if run.RunID != "" {
			parts = append(parts, "run "+link("#"+run.RunNumber, repository+"/actions/runs/"+run.RunID))
		}
	}
	if len(parts) > 0 {
		fmt.Fprintf(b, "%s\n\n", strings.Join(parts, " · "))
	}
	if r.Health != "" {
		fmt.Fprintf(b, "Health check: %s\n\n", text(r.Health))
	}
	if len(r.Images) > 0 {
		b.WriteString("| image | digest |\n| --- | --- |\n")
		for _, i := range r.Images {
			fmt.Fprintf(b, "| %s | %s |\n", code(i.Reference), code(i.Digest))
		}
		b.WriteString("\n")
	}
}

func problems(b *strings.Builder, r *deploy.Result) {
	for _, p := range r.Problems {
		b.WriteString("> [!CAUTION]\n")
		where := ""
		if p.File != "" {
			where = " " + code(fmt.Sprintf("%s:%d", p.File, p.Line))
		}
		fmt.Fprintf(b, "> **%s**%s\n", text(p.Title), where)
		for line := range strings.Lines(p.Message) {
			fmt.Fprintf(b, "> %s<br>\n", text(strings.TrimRight(line, "\r\n")))
		}
		b.WriteString("\n")
	}
}

// failures folds away what only the person who repairs it wants to read.
func failures(b *strings.Builder, r *deploy.Result) {
	for _, f := range r.Failures {
		fmt.Fprintf(b, "### Why %s did not become ready\n\n%s %s\n\n", code(f.Object), text(f.Cause), text(f.Fix))
		fold(b, "Events since the deploy began", f.Events)
		title := "Log"
		if f.LogsOf != "" {
			title = "Log of " + f.LogsOf
		}
		fold(b, title, f.Logs)
	}
}

func fold(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	body := strings.Join(lines, "\n")
	fence := "```"
	for strings.Contains(body, fence) {
		fence += "`"
	}
	fmt.Fprintf(b, "<details><summary>%s (%s)</summary>\n\n%stext\n%s\n%s\n\n</details>\n\n",
		text(title), count(len(lines), "line", "lines"), fence, body, fence)
}

func restored(b *strings.Builder, r *deploy.Result) {
	if len(r.Restored) == 0 {
		return
	}
	b.WriteString("### Rollback\n\n| object | what happened | |\n| --- | --- | --- |\n")
	for _, x := range r.Restored {
		fmt.Fprintf(b, "| %s | %s | %s |\n", code(x.Object), text(x.Action), text(x.Message))
	}
	b.WriteString("\n")
}

// maxRows keeps a summary of a thousand objects readable; what changed comes first.
const maxRows = 100

func changes(b *strings.Builder, r *deploy.Result) {
	if len(r.Changes) == 0 {
		return
	}
	b.WriteString("### What changed\n\n| kind | name | namespace | action | time |\n| --- | --- | --- | --- | --- |\n")
	rows, left := 0, 0
	for _, unchanged := range []bool{false, true} {
		for _, c := range r.Changes {
			if (c.Action == "unchanged") != unchanged {
				continue
			}
			if rows++; rows > maxRows {
				left++
				continue
			}
			name := code(c.Name)
			if u := objectURL(r.Cluster, c); u != "" {
				name = link(c.Name, u)
			}
			action := text(c.Action)
			if !unchanged {
				action = "**" + action + "**"
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", text(c.Kind), name, text(c.Namespace), action, seconds(c.Took))
		}
	}
	if left > 0 {
		fmt.Fprintf(b, "\nand %s.", count(left, "more object", "more objects"))
	}
	b.WriteString("\n")
}

func seconds(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

func clusterURL(c deploy.Cluster) string {
	return fmt.Sprintf("https://console.cloud.google.com/kubernetes/clusters/details/%s/%s/details?project=%s",
		url.PathEscape(c.Location), url.PathEscape(c.Name), url.QueryEscape(c.Project))
}

// objectURL is the object's page in Google's console, "" for kinds without one.
func objectURL(c deploy.Cluster, o deploy.Change) string {
	page := map[string]string{
		"Deployment": "deployment", "StatefulSet": "statefulset", "DaemonSet": "daemonset", "Job": "job",
		"CronJob": "cronjob", "Pod": "pod", "Service": "service", "Ingress": "ingress",
		"ConfigMap": "config", "Secret": "secret",
	}[o.Kind]
	if page == "" || c.Name == "" {
		return ""
	}
	return fmt.Sprintf("https://console.cloud.google.com/kubernetes/%s/%s/%s/%s/%s/overview?project=%s", page,
		url.PathEscape(c.Location), url.PathEscape(c.Name), url.PathEscape(o.Namespace), url.PathEscape(o.Name), url.QueryEscape(c.Project))
}
