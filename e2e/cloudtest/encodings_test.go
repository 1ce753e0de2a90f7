package cloudtest_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
	"testing"

	"github.com/org/deploy-model-action/e2e/cloudtest"
)

func TestEncodings(t *testing.T) {
	t.Parallel()
	const secret = "AAECAwQFBgcICQ+/DA0ODw=="
	for name, text := range map[string]string{
		"plain":                 "x" + secret + "y",
		"URL":                   "a=" + url.QueryEscape(secret),
		"hexadecimal":           hex.EncodeToString([]byte("x" + secret)),
		"base64":                base64.StdEncoding.EncodeToString([]byte(secret + "tail")),
		"base64 after 1":        base64.StdEncoding.EncodeToString([]byte("x" + secret)),
		"base64 after 2":        base64.StdEncoding.EncodeToString([]byte("xy" + secret + "tail")),
		"base64 after 302":      base64.StdEncoding.EncodeToString([]byte(strings.Repeat("z", 302) + secret)),
		"base64 without filler": base64.RawStdEncoding.EncodeToString([]byte("xyz1" + secret)),
		"base64 for URLs":       base64.RawURLEncoding.EncodeToString([]byte("~~?>" + secret)),
	} {
		found := false
		for _, form := range cloudtest.Encodings(secret) {
			found = found || strings.Contains(text, form)
		}
		if !found {
			t.Errorf("%s: not seen in %s", name, text)
		}
	}
}
