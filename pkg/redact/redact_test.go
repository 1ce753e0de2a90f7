package redact

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestSecrets(t *testing.T) {
	t.Parallel()
	const digest = "sha256:0f2bd3f1a6e0d1a2c5c3f1c0d7e1b2a3948576f0e1d2c3b4a5968778695a4b3c"
	tests := []struct{ name, in, want string }{
		{"user info", `Get "https://robot:hunter2@r.example/v2/": EOF`, `Get "https://r.example/v2/": EOF`},
		{"token as user", `https://x-access-token@github.com/a/b`, `https://github.com/a/b`},
		{"image with digest stays", `image "https://r.example/a/b@` + digest + `"`, `image "https://r.example/a/b@` + digest + `"`},
		{"query", `GET https://s.example/blob?X-Goog-Signature=abc123&scope=repository%3Aa&sig=%2Fx#f`, `GET https://s.example/blob?X-Goog-Signature=[redacted]&scope=repository%3Aa&sig=[redacted]#f`},
		{"rate limit", `pull rate limit as 'acme': dckr_jti_Zm9vYmFy. You may`, `pull rate limit as [redacted] You may`},
		{"bearer", `Authorization: Bearer abcdefgh12345678.x`, `Authorization: Bearer [redacted]`},
		{"google token", `token ya29.c.b0AXv0zTP refused`, `token [redacted] refused`},
		{"jwt", `got eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrIn0.c2ln here`, `got [redacted] here`},
		{"hugging face", `HF says hf_abcdefghijklmnopqrstuvwx`, `HF says [redacted]`},
		{"environment", `DB_PASSWORD=hunter2 LEVEL=1`, `DB_PASSWORD=[redacted] LEVEL=1`},
		{"flag", `--api-key="a b" --port=80`, `--api-key="[redacted]" --port=80`},
		{"json", `{"private_key": "a\"b", "type": "x"}`, `{"private_key": "[redacted]", "type": "x"}`},
		{"prose stays", `failed to fetch anonymous token: unexpected status; secret "model-token" not found; wrong password: ask for it`, `failed to fetch anonymous token: unexpected status; secret "model-token" not found; wrong password: ask for it`},
		{"Google's advice stays", `visit https://console.developers.google.com/apis/api/x.googleapis.com/overview?project=123 then retry`, `visit https://console.developers.google.com/apis/api/x.googleapis.com/overview?project=123 then retry`},
		{"private key", "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb", "a\n[redacted]\nb"},
		{"private key, cut", "a\n-----BEGIN PRIVATE KEY-----\nMIIE", "a\n[redacted]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Secrets(tt.in); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in    string
		limit int
		want  string
	}{
		{"a\r\n  b\t\x1b[31mc", 100, "a b [31mc"},
		{"abc\u202edef\u200b", 100, "abcdef"},
		{"äöüäöü", 4, "äöü…"},
		{"ab\xffc", 10, "abc"},
		{"a. b.", 10, "a. b."},
		{"abc", 1, "…"},
	}
	for _, tt := range tests {
		if got := Line(tt.in, tt.limit); got != tt.want {
			t.Errorf("Line(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestPhrase(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Permission denied.\nAsk\tsomebody...":    "Permission denied. Ask somebody",
		"\u2028a\x00b\ufffd":                      "ab",
		strings.Repeat("ä", 301):                  strings.Repeat("ä", 299) + "…",
		"login with Bearer abcdefgh12345678 now.": "login with Bearer [redacted] now",
		"": "",
	} {
		if got := Phrase(in); got != want {
			t.Errorf("Phrase(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	values := []string{"hunter2", "hunter2-longer", "abc", "line one\nline \"two\"\n"}
	for in, want := range map[string]string{
		"it is hunter2-longer, and hunter2": "it is [redacted], and [redacted]",
		`{"a":"line \"two\""}`:              `{"a":"[redacted]"}`,
		"abc is too short to look for":      "abc is too short to look for",
		"line one":                          "[redacted]",
		"nothing":                           "nothing",
	} {
		if got := Values(in, values); got != want {
			t.Errorf("Values(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, seed := range []string{
		`Get "https://u:p@h/x?token=1": EOF`, "::error::x\r\n##[group]", "\x1b]0;t\a", "-----BEGIN PRIVATE KEY-----", "a=b&c=d?e=f", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrIn0.x",
	} {
		f.Add(seed, 50)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		if limit < 1 || limit > 10_000 {
			return
		}
		const secret = "CaNaRy0123456789"
		got := Line(s+" https://robot:"+secret+"@r.example/x?sig="+secret+" API_TOKEN="+secret+" Bearer "+secret+" dckr_"+secret, limit)
		if utf8.RuneCountInString(got) > limit {
			t.Errorf("%d runes, limit %d", utf8.RuneCountInString(got), limit)
		}
		if !utf8.ValidString(got) {
			t.Errorf("broken UTF-8: %q", got)
		}
		if strings.Contains(got, secret) {
			t.Errorf("leaks: %q", got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
				t.Errorf("control character %U in %q", r, got)
			}
		}
	})
}
