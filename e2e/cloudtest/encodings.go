package cloudtest

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
)

// TokenPrefix begins every access token of the local cloud.
const TokenPrefix = "ya29.local-"

// Encodings are the forms in which a secret may show: a base64 text has one for
// each place in a group of three bytes at which the secret may begin.
func Encodings(secret string) map[string]string {
	forms := map[string]string{
		"as it is": secret, "URL-encoded": url.QueryEscape(secret), "in hexadecimal": hex.EncodeToString([]byte(secret)),
	}
	for shift, name := range []string{"in base64", "in base64, shifted by one", "in base64, shifted by two"} {
		padded := append(make([]byte, shift), secret...)
		whole := len(padded) / 3 * 3
		first := 0
		if shift > 0 {
			first = 4 // holds bits of what is before the secret
		}
		if encoded := base64.StdEncoding.EncodeToString(padded[:whole]); len(encoded)-first >= 8 {
			forms[name] = encoded[first:]
			forms[name+", for URLs"] = base64.URLEncoding.EncodeToString(padded[:whole])[first:]
		}
	}
	return forms
}

// key is the one that steps get unless they are given another.
func (x *Test) key() []byte {
	x.Helper()
	key, err := os.ReadFile(x.Cloud.CredentialsFile)
	if err != nil {
		x.Fatal(err)
	}
	return key
}
