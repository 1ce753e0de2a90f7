package retry

import "time"

// FormatDuration is a duration as people say it: "1µs", "521µs", "4ms", "40ms", "3.2s", "1m10s".
func FormatDuration(d time.Duration) string {
	switch {
	case d < time.Microsecond: // none but zero is "0s"
		return d.String()
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d < time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
