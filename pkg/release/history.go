package release

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	// maxImages is how many images of a release are remembered.
	maxImages = 20
	// maxListed bounds how many records of a namespace are listed, a page at a time.
	maxListed = 1000
	pageSize  = 20 // a record may have nearly 1 MiB
)

// Image is one image of a release.
type Image struct {
	Reference string `json:"reference"`        // HOST/NAME:TAG
	Digest    string `json:"digest,omitempty"` // sha256:…
}

// Pinned is the image as objects name it: HOST/NAME:TAG@sha256:….
func (i Image) Pinned() string {
	if i.Digest == "" {
		return i.Reference
	}
	return i.Reference + "@" + i.Digest
}

// Entry is one release, as the record remembers it.
type Entry struct {
	Run
	// Nonce is of the process that deployed it.
	Nonce  string  `json:"nonce"`
	Images []Image `json:"images,omitempty"`
	// From is the commit that served before; "" if it is not known.
	From string `json:"from,omitempty"`
	// Outcome is the step's; "" as long as it runs, and for ever if it was killed.
	Outcome  string    `json:"outcome,omitempty"`
	Note     string    `json:"note,omitempty"`   // what the outcome alone does not say
	Pruned   []string  `json:"pruned,omitempty"` // "Service models/old", the first 50 of them
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`

	raw json.RawMessage // as it was read
}

// Good reports whether the release was verified.
func (e Entry) Good() bool { return e.Outcome == Deployed || e.Outcome == Unchanged }

// Serving is the release that serves, as far as a record knows: of releases, which
// begin with the newest, the newest that was verified.
func Serving(releases []Entry) (Entry, bool) {
	i := slices.IndexFunc(releases, Entry.Good)
	if i < 0 {
		return Entry{}, false
	}
	return releases[i], true
}

// boundImages returns as many as a record has room for.
func boundImages(images []Image) []Image {
	var out []Image
	for _, i := range images[:min(len(images), maxImages)] {
		out = append(out, Image{Reference: redact.Line(i.Reference, 400), Digest: redact.Line(i.Digest, 100)})
	}
	return out
}

// History returns the releases that a record remembers, the newest first; nil if
// there is no record. Errors are those of Open.
func History(ctx context.Context, client *kube.Client, namespace, name string) ([]Entry, error) {
	r, err := Open(ctx, client, namespace, name)
	if err != nil {
		return nil, err
	}
	return r.Releases(), nil
}

// Listed is a release of a namespace.
type Listed struct {
	Name     string
	Releases []Entry // the newest first
	Err      error   // an *UnreadableError
}

// List returns the releases of a namespace by name.
func List(ctx context.Context, client *kube.Client, namespace string) ([]Listed, error) {
	var all []Listed
	_, err := eachRecord(ctx, client, namespace, func(_, name string, s state, err error) {
		all = append(all, Listed{Name: name, Releases: s.releases, Err: err})
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Listed) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// eachRecord gives f every record of a namespace, of all of them if it is "", and
// reports whether that was all: there is a bound.
func eachRecord(ctx context.Context, client *kube.Client, namespace string, f func(namespace, name string, s state, err error)) (all bool, err error) {
	ref := recordRef(namespace, "")
	options := metav1.ListOptions{LabelSelector: labelManagedBy + "=" + object.FieldManager, Limit: pageSize}
	for n := 0; n < maxListed; {
		page, err := retry.Do(ctx, retry.Policy{May: func(err error) retry.Verdict { return retry.Verdict{Again: kube.Transient(err)} }},
			func(ctx context.Context) (*unstructured.UnstructuredList, error) {
				return client.Objects(ref.Resource, namespace).List(ctx, options)
			})
		if err != nil {
			return false, explain(err, "list", ref)
		}
		for i := range page.Items {
			u := &page.Items[i]
			name, ok := strings.CutPrefix(u.GetName(), prefix)
			if !ok {
				continue
			}
			n++
			s, err := parseConfigMap(u)
			f(u.GetNamespace(), name, s, err)
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return true, nil
		}
	}
	return false, nil
}

// Table shows releases, which begin with the newest, as lines for people: a row
// for each, a mark on the one that serves, and how to go back.
func Table(releases []Entry) []string {
	serving, serves := Serving(releases)
	rows := [][]string{{"", "WHEN (UTC)", "COMMIT", "OUTCOME", "IMAGE", "BY", "RUN"}}
	for _, e := range releases {
		mark := ""
		if serves && e.Nonce == serving.Nonce {
			mark = "*"
		}
		rows = append(rows, append([]string{mark}, columns(e)...))
	}
	lines := table(rows)
	if len(releases) == 0 {
		return append(lines, "nothing was deployed yet")
	}
	newest := releases[0]
	if newest.Note != "" {
		lines = append(lines, "The newest deploy ended as "+redact.Line(newest.Outcome, 20)+": "+redact.Line(newest.Note, maxNote)+".")
	}
	switch {
	case newest.Note != "":
	case slices.Contains([]string{Deployed, Unchanged, RolledBack, Superseded}, newest.Outcome):
	case newest.Outcome == "":
		lines = append(lines, "The newest deploy has not finished: it runs, or was killed. The next one takes over, and knows what was there before.")
	default:
		lines = append(lines, "The newest deploy ended as "+redact.Line(newest.Outcome, 20)+": what it had written may still be there.")
	}
	if !serves {
		return append(lines, "None of them was verified.")
	}
	lines = append(lines, "* serves.")
	back := slices.IndexFunc(releases, func(e Entry) bool { return e.Good() && e.Commit != serving.Commit && e.Commit != "" })
	if back < 0 {
		return lines
	}
	return append(lines, goBack(releases[back]))
}

// ListTable shows the releases of a namespace: the newest of each, and what serves.
func ListTable(all []Listed) []string {
	rows := [][]string{{"RELEASE", "SERVES", "LAST (UTC)", "COMMIT", "OUTCOME", "IMAGE", "BY", "RUN"}}
	for _, l := range all {
		name := redact.Line(l.Name, maxName)
		switch {
		case l.Err != nil:
			rows = append(rows, []string{name, "?", "", "", redact.Line(l.Err.Error(), 400)})
		case len(l.Releases) == 0:
			rows = append(rows, []string{name, "-"})
		default:
			serves := "-"
			if e, ok := Serving(l.Releases); ok {
				serves = short(e.Commit)
			}
			rows = append(rows, append([]string{name, serves}, columns(l.Releases[0])...))
		}
	}
	return table(rows)
}

// columns are what a table shows of a release.
func columns(e Entry) []string {
	outcome := redact.Line(e.Outcome, 20)
	if outcome == "" {
		outcome = "unfinished"
	}
	if n := len(e.Pruned); n > 0 {
		outcome += fmt.Sprintf(", %d pruned", n)
	}
	by, run := redact.Line(e.Actor, 40), redact.Line(e.URL, 200)
	if e.byHand() {
		run = "by hand"
	}
	return []string{e.Started.UTC().Format("2006-01-02 15:04"), short(e.Commit), outcome, shortImages(e.Images), by, run}
}

// shortImages is the first image by its name and digest, and how many more there are.
func shortImages(images []Image) string {
	if len(images) == 0 {
		return ""
	}
	name := images[0].Reference[strings.LastIndexByte(images[0].Reference, '/')+1:]
	if digest := strings.TrimPrefix(images[0].Digest, "sha256:"); len(digest) >= 12 {
		name, _, _ = strings.Cut(name, ":")
		name += "@" + digest[:12]
	}
	name = redact.Line(name, 60)
	if more := len(images) - 1; more > 0 {
		name += fmt.Sprintf(" +%d", more)
	}
	return name
}

// goBack says how a person makes an earlier release serve again.
func goBack(e Entry) string {
	commit := redact.Line(e.Commit, 128)
	dispatch := "run the workflow by hand (workflow_dispatch) with sha: " + commit
	if e.byHand() || e.Repository == "" {
		return fmt.Sprintf("To go back to %s: %s.", short(commit), dispatch)
	}
	return fmt.Sprintf("To go back to %s: `gh run rerun %d --repo %s` (GitHub lets you for 30 days), or %s.", short(commit), e.ID, redact.Line(e.Repository, 200), dispatch)
}

// table aligns columns; the last one of a row has no width.
func table(rows [][]string) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row[:max(0, len(row)-1)] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	lines := make([]string, len(rows))
	for n, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
			}
		}
		lines[n] = strings.TrimRight(b.String(), " ")
	}
	return lines
}
