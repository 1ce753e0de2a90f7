package image

import (
	"cmp"
	"slices"
)

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
