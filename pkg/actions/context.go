package actions

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/sethvargo/go-githubactions"
)

// Run is what the runner says of the run that this step is part of.
type Run struct {
	Repository string // owner/name
	SHA        string
	Ref        string
	RunID      string
	RunNumber  string
	RunAttempt string
	ServerURL  string
	Workflow   string
	Job        string
	Actor      string
	EventName  string
	Workspace  string // "." when run by hand
}

// Run returns the run. Fields are empty when the image is run by hand.
func (w *Workflow) Run() Run {
	return Run{
		Repository: w.getenv("GITHUB_REPOSITORY"),
		SHA:        w.getenv("GITHUB_SHA"),
		Ref:        w.getenv("GITHUB_REF"),
		RunID:      w.getenv("GITHUB_RUN_ID"),
		RunNumber:  w.getenv("GITHUB_RUN_NUMBER"),
		RunAttempt: w.getenv("GITHUB_RUN_ATTEMPT"),
		ServerURL:  w.getenv("GITHUB_SERVER_URL"),
		Workflow:   w.getenv("GITHUB_WORKFLOW"),
		Job:        w.getenv("GITHUB_JOB"),
		Actor:      w.getenv("GITHUB_ACTOR"),
		EventName:  w.getenv("GITHUB_EVENT_NAME"),
		Workspace:  cmp.Or(w.getenv("GITHUB_WORKSPACE"), "."),
	}
}

// ErrNoIDToken says that the job may not ask GitHub for an OIDC token.
var ErrNoIDToken = errors.New("the job has no permission to ask for an OIDC token; add `permissions: {id-token: write}` to it (a pull request from a fork cannot have it)")

// idTokenTries bounds how often GitHub's token service is asked; it answers 5xx
// at times, and a deploy should not fail for it.
const idTokenTries = 4

// IDToken asks GitHub for an OIDC token for the audience. It is masked before
// it is returned. A refusal is final; only what can pass is asked again.
func (w *Workflow) IDToken(ctx context.Context, audience string) (string, error) {
	if w.getenv("ACTIONS_ID_TOKEN_REQUEST_URL") == "" || w.getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN") == "" {
		return "", ErrNoIDToken
	}
	for try := 1; ; try++ {
		token, err := w.sdk.GetIDToken(ctx, audience)
		if err == nil && token == "" {
			err = errors.New("its answer holds no token")
		}
		if err == nil {
			w.Mask(token)
			return token, nil
		}
		if try == idTokenTries || refused(err) || ctx.Err() != nil {
			return "", fmt.Errorf("GitHub's OIDC token service: %w", idTokenError(err))
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("GitHub's OIDC token service: %w", ctx.Err())
		case <-time.After(time.Duration(try)*500*time.Millisecond + rand.N(time.Second)):
		}
	}
}

// refused tells whether asking again is of no use.
func refused(err error) bool {
	var answer *githubactions.RequestFailedError
	return errors.As(err, &answer) && answer.StatusCode < http.StatusInternalServerError &&
		answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode != http.StatusRequestTimeout
}

// idTokenError keeps to the cause: the SDK's words hold the request's URL, and
// as much of the answer as there is.
func idTokenError(err error) error {
	var answer *githubactions.RequestFailedError
	if errors.As(err, &answer) {
		said := answer.Body
		var body struct {
			Message string `json:"message"`
		}
		if json.Unmarshal([]byte(answer.Body), &body) == nil && body.Message != "" {
			said = body.Message
		}
		return fmt.Errorf("status %d %q", answer.StatusCode, shorten(oneLine(said), 200))
	}
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}
