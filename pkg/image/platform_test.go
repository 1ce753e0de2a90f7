package image

import (
	"fmt"
	"strings"
	"testing"
)

func TestFits(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, c := range []struct {
		name             string
		platforms, nodes []string
		want             Fit
	}{
		{"same", []string{"linux/amd64"}, []string{"linux/amd64", "linux/amd64"}, FitsAll},
		{"variant", []string{"linux/arm64/v8"}, []string{"linux/arm64"}, FitsAll},
		{"index", []string{"linux/amd64", "linux/arm64"}, []string{"linux/arm64", "linux/amd64"}, FitsAll},
		{"unknown image", nil, []string{"linux/amd64"}, FitsAll},
		{"no nodes yet", []string{"linux/amd64"}, nil, FitsAll},
		{"some", []string{"linux/amd64"}, []string{"linux/arm64", "linux/amd64"}, FitsSome},
		{"none", []string{"linux/arm64"}, []string{"linux/amd64", "linux/amd64"}, FitsNone},
		{"none of two", []string{"windows/amd64"}, []string{"linux/amd64", "linux/arm64"}, FitsNone},
	} {
		fit, message := Fits(testImage+":v1", c.platforms, c.nodes)
		if fit != c.want || (message == "") != (c.want == FitsAll) {
			t.Errorf("%s: %d %q, want %d", c.name, fit, message, c.want)
		}
		fmt.Fprintf(&out, "%s:\n  %s\n", c.name, message)
	}
	golden(t, "fits.golden", out.String())
}
