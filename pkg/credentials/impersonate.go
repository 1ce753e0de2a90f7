package credentials

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	iamcredentials "cloud.google.com/go/iam/credentials/apiv1"
	"cloud.google.com/go/iam/credentials/apiv1/credentialspb"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/option"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/org/deploy-model-action/pkg/google"
)

const (
	hostIAM = "iamcredentials.googleapis.com"
	// impersonatedLifetime is the most that is given out without an organisation's exception.
	impersonatedLifetime = time.Hour
)

// impersonate turns the tokens of one identity into those of an account. The
// identity's own are not kept: they are needed once for each of the account's.
func (f *finder) impersonate(from *identity, account string, delegates []string) *identity {
	return &identity{
		kind: from.kind + ", impersonating a service account", principal: account, project: projectOf(account), file: from.file,
		fetch: func(ctx context.Context) (grant, error) {
			own, err := from.fetch(ctx)
			if err != nil {
				return grant{}, err
			}
			f.Mask(own.token)
			return f.generate(ctx, from, own.token, account, delegates)
		},
	}
}

// generate asks for an access token of the account.
func (f *finder) generate(ctx context.Context, from *identity, token, account string, delegates []string) (grant, error) {
	act := "impersonate " + account
	transport := &tokenTransport{base: f.google.Transport, token: token}
	client, err := iamcredentials.NewIamCredentialsRESTClient(ctx,
		option.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: f.google.CheckRedirect}),
		option.WithEndpoint("https://"+hostIAM),
		option.WithUniverseDomain(googleUniverse),
		// With GOOGLE_SDK_GO_LOGGING_LEVEL=debug the client would log the token that it gets.
		option.WithLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		return grant{}, err
	}
	defer client.Close()
	request := &credentialspb.GenerateAccessTokenRequest{
		Name:     accountName(account),
		Scope:    []string{scopeCloud, scopeEmail},
		Lifetime: durationpb.New(impersonatedLifetime),
	}
	for _, d := range delegates {
		request.Delegates = append(request.Delegates, accountName(d))
	}
	return try(ctx, act, f.limit, func(ctx context.Context) (grant, error) {
		// The client's own retries know two of the codes and no lost connection.
		sent := time.Now()
		answer, err := client.GenerateAccessToken(ctx, request, gax.WithRetry(nil))
		if err != nil {
			return grant{}, f.refusedGenerate(act, from, append(slices.Clone(delegates), account), token, err)
		}
		if !isToken(answer.GetAccessToken()) {
			return grant{}, noToken(act)
		}
		// The end is given by Google's clock; so is the answer's date.
		lifetime := answer.GetExpireTime().AsTime().Sub(transport.date)
		if transport.date.IsZero() {
			lifetime = time.Until(answer.GetExpireTime().AsTime())
		}
		return grant{token: answer.GetAccessToken(), lifetime: min(max(lifetime, time.Second), impersonatedLifetime), sent: sent}, nil
	})
}

func accountName(email string) string { return "projects/-/serviceAccounts/" + email }

// tokenTransport adds the token and notes the date of the last answer.
type tokenTransport struct {
	base  http.RoundTripper
	token string
	date  time.Time
}

// RoundTrip implements http.RoundTripper.
func (t *tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+t.token)
	t.date = time.Time{}
	resp, err := t.base.RoundTrip(req)
	if err == nil {
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			t.date = date
		}
	}
	return resp, err
}

// refusedGenerate sorts the client's errors: tried again, or explained.
func (f *finder) refusedGenerate(act string, from *identity, chain []string, token string, err error) error {
	if errors.Is(err, proto.Error) {
		return noToken(act)
	}
	e := google.Decode(err)
	if e == nil {
		return unreachable(act, hostIAM, err)
	}
	e.Message = phrase(e.Message, token)
	verdict := google.May(err)
	switch {
	case e.Code >= 300 && e.Code < 400:
		return redirected(act, hostIAM, e.Code)
	case verdict.Again:
		return &failure{act: act, host: hostIAM, status: e.Code, words: e.Message, after: verdict.After, err: err}
	}
	return explainGenerate(act, from, chain, e)
}
