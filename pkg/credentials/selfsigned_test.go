package credentials

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSelfSigned holds that a key's tokens for the GKE API are its own, made for it
// alone and without a request, until one is refused.
func TestSelfSigned(t *testing.T) {
	t.Parallel()
	g := newServices(t)
	o := g.options(t)
	o.JSON = keyFile()
	found, err := Find(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	own, err := found.GKE.Token()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"mask -----BEGIN PRIVATE KEY-----", "mask " + own.AccessToken}, g.events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if again, _ := found.GKE.Token(); again.AccessToken != own.AccessToken {
		t.Error("a token that is good was made again")
	}
	parts := strings.Split(own.AccessToken, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&testKey().PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		t.Error(err)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	issued, _ := claims["iat"].(float64)
	expires, _ := claims["exp"].(float64)
	delete(claims, "iat")
	delete(claims, "exp")
	// A scope would make it good for more than one API.
	if diff := cmp.Diff(map[string]any{"iss": testEmail, "sub": testEmail, "aud": "https://container.googleapis.com/"}, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if time.Unix(int64(issued), 0).After(time.Now()) || expires-issued > 3600 || own.Expiry.After(time.Unix(int64(expires), 0)) {
		t.Errorf("issued %v, expires %v, taken to live until %v", issued, expires, own.Expiry)
	}

	found.GKE.(*selfSigned).Forget("another token") // which says nothing of this one
	if still, _ := found.GKE.Token(); still.AccessToken != own.AccessToken {
		t.Error("a token was dropped that nobody refused")
	}
	found.GKE.(*selfSigned).Forget(own.AccessToken)
	access, err := found.GKE.Token()
	if err != nil || access.AccessToken != "ya29.c.key-1" {
		t.Errorf("after a refusal: %+v, %v, want an access token", access, err)
	}
}

// TestNobodyElseSigns holds that who has no key for the identity uses its access tokens.
func TestNobodyElseSigns(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"federation":    func(o *Options) { o.WorkloadIdentityProvider = testProvider },
		"impersonation": func(o *Options) { o.JSON, o.ServiceAccount = keyFile(), testTarget },
	} {
		o := newServices(t).options(t)
		change(&o)
		found, err := Find(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if found.GKE != found.Tokens {
			t.Errorf("%s: %T", name, found.GKE)
		}
	}
}
