package grant

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/iam/apiv1/iampb"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/org/deploy-model-action/pkg/credentials"
)

const (
	host = "cloudresourcemanager.googleapis.com"
	// maxReply bounds an answer: a policy has 1,500 members at most.
	maxReply     = 4 << 20
	attemptLimit = 20 * time.Second
	role         = "roles/resourcemanager.projectIamAdmin"
)

// client speaks to Resource Manager about one project.
type client struct {
	project, quota string
	tokens         oauth2.TokenSource
	principal      string
	http           *http.Client
}

func newClient(found *credentials.Credentials, project string, transport http.RoundTripper) *client {
	if transport == nil {
		transport = http.DefaultTransport
	}
	c := &client{
		project: project, tokens: found.Tokens, principal: found.Principal, quota: found.QuotaProject,
		// A redirect would take the token elsewhere.
		http: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if c.principal == "" {
		c.principal = "your login (" + found.Kind + ")"
	}
	return c
}

// get reads the policy with its conditions.
func (c *client) get(ctx context.Context) (*iampb.Policy, error) {
	return c.call(ctx, "read the policy of project "+c.project, "getIamPolicy", []byte(fmt.Sprintf(`{"options":{"requestedPolicyVersion":%d}}`, policyVersion)))
}

// set writes the policy; what the mask does not name stays as it is.
func (c *client) set(ctx context.Context, p *iampb.Policy) (*iampb.Policy, error) {
	policy, err := protojson.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("change the policy: %w", err)
	}
	body, err := json.Marshal(map[string]any{"policy": json.RawMessage(policy), "updateMask": "bindings,etag,version"})
	if err != nil {
		return nil, fmt.Errorf("change the policy: %w", err)
	}
	return c.call(ctx, "change the policy of project "+c.project, "setIamPolicy", body)
}

// transientError is worth another try: somebody else wrote in between, or the
// answer was lost.
type transientError struct {
	err   error
	pause time.Duration
}

func (e *transientError) Error() string { return e.err.Error() }
func (e *transientError) Unwrap() error { return e.err }

func (c *client) call(ctx context.Context, act, method string, body []byte) (*iampb.Policy, error) {
	token, err := c.tokens.Token()
	if err != nil {
		return nil, err
	}
	attempt, done := context.WithTimeout(ctx, attemptLimit)
	defer done()
	req, err := http.NewRequestWithContext(attempt, http.MethodPost, "https://"+host+"/v3/projects/"+url.PathEscape(c.project)+":"+method, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", act, err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "deploy-model-action")
	if c.quota != "" {
		req.Header.Set("X-Goog-User-Project", c.quota)
	}
	token.SetAuthHeader(req)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(act, err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, unreachable(act, err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(content))
	if err := googleapi.CheckResponse(resp); err != nil {
		return nil, c.refused(act, err, resp)
	}
	policy := &iampb.Policy{}
	// A field that is not understood here must not be lost by writing the rest back.
	if err := protojson.Unmarshal(content, policy); err != nil {
		return nil, fmt.Errorf("%s: the answer is not a policy as this version knows it: use `gcloud projects add-iam-policy-binding` instead", act)
	}
	return policy, nil
}

func unreachable(act string, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	err = fmt.Errorf("%s: reach %s: %w: let this machine reach it, directly or through HTTPS_PROXY", act, host, err)
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return err
	}
	return &transientError{err: err}
}

// refused explains Google's "no".
func (c *client) refused(act string, err error, resp *http.Response) error {
	var api *googleapi.Error
	if !errors.As(err, &api) {
		return fmt.Errorf("%s: %w", act, err)
	}
	said := phrase(api.Message)
	seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	pause := time.Duration(max(0, seconds)) * time.Second
	switch {
	case api.Code == http.StatusConflict:
		return &transientError{err: fmt.Errorf("%s: others change it all the time (%s)", act, said), pause: pause}
	case api.Code == http.StatusTooManyRequests || api.Code >= 500:
		return &transientError{err: fmt.Errorf("%s: Google answers with status %d again and again (%s)", act, api.Code, said), pause: pause}
	case api.Code >= 300 && api.Code < 400:
		return fmt.Errorf("%s: %s answered with a redirect (status %d), which is not followed with a token in hand: let this machine reach it itself", act, host, api.Code)
	case api.Code == http.StatusUnauthorized:
		return fmt.Errorf("%s: Google does not take the token of %s (%s): log in again, e.g. with `gcloud auth login`", act, c.principal, said)
	case api.Code == http.StatusForbidden && (strings.Contains(api.Message, "has not been used in project") || strings.Contains(api.Message, "requires a quota project")):
		return fmt.Errorf("%s: the API is not enabled where your requests count (%s): run `gcloud services enable %s --project=%s` and `gcloud auth application-default set-quota-project %s`", act, said, host, c.project, c.project)
	case api.Code == http.StatusForbidden:
		return fmt.Errorf("%s: %s may not do that, or the project does not exist (%s): let somebody run this who has %s on the project", act, c.principal, said, role)
	case strings.Contains(api.Message, "does not exist"):
		return fmt.Errorf("%s: %s: look at --service-account, and at the accounts that there are: `gcloud iam service-accounts list --project=%s`", act, said, c.project)
	case strings.Contains(api.Message, "is not supported for this resource"):
		return fmt.Errorf("%s: %s: look at --role, and at the roles that there are: `gcloud iam list-grantable-roles //%s/projects/%s`", act, said, host, c.project)
	}
	return fmt.Errorf("%s: Google refuses (status %d): %s", act, api.Code, said)
}

// phrase makes foreign words fit for one line.
func phrase(words string) string {
	words = strings.Join(strings.Fields(words), " ")
	if runes := []rune(words); len(runes) > 300 {
		words = string(runes[:300]) + "…"
	}
	return strings.TrimRight(words, ".")
}
