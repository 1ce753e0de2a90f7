package retry

import (
	"testing"
	"time"
)

func TestFormatDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 1: "1ns", time.Microsecond: "1µs", 520773: "521µs", 4 * time.Millisecond: "4ms", 9900 * time.Microsecond: "10ms", 44 * time.Millisecond: "40ms",
		3210 * time.Millisecond: "3.2s", 12300 * time.Millisecond: "12s", 70 * time.Second: "1m10s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}
