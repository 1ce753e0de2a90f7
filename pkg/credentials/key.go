package credentials

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	hostOAuth = "oauth2.googleapis.com"
	tokenURI  = "https://oauth2.googleapis.com/token"
	// oldTokenURI stands in keys made before 2018. It is accepted, and means the
	// same, since requests go to tokenURI whatever a file says.
	oldTokenURI = "https://accounts.google.com/o/oauth2/token"

	googleUniverse = "googleapis.com"
)

var emailForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}@[a-z0-9][a-z0-9.-]{0,127}\.gserviceaccount\.com$`)

func isServiceAccount(email string) bool { return emailForm.MatchString(email) }

// projectOf reads the project from an address; "" if it is not in it.
func projectOf(email string) string {
	_, domain, _ := strings.Cut(email, "@")
	project, found := strings.CutSuffix(domain, ".iam.gserviceaccount.com")
	if !found || strings.Contains(project, ".") {
		return ""
	}
	return project
}

// serviceAccountKey signs for a service account.
type serviceAccountKey struct {
	email, id string
	private   *rsa.PrivateKey
}

// key validates a service account key and masks it.
func (f *finder) key(doc object) (*identity, string) {
	var missing []string
	values := map[string]string{}
	for _, name := range []string{"client_email", "private_key", "private_key_id", "project_id", "token_uri", "universe_domain"} {
		value, ok := doc.text(name)
		if !ok {
			return nil, fmt.Sprintf("has a %q that is not text: give the file as Google gave it out", name)
		}
		values[name] = strings.TrimSpace(value)
		if values[name] == "" && (name == "client_email" || name == "private_key") {
			missing = append(missing, name)
		}
	}
	for _, v := range doc {
		if _, nested := v.(object); nested {
			return nil, "holds an object within the key, which no service account key does: give the file as Google gave it out"
		}
	}
	switch {
	case len(missing) > 0:
		return nil, "has no " + strings.Join(missing, " and no ") + ": give the whole file that `gcloud iam service-accounts keys create` wrote"
	case !slices.Contains([]string{"", tokenURI, oldTokenURI}, values["token_uri"]):
		return nil, "has a token_uri that is not " + tokenURI + ": a key is shown to Google only; give the file as Google gave it out"
	case !slices.Contains([]string{"", googleUniverse}, values["universe_domain"]):
		return nil, "has a universe_domain that is not " + googleUniverse + ": other universes are not supported"
	case !isServiceAccount(values["client_email"]):
		return nil, "has a client_email that is not the address of a service account: give the file as Google gave it out"
	}
	// Some tools escape the line breaks of the key a second time. PEM has no
	// backslash, so this can be undone without doubt.
	text := strings.ReplaceAll(strings.ReplaceAll(values["private_key"], `\r`, ""), `\n`, "\n")
	private, problem := parsePrivateKey(text)
	if problem != "" {
		return nil, problem
	}
	f.Mask(text)
	k := &serviceAccountKey{email: values["client_email"], id: values["private_key_id"], private: private}
	project := values["project_id"]
	if project == "" {
		project = projectOf(k.email)
	}
	return &identity{
		kind: "service account key", principal: k.email, project: project,
		key:   k,
		fetch: func(ctx context.Context) (grant, error) { return f.exchangeKey(ctx, k) },
	}, ""
}

func parsePrivateKey(text string) (*rsa.PrivateKey, string) {
	const again = "make a new key with `gcloud iam service-accounts keys create`, or give the file as Google gave it out"
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, "has a private_key that is not PEM text (-----BEGIN PRIVATE KEY-----, lines, -----END PRIVATE KEY-----): " + again
	}
	var parsed any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, "has a private_key of another sort than PRIVATE KEY: " + again
	}
	if err != nil {
		return nil, "has a private_key that is damaged: " + again
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok || private.N.BitLen() < 1024 {
		return nil, "has a private_key that is not an RSA key of at least 1024 bits: " + again
	}
	return private, ""
}

// sign makes a JWT of the claims, as of now, and returns when it ends.
func (k *serviceAccountKey) sign(now time.Time, claims map[string]any) (string, time.Time, error) {
	header := map[string]string{"alg": "RS256", "typ": "JWT"}
	if k.id != "" {
		header["kid"] = k.id
	}
	issued := now.Add(-10 * time.Second)                   // Google refuses what is from its future
	expires := issued.Add(time.Hour).Truncate(time.Second) // as the claim says it
	claims["iss"], claims["iat"], claims["exp"] = k.email, issued.Unix(), expires.Unix()
	var parts []string
	for _, part := range []any{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", time.Time{}, err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	signed := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.private, crypto.SHA256, sum[:])
	if err != nil {
		return "", time.Time{}, err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), expires, nil
}

// exchangeKey asks for a token. A runner whose clock is wrong is told so by
// Google, whose answer also says what time it is: the second try uses that.
func (f *finder) exchangeKey(ctx context.Context, k *serviceAccountKey) (grant, error) {
	got, skew, err := f.exchangeAt(ctx, k, 0)
	if err != nil && skew.Abs() > time.Minute {
		got, _, err = f.exchangeAt(ctx, k, skew)
	}
	return got, err
}

// exchangeAt asks for a token with a clock that is corrected by ahead, and
// returns by how much Google's clock is ahead if that may be why it refused.
func (f *finder) exchangeAt(ctx context.Context, k *serviceAccountKey, ahead time.Duration) (grant, time.Duration, error) {
	act := "exchange the key of " + k.email + " for a token"
	assertion, _, err := k.sign(time.Now().Add(ahead), map[string]any{"aud": tokenURI, "scope": scopeCloud + " " + scopeEmail})
	if err != nil {
		return grant{}, 0, fmt.Errorf("%s: sign: %w", act, err)
	}
	f.Mask(assertion)
	r, err := f.post(ctx, act, tokenURI, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"assertion":  {assertion},
	})
	if err != nil {
		return grant{}, 0, err
	}
	if r.status != http.StatusOK {
		said := r.oauthError(assertion)
		var skew time.Duration
		if strings.Contains(said.text, "short-lived token") {
			skew = r.skew()
		}
		return grant{}, skew, refusedKey(act, k.email, said, skew)
	}
	got, err := r.grant(act)
	return got, 0, err
}
