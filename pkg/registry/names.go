package registry

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/org/deploy-model-action/pkg/redact"
)

// tagForm is OCI's tag. go-containerregistry knows its letters, but not that the
// first one must be none of '.' and '-'.
var tagForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// ValidTag reports whether it is the form of a tag.
func ValidTag(tag string) bool { return tagForm.MatchString(tag) }

// ValidPath reports whether a text is a path of repositories that any registry
// takes as it is: printable, and without parts that are empty or lead elsewhere.
func ValidPath(path string) bool { return cleanPath(path) && printable(path) }

// DisplayName is a name as people write it: Docker Hub's host has two.
func DisplayName(full string) string {
	if rest, ok := strings.CutPrefix(full, name.DefaultRegistry); ok {
		return "docker.io" + rest
	}
	return full
}

// Parent is a path without its last part.
func Parent(path string) string {
	if i := strings.LastIndex(path, "/"); i >= 0 {
		return path[:i]
	}
	return path
}

func printable(s string) bool {
	for _, r := range s {
		if r <= ' ' || r >= 0x7f {
			return false
		}
	}
	return true
}

// Platform is how Kubernetes writes one, linux/amd64; "" for what is no image,
// such as the attestations in an index.
func Platform(p v1.Platform) string {
	if p.OS == "" || p.Architecture == "" || p.OS == "unknown" || p.Architecture == "unknown" {
		return ""
	}
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Distinct sorts names and drops what is empty or there twice.
func Distinct(names []string) []string {
	names = slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

// Quote quotes the first of foreign names for a sentence, and counts the others.
func Quote(names []string) string {
	const most = 10
	var quoted []string
	for _, n := range names[:min(len(names), most)] {
		quoted = append(quoted, fmt.Sprintf("%q", redact.Line(n, 300)))
	}
	s := strings.Join(quoted, ", ")
	if more := len(names) - most; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// Distance is how many letters must be changed, added or left out to make one
// name of the other.
func Distance(a, b string) int {
	const limit = 300 // longer than any reference; the work grows with the square
	a, b = a[:min(len(a), limit)], b[:min(len(b), limit)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
