package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSortByNearness(t *testing.T) {
	t.Parallel()
	meant := Name{"p", "europe-west6-a", "model"}
	names := []Name{
		{"p", "us-central1", "training"},
		{"p", "europe-west6-a", "model-a"},
		{"p", "europe-west6-a", "models"},
		{"p", "asia-east1", "models"},
		{"p", "us-central1", "model"},
		{"p", "europe-west6", "model"},
		{"p", "europe-west6-a", "medal"},
	}
	sortByNearness(names, meant)
	want := []Name{
		{"p", "europe-west6", "model"},
		{"p", "us-central1", "model"},
		{"p", "europe-west6-a", "models"},
		{"p", "asia-east1", "models"},
		{"p", "europe-west6-a", "medal"},
		{"p", "europe-west6-a", "model-a"},
		{"p", "us-central1", "training"},
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "abd", 1},
		{"abc", "ab", 1},
		{"abc", "xabc", 1},
		{"kitten", "sitting", 3},
		{"flaw", "lawn", 2},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
