package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/org/deploy-model-action/pkg/retry"
)

// CommitLimit is how long a registry may work on a PUT: some copy the layer
// within their storage before they answer.
const CommitLimit = 5 * time.Minute

// retryTransport sends a request again while the registry is overloaded, broken or
// out of reach. go-containerregistry can do so itself, but sleeps on when the
// context is done, knows no Retry-After, and counts tries, not time; so it is told
// not to (once), and this does it below the login, whose requests need it too.
//
// An answer is read to its end here, so that one that breaks off is asked for
// again. A PATCH is not: what becomes of it depends on how much the registry has got.
type retryTransport struct {
	base    http.RoundTripper
	budget  *retry.Budget
	silence time.Duration
}

// RoundTrip implements http.RoundTripper.
func (t *retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPatch {
		return t.base.RoundTrip(req)
	}
	if !replayable(req) {
		return t.once(req)
	}
	n := 0
	return retry.Do(req.Context(), retry.Policy{Budget: t.budget, First: 200 * time.Millisecond, May: May}, func(ctx context.Context) (*http.Response, error) {
		again := req.WithContext(ctx)
		if n++; n > 1 {
			var err error
			if again, err = replay(again); err != nil {
				return nil, err
			}
		}
		return t.once(again)
	})
}

// once sends the request once, reads the answer, and does not wait for a silent
// server for ever.
func (t *retryTransport) once(req *http.Request) (*http.Response, error) {
	limit := t.silence
	if req.Method == http.MethodPut {
		limit = CommitLimit
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	defer cancel(nil)
	silent := time.AfterFunc(limit, func() { cancel(&SilentError{limit}) })
	defer silent.Stop()
	wrong := func(err error) error {
		var silence *SilentError
		if errors.As(context.Cause(ctx), &silence) {
			return silence
		}
		return err
	}
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, wrong(err)
	}
	defer resp.Body.Close()
	if resp.ContentLength > maxAnswer && req.Method != http.MethodHead {
		return nil, tooLarge(req)
	}
	body, err := io.ReadAll(io.LimitReader(readerFunc(func(p []byte) (int, error) {
		n, err := resp.Body.Read(p)
		silent.Reset(t.silence)
		return n, err
	}), maxAnswer+1))
	switch {
	case err != nil:
		return nil, wrong(err)
	case len(body) > maxAnswer:
		return nil, tooLarge(req)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if retry.Status(resp.StatusCode) {
		return nil, &passingError{transport.CheckError(resp), retry.After(resp.Header)}
	}
	return resp, nil
}

// passingError is an answer that says that the registry is overloaded or broken.
type passingError struct {
	err   error
	after time.Duration
}

func (e *passingError) Error() string { return e.err.Error() }
func (e *passingError) Unwrap() error { return e.err }

// SilentError is a server that took a request, and then neither answered nor took more.
type SilentError struct{ After time.Duration }

func (e *SilentError) Error() string { return "no answer within " + e.After.String() }

// Timeout reports that it is one, as net.Error has it.
func (e *SilentError) Timeout() bool { return true }

// Temporary is the other half of net.Error.
func (e *SilentError) Temporary() bool { return true }

// May reports whether another try may do better, for pkg/retry. That there is no token may not:
// its source has tried.
func May(err error) retry.Verdict {
	var (
		passing *passingError
		token   *tokenError
	)
	switch {
	case errors.As(err, &passing):
		return retry.Verdict{Again: true, After: passing.after}
	case errors.As(err, &token):
		return retry.Verdict{}
	}
	return retry.Verdict{Again: retry.Network(err)}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func replayable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// replay is the same request for another try.
func replay(req *http.Request) (*http.Request, error) {
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		again.Body = body
	}
	return again, nil
}
