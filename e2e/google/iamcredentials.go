package google

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

const iamCredentials = "iam.googleapis.com" // the domain in the errors of iamcredentials.googleapis.com

// IAMCredentials answers for iamcredentials.googleapis.com: access tokens of
// accounts that the caller may impersonate, through delegates if there are any.
func (c *Cloud) IAMCredentials() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/projects/-/serviceAccounts/{call}", func(w http.ResponseWriter, r *http.Request) {
		account, call, _ := strings.Cut(r.PathValue("call"), ":")
		if call != "generateAccessToken" {
			notFound(w, r)
			return
		}
		c.generateAccessToken(w, r, account)
	})
	mux.HandleFunc("/", notFound)
	return c.authenticated(mux, "")
}

func (c *Cloud) generateAccessToken(w http.ResponseWriter, r *http.Request, account string) {
	var ask struct {
		Delegates []string `json:"delegates"`
		Scope     []string `json:"scope"`
		Lifetime  string   `json:"lifetime"`
	}
	if !readJSON(w, r, &ask) {
		return
	}
	invalid := func(format string, args ...any) {
		apiError(w, http.StatusBadRequest, "INVALID_ARGUMENT", fmt.Sprintf(format, args...))
	}
	lifetime, err := time.ParseDuration(ask.Lifetime)
	switch {
	case ask.Lifetime == "":
		lifetime = time.Hour
	case err != nil:
		invalid("Invalid value at 'lifetime' (type.googleapis.com/google.protobuf.Duration), Field 'lifetime', Illegal duration format; duration must end with 's'")
		return
	}
	switch {
	case lifetime <= 0:
		invalid("Lifetime of access token must be larger then zero.")
		return
	case lifetime > time.Hour:
		invalid("Access tokens can not have lifetimes of more than 1 hour. Use the Org Policy Constraint constraints/iam.allowServiceAccountCredentialLifetimeExtension to allow up to 12 hours.")
		return
	case len(ask.Scope) == 0:
		invalid("Request contains an invalid argument.")
		return
	}
	// Each of the chain must be allowed by the one before it.
	caller := c.caller(r)
	for _, delegate := range ask.Delegates {
		next := strings.TrimPrefix(delegate, "projects/-/serviceAccounts/")
		if !c.mayImpersonate(w, caller, next, permissionDelegate) {
			return
		}
		caller = next
	}
	if !c.mayImpersonate(w, caller, account, permissionGetToken) {
		return
	}
	token, lives := c.issue(account, lifetime)
	writeJSON(w, http.StatusOK, map[string]any{"accessToken": token, "expireTime": time.Now().Add(lives).UTC().Format(time.RFC3339)})
}

func (c *Cloud) mayImpersonate(w http.ResponseWriter, caller, account, permission string) bool {
	c.mu.Lock()
	known := c.identities[account]
	missing, disabled := known == nil || known.keys == nil, known != nil && known.disabled
	c.mu.Unlock()
	switch {
	case missing:
		apiError(w, http.StatusNotFound, "NOT_FOUND", "Not found; Gaia id not found for email "+account)
	case !c.hasPermissionOn(account, caller, permission):
		denied(w, iamCredentials, permission, "")
	case disabled:
		apiError(w, http.StatusBadRequest, "FAILED_PRECONDITION", "Service account is disabled.")
	default:
		return true
	}
	return false
}
