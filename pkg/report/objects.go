package report

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/org/deploy-model-action/pkg/deploy"
)

// objects is the table of what happened to each object. What did not become
// ready comes first, then what else was changed, workloads before the rest.
func objects(r *deploy.Result) string {
	if len(r.Changes) == 0 {
		return ""
	}
	states := states(r)
	rank := func(i int) int {
		rank := 0
		if states[i] == "" {
			rank++
		}
		if r.Changes[i].Action == "unchanged" {
			rank += 2
		}
		if strings.HasPrefix(states[i], notReady) {
			rank = -1
		}
		return rank
	}
	order := make([]int, len(r.Changes))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return rank(a) - rank(b) })

	rows := make([]string, len(order))
	for at, i := range order {
		c := r.Changes[i]
		action := text(c.Action)
		if c.Action != "unchanged" {
			action = "**" + action + "**"
		}
		rows[at] = fmt.Sprintf("| %s | %s %s | %s | %s | %s |\n", action,
			text(c.Kind), link(code(c.Name), objectURL(r.Cluster, c)), text(c.Namespace), unbroken(duration(c.Took)), states[i])
	}
	return "### Objects\n\n" + tally(r.Changes) + table("object", "| action | object | namespace | time | rollout |\n| :-- | :-- | :-- | --: | :-- |\n", rows)
}

// tally counts the actions, if there are too many objects to see it.
func tally(changes []deploy.Change) string {
	if len(changes) <= maxShown {
		return ""
	}
	counts := map[string]int{}
	for _, c := range changes {
		counts[c.Action]++
	}
	var parts []string
	for _, action := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[action], text(action)))
	}
	return strings.Join(parts, ", ") + ".\n\n"
}

// table shows the first rows, and folds the next as far as there is room. noun is
// what one of them is about.
func table(noun, header string, rows []string) string {
	size, fit := 0, 0
	for fit < min(maxRows, len(rows)) && size+len(rows[fit]) <= maxBlock {
		size += len(rows[fit])
		fit++
	}
	shown := min(maxShown, fit)
	var b strings.Builder
	b.WriteString(header + strings.Join(rows[:shown], "") + "\n")
	if folded := rows[shown:fit]; len(folded) > 0 {
		fmt.Fprintf(&b, "<details><summary>%s</summary>\n\n%s%s\n</details>\n\n", count(len(folded), "more "+noun, "more "+noun+"s"), header, strings.Join(folded, ""))
	}
	if more := len(rows) - fit; more > 0 {
		fmt.Fprintf(&b, "The log has %s.\n\n", count(more, "more "+noun, "more "+noun+"s"))
	}
	return b.String()
}

const (
	ready    = "✅ "
	notReady = "❌ "
)

// states says for each change how far its rollout came, "" for what is not
// waited for. Rollouts are in the order of the changes, which tells two of one
// name in two namespaces apart.
func states(r *deploy.Result) []string {
	states := make([]string, len(r.Changes))
	rollouts := r.Rollouts
	for i, c := range r.Changes {
		at := slices.IndexFunc(rollouts, func(o deploy.Rollout) bool { return o.Object == c.Kind+" "+c.Name })
		if at < 0 {
			continue
		}
		mark := ready
		if !rollouts[at].Ready {
			mark = notReady
		}
		states[i] = mark + text(rollouts[at].Message)
		rollouts = slices.Delete(slices.Clone(rollouts), at, at+1)
	}
	return states
}

// restored is the table of what the rollback did.
func restored(r *deploy.Result) string {
	if len(r.Restored) == 0 {
		return ""
	}
	rows := make([]string, len(r.Restored))
	for i, x := range r.Restored {
		rows[i] = fmt.Sprintf("| **%s** | %s | %s | %s |\n", unbroken(text(x.Action)), code(x.Object), nowAndBefore(x), prose(x.Message))
	}
	return "### Rollback\n\n" + table("object", "| action | object | serves | why |\n| :-- | :-- | :-- | :-- |\n", rows)
}

// nowAndBefore says whether a restored object serves, and if not, whether it did.
func nowAndBefore(x deploy.Restored) string {
	switch {
	case x.Unwaited:
		return "not waited for"
	case !x.Waited:
		return ""
	case x.Ready:
		return ready + "again"
	case x.WasReady:
		return notReady + "not yet"
	}
	return notReady + "no, nor before this deploy"
}

// published is the table of what was brought into the registry.
func published(r *deploy.Result) string {
	if len(r.Published) == 0 {
		return ""
	}
	rows := make([]string, len(r.Published))
	for i, p := range r.Published {
		tags := make([]string, len(p.Tags))
		for i, tag := range p.Tags {
			tags[i] = code(tag)
		}
		from := p.Source
		if p.Why != "" {
			from += " (" + p.Why + ")"
		}
		layers := "not published"
		if p.Digest != "" {
			layers = fmt.Sprintf("%d sent, %d there already", p.Uploaded, p.There+p.Mounted)
			if p.Uploaded > 0 && p.Bytes > 0 {
				layers = fmt.Sprintf("%d sent (%s), %d there already", p.Uploaded, size(p.Bytes), p.There+p.Mounted)
			}
		}
		rows[i] = fmt.Sprintf("| %s | %s | %s | %s | %s |\n", code(short(path.Base(p.Reference))), strings.Join(tags, ", "), text(from),
			layers, unbroken(duration(p.Took)))
	}
	return "### Published\n\n" + table("image", "| image | further tags | from | layers | time |\n| :-- | :-- | :-- | :-- | --: |\n", rows)
}

// size is a number of bytes as people say it.
func size(n int64) string {
	switch {
	case n <= 0:
		return ""
	case n < 1<<20:
		return fmt.Sprintf("%d KiB", (n+1023)>>10)
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

const console = "https://console.cloud.google.com/kubernetes/"

func clusterURL(c deploy.Cluster) string {
	return console + fmt.Sprintf("clusters/details/%s/%s/details?project=%s",
		url.PathEscape(c.Location), url.PathEscape(c.Name), url.QueryEscape(c.Project))
}

// objectURL is the object's page in Google's console, "" for kinds without one.
func objectURL(c deploy.Cluster, o deploy.Change) string {
	tab := "details"
	switch o.Kind {
	case "Deployment", "Service":
		tab = "overview"
	case "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod", "Ingress":
	default:
		return ""
	}
	if c.Name == "" {
		return ""
	}
	return console + fmt.Sprintf("%s/%s/%s/%s/%s/%s?project=%s", strings.ToLower(o.Kind), url.PathEscape(c.Location),
		url.PathEscape(c.Name), url.PathEscape(o.Namespace), url.PathEscape(o.Name), tab, url.QueryEscape(c.Project))
}

// imageURL is the image's page. Google's registries send a browser that asks for
// an image's name to its page in the console; of others nothing is known.
func imageURL(i deploy.Image) string {
	name, _, _ := strings.Cut(i.Pinned, "@")
	host, rest, ok := strings.Cut(name, "/")
	if !ok || i.Digest == "" || !strings.HasSuffix(host, "-docker.pkg.dev") && host != "gcr.io" && !strings.HasSuffix(host, ".gcr.io") {
		return ""
	}
	if colon := strings.LastIndexByte(rest, ':'); colon >= 0 {
		rest = rest[:colon]
	}
	return "https://" + host + "/" + rest + "@" + i.Digest
}

// escapePath escapes each part of a path.
func escapePath(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}
