package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/registry"
	"github.com/org/deploy-model-action/pkg/retry"
)

// outcome is what became of a blob.
type outcome int

const (
	alreadyThere outcome = iota
	mounted
	uploaded
	underWay
)

func (o outcome) String() string {
	return [...]string{"there already", "mounted", "uploaded", "under way"}[o]
}

const (
	// steady is how long bytes flow before a lost connection is bad luck, and no
	// sign of a registry in trouble.
	steady = 5 * time.Second
	// maxSteady bounds how often that happens while nothing is confirmed.
	maxSteady = 50
)

// upload sends one blob. go-containerregistry can do so too, but begins anew
// after each lost connection and gives up after three; a layer of a model can be
// larger than what a connection lives through.
type upload struct {
	repo   *registry.Repository
	limits registry.Limits
	blob   blob
	from   string // a repository that may have it
	sent   *atomic.Int64
	log    func(format string, args ...any)

	resume   bool   // the registry may say how much it has
	resumed  bool   // and has done so in this upload
	location string // where the rest goes; "" before the upload is begun
	offset   int64  // how much is there
	begun    int64  // how much was there when the last try began
	left     int64  // bytes that the last try sent
	unlucky  int    // tries with steady bytes, since more was confirmed
	lost     error  // why the last try failed
}

// run sends the blob until it is there.
func (u *upload) run(ctx context.Context) (outcome, error) {
	if there, err := exists(ctx, u.repo, u.blob.digest); err != nil || there {
		return alreadyThere, err
	}
	// Artifact Registry takes a layer in one piece only, by its documentation.
	u.resume = !u.repo.IsGoogle()
	return retry.Do(ctx, retry.Policy{Limit: u.limits.RetryFor, First: 100 * time.Millisecond, Longest: 5 * time.Second, May: u.may}, u.again)
}

// again makes the next try: it finds out what is there, and sends the rest.
func (u *upload) again(ctx context.Context) (outcome, error) {
	if u.lost != nil {
		if there, err := u.recover(ctx); err != nil || there {
			return uploaded, err
		}
	}
	done, err := u.try(ctx)
	if status := registry.Status(err); status == http.StatusNotFound || status == http.StatusRequestedRangeNotSatisfiable {
		u.resume = false // what the registry says it has, it has not
	}
	u.lost = err
	return done, err
}

// recover finds out what is there after a try that failed; done says that it is
// everything.
func (u *upload) recover(ctx context.Context) (done bool, err error) {
	if err := u.ask(ctx); err != nil {
		return false, err
	}
	if u.offset > u.begun {
		u.unlucky = 0
		retry.Progress(ctx)
	}
	if u.location == "" {
		// It may have arrived, and only the answer been lost.
		if there, err := exists(ctx, u.repo, u.blob.digest); err != nil || there {
			return there, err
		}
	}
	how := "begin again"
	if u.offset > 0 {
		how = "go on after " + size(u.offset)
	}
	u.log("%s: %v; %s", u.blob.name(), briefly(u.lost), how)
	return false, nil
}

// try begins an upload or goes on with it.
func (u *upload) try(ctx context.Context) (outcome, error) {
	if u.location == "" {
		location, taken, err := start(ctx, u.repo, u.blob.digest, u.from)
		if err != nil || taken {
			return mounted, err
		}
		u.location, u.offset, u.resumed = location, 0, false
	}
	u.begun, u.left = u.offset, 0
	next := u.location
	if u.offset == 0 || u.offset < u.blob.size { // else all is there, and only the answer was lost
		var err error
		if next, err = u.patch(ctx); err != nil {
			return 0, err
		}
	}
	err := u.commit(ctx, next)
	if answered(err) {
		// The answer to an earlier try may be lost, and of an upload that is over
		// registries say all kinds of things.
		if there, asked := exists(ctx, u.repo, u.blob.digest); asked == nil && there {
			return uploaded, nil
		}
	}
	if err != nil && u.resumed && !retry.Status(registry.Status(err)) {
		// What the registry said it had was wrong.
		u.resume = false
		return 0, &brokenUpload{err}
	}
	return uploaded, err
}

// brokenUpload is an upload that has to be begun again.
type brokenUpload struct{ error }

func (e *brokenUpload) Unwrap() error { return e.error }

