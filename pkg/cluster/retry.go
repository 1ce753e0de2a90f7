package cluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/api/googleapi"
)

// Bounds of one request to Google's APIs, and of all its tries.
const (
	attemptLimit = 15 * time.Second
	retryBudget  = 30 * time.Second
	firstWait    = 200 * time.Millisecond
	longestWait  = 5 * time.Second
)

// retry tries a read until it succeeds, is refused, or the budget is used up.
func retry[T any](ctx context.Context, try func(context.Context) (T, error)) (T, error) {
	budget, stop := context.WithTimeout(ctx, retryBudget)
	defer stop()
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		attempt, done := context.WithTimeout(budget, attemptLimit)
		v, err := try(attempt)
		done()
		asked, transient := passing(err)
		if err == nil || !transient || ctx.Err() != nil {
			return v, err
		}
		pause := max(wait/2+rand.N(wait/2), asked)
		if end, _ := budget.Deadline(); time.Until(end) < pause {
			return v, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return v, err
		}
	}
}

// passing says whether an error may be gone at the next try, and how long the
// server wants that to be away.
func passing(err error) (pause time.Duration, transient bool) {
	var (
		api         *googleapi.Error
		token       *tokenError
		stranger    *strangerError
		certificate *tls.CertificateVerificationError
		syntax      *json.SyntaxError
		mismatch    *json.UnmarshalTypeError
	)
	switch {
	case err == nil:
		return 0, false
	case errors.As(err, &api):
		seconds, _ := strconv.Atoi(api.Header.Get("Retry-After"))
		return time.Duration(max(0, seconds)) * time.Second, api.Code == http.StatusTooManyRequests || api.Code >= 500
	case errors.As(err, &token), errors.As(err, &stranger), errors.As(err, &certificate), errors.As(err, &syntax), errors.As(err, &mismatch):
		return 0, false
	}
	return 0, true // a connection that was not made, or was lost
}
