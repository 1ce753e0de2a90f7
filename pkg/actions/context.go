package actions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
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
// it is returned.
func (w *Workflow) IDToken(ctx context.Context, audience string) (string, error) {
	if w.getenv("ACTIONS_ID_TOKEN_REQUEST_URL") == "" || w.getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN") == "" {
		return "", ErrNoIDToken
	}
	var err error
	for try := range idTokenTries {
		if try > 0 {
			pause := time.Duration(1+rand.IntN(1000))*time.Millisecond + time.Duration(try)*500*time.Millisecond
			select {
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(pause):
			}
		}
		var token string
		if token, err = w.sdk.GetIDToken(ctx, audience); err == nil {
			w.Mask(token)
			return token, nil
		}
	}
	return "", fmt.Errorf("GitHub's OIDC token: %w", err)
}
