package grant

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cloud.google.com/go/iam/apiv1/iampb"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/org/deploy-model-action/pkg/credentials"
	"github.com/org/deploy-model-action/pkg/google"
	"github.com/org/deploy-model-action/pkg/retry"
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

// requestError is a request that Google refused, or did not answer.
type requestError struct {
	act string
	err error
}

func (e *requestError) Error() string { return e.act + ": " + e.err.Error() }
func (e *requestError) Unwrap() error { return e.err }

func (c *client) call(ctx context.Context, act, method string, body []byte) (*iampb.Policy, error) {
	token, err := c.tokens.Token()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/v3/projects/"+url.PathEscape(c.project)+":"+method, bytes.NewReader(body))
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
		return nil, &requestError{act, err}
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
	if err != nil {
		return nil, &requestError{act, err}
	}
	resp.Body = io.NopCloser(bytes.NewReader(content))
	if err := googleapi.CheckResponse(resp); err != nil {
		return nil, &requestError{act, err}
	}
	policy := &iampb.Policy{}
	// A field that is not understood here must not be lost by writing the rest back.
	if err := protojson.Unmarshal(content, policy); err != nil {
		return nil, fmt.Errorf("%s: the answer is not a policy as this version knows it: use `gcloud projects add-iam-policy-binding` instead", act)
	}
	return policy, nil
}

// may reports whether an error may pass: a conflict too, after which the policy
// is read again.
func may(err error) retry.Verdict {
	var request *requestError
	if !errors.As(err, &request) {
		return retry.Verdict{}
	}
	verdict := google.May(request.err)
	if e := google.Decode(request.err); e != nil && e.Code == http.StatusConflict {
		verdict.Again = true
	}
	return verdict
}

// explain says what an error means, and what was done about it.
func (c *client) explain(err error) error {
	var (
		request *requestError
		ended   *retry.EndedError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ended):
		return fmt.Errorf("change the policy: %w: run it again; it adds only what is missing", ended)
	case !errors.As(err, &request):
		return err
	}
	act, effort := request.act, retry.Effort(err)
	e := google.Decode(err)
	if e == nil {
		cause := request.err
		var wrapped *url.Error
		if errors.As(cause, &wrapped) {
			cause = wrapped.Err
		}
		return fmt.Errorf("%s: reach %s: %w%s: let this machine reach it, directly or through HTTPS_PROXY", act, host, cause, effort)
	}
	words := e.Words()
	switch {
	case e.Code == http.StatusConflict:
		return fmt.Errorf("%s: others changed it in between each time%s (%s): run it again; it adds only what is missing", act, effort, words)
	case may(err).Again:
		return fmt.Errorf("%s: Google answers with status %d%s (%s): run it again later; it adds only what is missing", act, e.Code, effort, words)
	case e.Code >= 300 && e.Code < 400:
		return fmt.Errorf("%s: %s answered with a redirect (status %d), which is not followed with a token in hand: let this machine reach it itself", act, host, e.Code)
	case e.Reason == "SERVICE_DISABLED":
		return fmt.Errorf("%s: the API is not enabled where your requests count (%s): run `gcloud services enable %s --project=%s` and `gcloud auth application-default set-quota-project %s`", act, words, host, c.project, c.project)
	}
	if known := e.Refused(act, host, c.project); known != nil {
		return known
	}
	switch {
	case e.Code == http.StatusUnauthorized:
		return fmt.Errorf("%s: Google does not take the token of %s (%s): log in again, e.g. with `gcloud auth login`", act, c.principal, words)
	case e.Code == http.StatusForbidden:
		return fmt.Errorf("%s: %s may not do that, or the project does not exist (%s): let somebody run this who has %s on the project", act, c.principal, words, role)
	case strings.Contains(words, "does not exist"):
		return fmt.Errorf("%s: %s: look at --service-account, and at the accounts that there are: `gcloud iam service-accounts list --project=%s`", act, words, c.project)
	case strings.Contains(words, "is not supported for this resource"):
		return fmt.Errorf("%s: %s: look at --role, and at the roles that there are: `gcloud iam list-grantable-roles //%s/projects/%s`", act, words, host, c.project)
	}
	return fmt.Errorf("%s: Google refuses (status %d): %s", act, e.Code, words)
}
