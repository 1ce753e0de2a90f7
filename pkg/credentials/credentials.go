// Package credentials finds the Google credentials of a workflow's step and
// makes an oauth2.TokenSource of them: a service account key, workload identity
// federation, what google-github-actions/auth left, impersonation, or the
// metadata server of a runner inside Google Cloud.
//
// Credentials are foreign text. They are validated before anything is contacted,
// nothing in them chooses where a request goes, and no error repeats what they
// hold. Every token is masked before it is used or returned, and refreshed
// before it ends. What the tokens are good for is left to those who send them.
package credentials

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/org/deploy-model-action/pkg/retry"
)

// Scopes of the tokens. GKE's RBAC knows a service account by its e-mail
// address, which a token shows only with the second scope.
const (
	scopeCloud = "https://www.googleapis.com/auth/cloud-platform"
	scopeEmail = "https://www.googleapis.com/auth/userinfo.email"
)

// Options say where to look. The zero value finds only the metadata server.
type Options struct {
	// JSON is a service account key, or a federation file as
	// google-github-actions/auth writes it. Default, none.
	JSON string
	// WorkloadIdentityProvider is projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER.
	WorkloadIdentityProvider string
	// ServiceAccount is impersonated with whatever else is found. Default, none.
	ServiceAccount string
	// Delegates are the accounts between the one found and ServiceAccount, each
	// of which may make tokens of the next. Default, none.
	Delegates []string
	// People lets the login of a person count too: GOOGLE_OAUTH_ACCESS_TOKEN, or
	// what `gcloud auth application-default login` left. Default, it is refused:
	// a workflow does not act as a person.
	People bool
	// Getenv reads the environment; nil reads none.
	Getenv func(string) string
	// Workspace is the folder that credentials files usually lie in; symbolic
	// links do not lead out of it. nil: every file is looked up in Files.
	Workspace *os.Root
	// Files holds everything outside Workspace, by absolute path without the
	// leading slash; nil: the machine's files.
	Files fs.FS
	// Transport sends every request; nil: http.DefaultTransport, which honours HTTPS_PROXY.
	Transport http.RoundTripper
	// Mask hides a secret from the log, and is called before the secret is used.
	// nil: nothing is masked.
	Mask func(secret string)
	// IDToken asks GitHub for an OpenID Connect token; nil: federation is refused.
	IDToken func(ctx context.Context, audience string) (string, error)
}

// Credentials are an identity and the source of its tokens.
type Credentials struct {
	// Tokens is safe for concurrent use and asks for a new token before the old
	// one ends. A caller to whom a token was refused may give it to Forget, if
	// it finds that method.
	Tokens oauth2.TokenSource
	// GKE is as Tokens, for requests to the GKE API alone. A service account key
	// signs those itself, and so nobody waits for the token service.
	GKE oauth2.TokenSource
	// Kind is what the tokens are made of, e.g. "service account key".
	Kind string
	// Principal is the identity: the e-mail address of a service account, or
	// principal://… or principalSet://… for a federated one; "" if it is a person
	// whose login does not say who it is.
	Principal string
	// Personal says that it is the login of a person, whose requests Google counts
	// for QuotaProject; that is "" if the login names none.
	Personal     bool
	QuotaProject string
	// ProjectID is the project that the identity belongs to; "" if unknown.
	ProjectID string
	// File is the credentials file that was read, as the environment names it; "" if none.
	File string
}

// identity is what one way in leads to, before its tokens are cached.
type identity struct {
	kind, principal, project, file string
	quota                          string // project that the requests of a person count for
	federated                      bool   // a principal of a workload identity pool, not a service account
	personal                       bool
	key                            *serviceAccountKey // that signs for the identity itself; nil if none does
	fetch                          func(context.Context) (grant, error)
}

// finder looks for credentials, with the options' defaults filled in.
type finder struct {
	Options
	google *http.Client  // for Google's token services only
	limit  time.Duration // that a request may be in trouble
}

