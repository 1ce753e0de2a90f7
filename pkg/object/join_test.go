package object

import "testing"

func TestJoinFirst(t *testing.T) {
	t.Parallel()
	for want, names := range map[string][]string{
		"":                         nil,
		"a":                        {"a"},
		"a, b, c, d, e":            {"a", "b", "c", "d", "e"},
		"a, b, c, d, e and 2 more": {"a", "b", "c", "d", "e", "f", "g"},
	} {
		if got := JoinFirst(names); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
