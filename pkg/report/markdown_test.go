package report

import (
	"strings"
	"testing"
	"time"
)

func TestText(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"":                   "",
		"a & b &lt; c":       "a &amp; b &amp;lt; c",
		"<b>":                "&lt;b&gt;",
		"a|b":                "a&#124;b",
		"[a](b) *c* `d`":     "&#91;a&#93;(b) &#42;c&#42; &#96;d&#96;",
		"snake_case _em_":    "snake_case &#95;em&#95;",
		"# heading #1":       "&#35; heading #1",
		"- item - item":      "&#45; item - item",
		"=== x":              "&#61;== x",
		"12. item 3. x":      "12&#46; item 3. x",
		"1) item":            "1&#41; item",
		"v1.2.3":             "v1.2.3",
		" a \n\n b\t c\r\nd": "a b c d",
		"a\u0085b\u2028c":    "a b c",
		"a\x00\u202eb\u200b": "ab",
		"a\xffb":             "a\uFFFDb",
		`a\b`:                "a&#92;b",
	} {
		if got := text(s); got != want {
			t.Errorf("text(%q) = %q, want %q", s, got, want)
		}
	}
	for _, s := range []string{strings.Repeat("ü", maxText), strings.Repeat(" ü", 100*maxText)} {
		if got := text(s); len(got) > maxText || !strings.HasSuffix(got, "ü…") {
			t.Errorf("text of %d bytes is %d, and ends with %q", len(s), len(got), got[len(got)-10:])
		}
	}
}

// A fold that does not hold everything holds what is next to the failure.
func TestFoldKeepsTheLastLines(t *testing.T) {
	t.Parallel()
	lines := []string{"first"}
	for range 1000 {
		lines = append(lines, strings.Repeat("x", 1000))
	}
	got := fold("Log", "text", append(lines, "last"))
	if len(got) > maxBlock+200 || !strings.Contains(got, "\nlast\n```\n") || strings.Contains(got, "first") {
		t.Errorf("%d bytes that end with %q", len(got), got[len(got)-100:])
	}
}

func TestTableIsBounded(t *testing.T) {
	t.Parallel()
	row := "| " + strings.Repeat("x", maxBlock/30) + " |\n"
	got := table("object", "| x |\n| - |\n", strings.SplitAfter(strings.Repeat(row, 100), "\n")[:100])
	if n := strings.Count(got, row); n != 29 || !strings.Contains(got, "9 more objects</summary>") || !strings.HasSuffix(got, "The log has 71 more objects.\n\n") {
		t.Errorf("%d rows, and %q", n, got[len(got)-60:])
	}
}

func TestBar(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from, to time.Time
		want     string
	}{
		"took time":   {at(0), at(1.5), "    ✓ section x_y (1.5 s) :active, 1773480413000, 1773480414500\n"},
		"took none":   {at(0), at(0), "    ✓ section x_y (0 ms) :active, 1773480413000, 1773480413001\n"},
		"not begun":   {time.Time{}, at(1), ""},
		"not ended":   {at(0), time.Time{}, ""},
		"ends before": {at(1), at(0), ""},
	} {
		var b strings.Builder
		bar(&b, "section x:y", true, c.from, c.to)
		if b.String() != c.want {
			t.Errorf("%s: %q", name, b.String())
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{
		-1: "", 0: "", 1: "1 KiB", 1024: "1 KiB", 1025: "2 KiB", 1 << 20: "1.0 MiB", 431 << 20: "431.0 MiB", 5 << 30: "5.0 GiB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "", 0: "", time.Millisecond: "1 ms", 999 * time.Millisecond: "999 ms", time.Second: "1.0 s", 59 * time.Second: "59.0 s",
		60 * time.Second: "1 min 0 s", 605 * time.Second: "10 min 5 s", 2*time.Hour + 90*time.Second: "2 h 1 min",
	} {
		if got := duration(d); got != want {
			t.Errorf("%d: %q", d, got)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "1second", 10 * time.Second: "1second", 11 * time.Second: "2second", 100 * time.Second: "10second", 4 * time.Minute: "30second",
		10 * time.Minute: "1minute", time.Hour: "10minute", 10 * time.Hour: "1hour",
	} {
		if got := tick(d); got != want {
			t.Errorf("tick of %s: %q", d, got)
		}
	}
}
