package cluster

import (
	"cmp"
	"slices"
)

// sortByNearness puts first what was probably meant: the same name elsewhere,
// then the most similar names, those in the same location before others.
func sortByNearness(names []Name, meant Name) {
	slices.SortStableFunc(names, func(a, b Name) int {
		return cmp.Or(
			cmp.Compare(distance(a.Cluster, meant.Cluster), distance(b.Cluster, meant.Cluster)),
			cmp.Compare(distance(a.Location, meant.Location), distance(b.Location, meant.Location)),
			cmp.Compare(a.Cluster, b.Cluster),
			cmp.Compare(a.Location, b.Location),
		)
	})
}

// distance is Levenshtein's: how many letters must be changed, added or removed.
func distance(a, b string) int {
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
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
