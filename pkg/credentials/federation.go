package credentials

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

const (
	hostSTS = "sts.googleapis.com"
	stsURL  = "https://sts.googleapis.com/v1/token"

	typeJWT     = "urn:ietf:params:oauth:token-type:jwt"
	typeIDToken = "urn:ietf:params:oauth:token-type:id_token"
)

var (
	providerForm = regexp.MustCompile(`^projects/([0-9]{4,20})/locations/global/workloadIdentityPools/([a-z0-9-]{4,32})/providers/([a-z0-9-]{4,32})$`)
	// providerByID is the common mistake: Google wants the number.
	providerByID = regexp.MustCompile(`^projects/([a-z][a-z0-9-]{4,28}[a-z0-9])/locations/global/workloadIdentityPools/[^/]+/providers/[^/]+$`)
)

// provider is one that trusts GitHub's identity tokens.
type provider struct{ number, pool, id string }

func (p provider) String() string {
	return fmt.Sprintf("projects/%s/locations/global/workloadIdentityPools/%s/providers/%s", p.number, p.pool, p.id)
}

// principal is who the members of the pool are, as far as it is known without
// asking: the workflows of this repository.
func (p provider) principal(repository string) string {
	pool := fmt.Sprintf("//iam.googleapis.com/projects/%s/locations/global/workloadIdentityPools/%s", p.number, p.pool)
	if repository == "" {
		return "principal:" + pool + "/subject/SUBJECT"
	}
	return "principalSet:" + pool + "/attribute.repository/" + repository
}

// parseProvider reads the name of a provider, with or without the service before it.
func parseProvider(value string) (provider, string) {
	name := strings.TrimPrefix(strings.TrimPrefix(value, "https:"), "//iam.googleapis.com/")
	if m := providerForm.FindStringSubmatch(name); m != nil {
		return provider{m[1], m[2], m[3]}, ""
	}
	if m := providerByID.FindStringSubmatch(name); m != nil {
		return provider{}, "names the project by its ID, and Google wants the number: gcloud projects describe " + m[1] + " --format='value(projectNumber)'"
	}
	return provider{}, "is not the name of a provider: write projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"
}

// direct is the way in without a key and without an earlier step.
func (f *finder) direct() (*identity, error) {
	input := "workload_identity_provider " + quote(f.WorkloadIdentityProvider)
	p, problem := parseProvider(f.WorkloadIdentityProvider)
	if problem == "" {
		problem = f.identityTokens()
	}
	if problem != "" {
		return nil, invalid(input, problem)
	}
	return f.federated(p, typeJWT, "https://iam.googleapis.com/"+p.String()), nil
}

// identityTokens says why GitHub would give out no identity token; "" if it would.
func (f *finder) identityTokens() string {
	if f.IDToken != nil && f.Getenv("ACTIONS_ID_TOKEN_REQUEST_URL") != "" {
		return ""
	}
	return "needs an identity token from GitHub, and this job may not ask for one: give the job `permissions: id-token: write`" + f.fork()
}

// federated exchanges GitHub's identity token for Google's.
func (f *finder) federated(p provider, tokenType, audience string) *identity {
	return &identity{
		kind: "workload identity federation", principal: p.principal(f.Getenv("GITHUB_REPOSITORY")), federated: true,
		fetch: func(ctx context.Context) (grant, error) { return f.exchangeIdentity(ctx, p, tokenType, audience) },
	}
}

func (f *finder) exchangeIdentity(ctx context.Context, p provider, tokenType, audience string) (grant, error) {
	act := "exchange GitHub's identity token at provider " + p.id + " of pool " + p.pool
	subject, err := f.IDToken(ctx, audience)
	if err != nil {
		return grant{}, &RefusedError{
			Act: "ask GitHub for an identity token", Cause: phrase(err.Error()), Err: err,
			Fix: "give the job `permissions: id-token: write`, and run the job again if GitHub is at fault",
		}
	}
	f.Mask(subject)
	r, err := f.post(ctx, act, stsURL, url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
		"audience":             {"//iam.googleapis.com/" + p.String()},
		"scope":                {scopeCloud},
		"subject_token_type":   {tokenType},
		"subject_token":        {subject},
	})
	if err != nil {
		return grant{}, err
	}
	if r.status != http.StatusOK {
		return grant{}, refusedExchange(act, p, r.oauthError(subject))
	}
	return r.grant(act)
}