// may reports whether an error is no reason to give up.
func (u *upload) may(err error) retry.Verdict {
	var broken *brokenUpload
	var again bool
	switch status := registry.Status(err); {
	case errors.As(err, &broken):
		again = true
	case status == 0:
		again = registry.Unanswered(err) && registry.May(err).Again
	case status == http.StatusNotFound, status == http.StatusRequestedRangeNotSatisfiable:
		again = u.location != "" // the registry has forgotten the upload
	case status == http.StatusTooManyRequests:
		again = !quota(err)
	default:
		again = retry.Status(status)
	}
	verdict := retry.Verdict{Again: again && u.unlucky < maxSteady}
	if registry.Status(err) == 0 && u.left > 0 {
		verdict.Longest = 500 * time.Millisecond // the registry is there, only the connection is not
	}
	return verdict
}

// ask asks how much of the upload arrived, or forgets it.
func (u *upload) ask(ctx context.Context) error {
	location := u.location
	u.location, u.offset = "", 0
	if location == "" || !u.resume {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return err
	}
	resp, err := u.repo.HTTP().Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return nil
	}
	defer resp.Body.Close()
	_, end, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Range"), "bytes="), "-")
	last, err := strconv.ParseInt(end, 10, 64)
	// 0-0 is what registries say when they have nothing.
	if resp.StatusCode >= 300 || !ok || err != nil || last <= 0 || last >= u.blob.size {
		u.resume = resp.StatusCode < 300
		return nil
	}
	if resp.Header.Get("Location") != "" {
		if location, err = next(u.repo, resp); err != nil {
			return err
		}
	}
	u.location, u.offset, u.resumed = location, last+1, true
	return nil
}

// patch sends the rest of the blob, and returns where the upload goes on.
func (u *upload) patch(ctx context.Context) (location string, err error) {
	call := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// A connection that hangs is lost as well.
	stalled := time.AfterFunc(u.limits.Silence, func() { cancel(&registry.SilentError{After: u.limits.Silence}) })
	defer stalled.Stop()
	started := time.Now()
	var left atomic.Int64 // bytes that are on their way
	defer func() {
		if u.left = left.Load(); err != nil {
			u.sent.Add(-u.left)
		}
		if u.left > 0 && time.Since(started) > steady {
			u.unlucky++
		}
	}()
	body := func() (io.ReadCloser, error) {
		u.sent.Add(-left.Swap(0))
		return io.NopCloser(&progressReader{
			from: io.NewSectionReader(u.blob.at, u.offset, u.blob.size-u.offset),
			seen: func(n int64, end bool) {
				left.Add(n)
				u.sent.Add(n)
				if stalled.Stop() {
					stalled.Reset(map[bool]time.Duration{false: u.limits.Silence, true: registry.CommitLimit}[end])
				}
				if time.Since(started) > steady {
					retry.Progress(call)
				}
			},
		}), nil
	}
	first, _ := body()
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, u.location, first)
	if err != nil {
		return "", err
	}
	req.GetBody, req.ContentLength = body, u.blob.size-u.offset
	req.Header.Set("Content-Type", "application/octet-stream")
	if u.offset > 0 {
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.offset, u.blob.size-1))
	}
	resp, err := u.repo.HTTP().Do(req)
	if err != nil {
		var silence *registry.SilentError
		if errors.As(context.Cause(ctx), &silence) {
			err = &url.Error{Op: "Patch", URL: u.location, Err: fmt.Errorf("the connection hangs: %w", silence)}
		}
		return "", err
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusAccepted, http.StatusNoContent, http.StatusCreated); err != nil {
		return "", err
	}
	return next(u.repo, resp)
}

// progressReader reports what is read of it.
type progressReader struct {
	from io.Reader
	seen func(n int64, end bool)
}

func (r *progressReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.seen(int64(n), err != nil)
	return n, err
}

// commit ends the upload.
func (u *upload) commit(ctx context.Context, location string) error {
	address, err := url.Parse(location)
	if err != nil {
		return err
	}
	query := address.Query()
	query.Set("digest", u.blob.digest.String())
	address.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, address.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	return expect(u.repo, req, http.StatusCreated, http.StatusNoContent)
}

// answered reports whether the registry said no, rather than nothing.
func answered(err error) bool { return registry.Status(err) != 0 }

// briefly is an error for a line of the log.
func briefly(err error) string {
	var answer *transport.Error
	if errors.As(err, &answer) {
		return fmt.Sprintf("the registry answered %d (%s)", answer.StatusCode, registry.Words(answer))
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return "the connection was lost (" + redact.Phrase(err.Error()) + ")"
		}
		err = inner
	}
}
