package diagnosis

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzLogTail(f *testing.F) {
	f.Add([]byte("a\nb\r\nc"))
	f.Add([]byte(strings.Repeat("ä", 5000)))
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := logTail(text)
		if len(lines) > logLines {
			t.Errorf("%d lines", len(lines))
		}
		for _, line := range lines {
			if len(line) > logLineBytes || !utf8.ValidString(line) || strings.ContainsAny(line, "\n\r") {
				t.Errorf("line %q", line)
			}
		}
	})
}
