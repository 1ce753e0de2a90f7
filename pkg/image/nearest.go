package image

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// most is how many names an error lists.
const most = 10

// nearest orders the images of the manifests by how far they are from what was
// looked for; those that are no references come last.
func nearest(uses []use, far func(use) int) []string {
	type found struct {
		written string
		far     int
	}
	var all []found
	for _, u := range uses {
		f := found{u.written, 1 << 20}
		if u.valid {
			f.far = far(u)
		}
		all = append(all, f)
	}
	slices.SortStableFunc(all, func(a, b found) int { return cmp.Compare(a.far, b.far) })
	var names []string
	for _, f := range all {
		names = append(names, f.written)
	}
	return names
}

// list quotes the first names, and counts the others.
func list(names []string) string {
	var quoted []string
	for _, n := range names[:min(len(names), most)] {
		quoted = append(quoted, fmt.Sprintf("%q", short(n)))
	}
	s := strings.Join(quoted, ", ")
	if more := len(names) - most; more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

// short cuts a foreign name, since nothing bounds it.
func short(s string) string {
	const limit = 300
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// distance is how many letters must be changed, added or left out to make one
// name of the other.
func distance(a, b string) int {
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
