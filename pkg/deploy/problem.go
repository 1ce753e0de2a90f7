package deploy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/manifest"
	"github.com/org/deploy-model-action/pkg/object"
)

// problems turns an error into what a user is shown: one problem for each
// place in a file, and one for all mistakes of one title that have none, so that a
// step with three wrong inputs has one annotation that names the three, and another
// one for what is wrong with its credentials.
func (d *deployment) problems(err error) []Problem {
	var placed, general []Problem
	all := leaves(err)
	for i, e := range all {
		cause := objectless(e)
		if cause != "" && slices.ContainsFunc(all[:i], func(f error) bool { return objectless(f) == cause }) {
			continue // counted where it was said first
		}
		if p, ok := d.placed(e); ok {
			if more := others(all[i+1:], cause); cause != "" && more != "" {
				p.Message = strings.Replace(p.Message, ": "+cause, more+": "+cause, 1)
			}
			placed = append(placed, p)
			continue
		}
		called := title(err, e)
		if at := slices.IndexFunc(general, func(p Problem) bool { return p.Title == called }); at >= 0 {
			general[at].Message += "\n" + e.Error()
		} else {
			general = append(general, Problem{Title: called, Message: e.Error()})
		}
	}
	return append(general, placed...)
}

// objectless is a refusal in words that fit any object, as of a namespace that
// is missing; "" if it is not one.
func objectless(err error) string {
	var refused *kube.ObjectError
	if !errors.As(err, &refused) || refused.Field != "" {
		return ""
	}
	return refused.Err.Error()
}

// others counts the objects that are refused in the same words.
func others(rest []error, cause string) string {
	n := 0
	for _, e := range rest {
		if objectless(e) == cause {
			n++
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return " and 1 more object"
	}
	return fmt.Sprintf(" and %d more objects", n)
}

// titled is an error that says in a few words whose "no" it is.
type titled interface{ Title() string }

// about is an error about one object of the manifests, and a field of it or "".
type about interface{ About() (object.ID, string) }

func isAbout(err error) bool {
	_, ok := err.(about)
	return ok
}

// leaves flattens joined errors; an error that wraps one other stays whole,
// since its own words belong to the sentence.
func leaves(err error) []error {
	if err == nil {
		return nil
	}
	var input *InputError
	if errors.As(err, &input) && err == error(input) { //nolint:errorlint // only the outermost wrapping is taken off
		return leaves(input.Err)
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if _, whole := err.(titled); !ok || whole && !slices.ContainsFunc(joined.Unwrap(), isAbout) {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, leaves(e)...)
	}
	return all
}

// placed finds the place in a file that an error is about.
func (d *deployment) placed(err error) (Problem, bool) {
	var at interface {
		Place() (file string, line int)
	}
	if errors.As(err, &at) {
		if file, line := at.Place(); file != "" {
			return Problem{Title: title(err, err), Message: err.Error(), File: file, Line: line}, true
		}
	}
	var wrong *manifest.Error
	if errors.As(err, &wrong) && wrong.File != "" {
		return Problem{Title: "Manifest", Message: wrong.Error(), File: wrong.File, Line: wrong.Line}, true
	}
	var of about
	if errors.As(err, &of) && d.manifests != nil {
		id, field := of.About()
		if index := d.manifests.Find(id); index >= 0 {
			at, message := d.manifests.Position(index, field), err.Error()
			var double interface{ Other() string }
			if errors.As(err, &double) && double.Other() != "" {
				other := d.manifests.Position(index, double.Other())
				message += fmt.Sprintf(" (%s:%d and %s:%d)", other.File, other.Line, at.File, at.Line)
			}
			return Problem{Title: title(err, err), Message: message, File: at.File, Line: at.Line}, true
		}
	}
	return Problem{}, false
}

// title says in a few words whose "no" it was. Most errors know it themselves.
func title(all, first error) string {
	var (
		known titled
		input *InputError
	)
	switch {
	case errors.As(first, &known):
		return known.Title()
	case errors.As(all, &input):
		return "Wrong input"
	}
	return "Deploy failed"
}

// sourcedError is an error that names where the values came from, instead of the
// inputs that might have held them.
type sourcedError struct {
	err  error
	text string
}

func (e *sourcedError) Error() string { return e.text }
func (e *sourcedError) Unwrap() error { return e.err }

// inputWords are the names of inputs in sentences, each with what stands before it.
// "zone" alone is a word of its own, and "quota_project_id" no input.
var inputWords = []struct {
	input string
	form  *regexp.Regexp
}{
	{"zone", regexp.MustCompile(`(\binput |\bset |\bleave |cluster_name and |cluster_name, )zone\b`)},
	{"cluster_name", regexp.MustCompile(`(\binput |\b)cluster_name\b`)},
	{"project_id", regexp.MustCompile(`(\binput |\b)project_id\b`)},
}

// inFull are the inputs that a full cluster_name makes unnecessary.
var inFull = strings.NewReplacer("cluster_name, zone and project_id", "cluster_name", "cluster_name, zone, project_id and", "cluster_name and",
	"cluster_name and zone", "cluster_name", "set zone: ", "write into cluster_name: ", "look at project_id", "look at the project in cluster_name")

// sourced says of an error about the cluster's name where its parts came from.
func (d *deployment) sourced(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if strings.Contains(d.ClusterName, "/") {
		text = inFull.Replace(text)
	}
	for _, w := range inputWords {
		text = w.form.ReplaceAllStringFunc(text, func(found string) string {
			return d.source(w.input, strings.TrimSuffix(found, w.input))
		})
	}
	if text == err.Error() {
		return err
	}
	return &sourcedError{err, text}
}

// source names where an input's value came from, behind what stands before its name.
func (d *deployment) source(input, before string) string {
	if input == "project_id" && d.projectFrom != "" && before == "input " {
		return d.projectFrom
	}
	word := input
	switch flag := d.flags[input]; {
	case flag != "":
		word, before = flag, strings.TrimPrefix(before, "input ")
	case input == "zone" && d.Zone == "" && d.Location != "":
		word = "location"
	}
	if input != "project_id" || d.projectFrom == "" {
		return before + word
	}
	return before + word + " (now from the " + d.projectFrom + ")"
}

// warnAt warns of what stands in a manifest: in the log, and as an annotation there.
func (d *deployment) warnAt(use manifest.Use, title, message string) {
	at := d.manifests.Position(use.Object, use.Path)
	d.log.Printf("%s:%d: %s", at.File, at.Line, message)
	d.result.Warnings = append(d.result.Warnings, Problem{Title: title, Message: message, File: at.File, Line: at.Line})
}

// warn shows what the API server has warned of since it was asked last: in the
// log, and where it is about an object of the manifests, for annotations.
func (d *deployment) warn() {
	if d.client == nil {
		return
	}
	for _, w := range d.client.Warnings.Take() {
		if w.About.Kind == "" {
			d.log.Printf("Warning of the API server: %s", w.Text)
			continue
		}
		d.log.Printf("Warning of the API server about %s: %s", w.About, w.Text)
		if i := d.manifests.Find(w.About); i >= 0 {
			at := d.manifests.Position(i, "")
			d.result.Warnings = append(d.result.Warnings, Problem{Title: "Warning of the API server", Message: w.About.String() + ": " + w.Text, File: at.File, Line: at.Line})
		}
	}
}