// Find looks for credentials in this order: Options.JSON, the workload identity
// provider, the file that GOOGLE_GHA_CREDS_PATH or GOOGLE_APPLICATION_CREDENTIALS
// names, the metadata server. ServiceAccount is impersonated with what was found.
//
// Nothing is contacted but the metadata server, and that only inside Google
// Cloud; the first call of Token contacts Google. The context bounds the life
// of the token source too. Mistakes are *InvalidError, all of them joined;
// a refusal by Token is a *RefusedError.
func Find(ctx context.Context, o Options) (*Credentials, error) {
	f := newFinder(o)
	found, err := f.base(ctx)
	if err := errors.Join(err, f.checkAccounts()); err != nil {
		return nil, err
	}
	if f.ServiceAccount != "" && f.ServiceAccount != found.principal {
		found = f.impersonate(found, f.ServiceAccount, f.Delegates)
	}
	tokens := oauth2.TokenSource(f.source(ctx, found.fetch))
	gke := tokens
	if found.key != nil {
		gke = &selfSigned{key: found.key, mask: f.Mask, other: tokens}
	}
	return &Credentials{
		Tokens: tokens, GKE: gke,
		Kind: found.kind, Principal: found.principal, ProjectID: found.project, File: found.file,
		Personal: found.personal, QuotaProject: found.quota,
	}, nil
}

func newFinder(o Options) *finder {
	o.JSON = strings.TrimSpace(o.JSON)
	o.WorkloadIdentityProvider = strings.TrimSpace(o.WorkloadIdentityProvider)
	o.ServiceAccount = strings.TrimSpace(o.ServiceAccount)
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Files == nil {
		o.Files = os.DirFS("/")
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.Mask == nil {
		o.Mask = func(string) {}
	}
	return &finder{Options: o, limit: retry.DefaultBudget, google: newClient(o.Transport, "https", hostOAuth, hostSTS, hostIAM)}
}

// base finds the identity that was given or is there.
func (f *finder) base(ctx context.Context) (*identity, error) {
	switch {
	case f.JSON != "" && f.WorkloadIdentityProvider != "":
		return nil, invalid("credentials_json and workload_identity_provider", "both are set, and each is an identity of its own: keep one")
	case f.JSON != "":
		return f.parse("credentials_json", []byte(f.JSON))
	case f.WorkloadIdentityProvider != "":
		return f.direct()
	}
	if f.People {
		if found, err := f.personal(); found != nil || err != nil {
			return found, err
		}
	}
	for _, name := range []string{"GOOGLE_GHA_CREDS_PATH", "GOOGLE_APPLICATION_CREDENTIALS"} {
		if path := f.Getenv(name); path != "" {
			return f.file(name, path)
		}
	}
	if found := f.metadata(ctx); found != nil {
		return found, nil
	}
	return nil, f.nothing()
}

// checkAccounts validates the accounts to impersonate, which need no network.
func (f *finder) checkAccounts() error {
	var errs []error
	const form = "is not the e-mail address of a service account: write NAME@PROJECT.iam.gserviceaccount.com"
	if f.ServiceAccount != "" && !isServiceAccount(f.ServiceAccount) {
		errs = append(errs, invalid("service_account "+quote(f.ServiceAccount), form))
	}
	for _, d := range f.Delegates {
		if !isServiceAccount(d) {
			errs = append(errs, invalid("delegate "+quote(d), form))
		}
	}
	if len(f.Delegates) > 0 && f.ServiceAccount == "" {
		errs = append(errs, invalid("delegates", "lead to a service account, and none is named: set service_account"))
	}
	return errors.Join(errs...)
}

// nothing names every way in.
func (f *finder) nothing() error {
	if f.People {
		return invalid("Google credentials", "none were found: set GOOGLE_OAUTH_ACCESS_TOKEN to what `gcloud auth print-access-token` prints, "+
			"or run `gcloud auth application-default login` and mount ~/.config/gcloud at /root/.config/gcloud")
	}
	return invalid("Google credentials", "none were found: set credentials_json to a service account key, "+
		"or set workload_identity_provider and give the job `permissions: id-token: write`, "+
		"or run google-github-actions/auth before this step, "+
		"or use a runner inside Google Cloud that has a service account"+f.fork())
}

// fork says why there may be nothing in a run for a pull request.
func (f *finder) fork() string {
	event := f.Getenv("GITHUB_EVENT_NAME")
	if event != "pull_request" && event != "pull_request_review" {
		return ""
	}
	return "; this run is for the event " + event + ": if the branch is in a fork, GitHub gives it neither secrets nor identity tokens, so deploy after the merge"
}
