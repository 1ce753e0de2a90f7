package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
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

// maxTries bounds how often one layer is begun anew or resumed.
const maxTries = 50

// upload sends one blob. go-containerregistry can do so too, but begins anew
// after each lost connection and gives up after three; a layer of a model can be
// larger than what a connection lives through.
type upload struct {
	*login
	blob
	from string // a repository that may have it
	sent *atomic.Int64
	log  func(format string, args ...any)

	resume   bool   // the registry may say how much it has
	resumed  bool   // and has done so in this upload
	location string // where the rest goes; "" before the upload is begun
	offset   int64  // how much is there
}

// run sends the blob until it is there.
func (u *upload) run(ctx context.Context) (outcome, error) {
	if there, err := u.hasBlob(ctx, u.digest); err != nil || there {
		return alreadyThere, err
	}
	// Artifact Registry takes a layer in one piece only, by its documentation.
	u.resume = !isGoogle(u.repo.RegistryStr())
	var waited time.Duration // since bytes were last seen to leave
	streak := 0
	for try := 1; ; try++ {
		high, begun := u.offset, time.Now()
		left, done, err := u.try(ctx)
		if err == nil {
			return done, nil
		}
		if ctx.Err() != nil || !u.again(err) {
			return 0, err
		}
		if status := statusOf(err); status == http.StatusNotFound || status == http.StatusRequestedRangeNotSatisfiable {
			u.resume, u.location = false, "" // what the registry says it has, it has not
		}
		streak++
		wait := min(firstWait<<min(streak, 10), longestWait)
		var silent *silentError
		switch {
		case errors.As(err, &silent):
			waited += silent.after + wait
		case left == 0:
			waited += time.Since(begun) + wait
		case answered(err):
			waited += wait
		default: // the registry is there, only the connection is not
			waited, wait = 0, time.Duration(min(streak, 10))*50*time.Millisecond
		}
		if try >= maxTries || waited > u.Patience {
			return 0, fmt.Errorf("gave up after %d tries: %w", try, err)
		}
		if err := sleep(ctx, wait/2+rand.N(wait)); err != nil {
			return 0, err
		}
		if err := u.recover(ctx); err != nil {
			return 0, err
		}
		if u.offset > high {
			streak, waited = 0, 0
		}
		if u.location == "" {
			// It may have arrived, and only the answer been lost.
			if there, err := u.hasBlob(ctx, u.digest); err != nil || there {
				return uploaded, err
			}
		}
		how := "begin again"
		if u.offset > 0 {
			how = "go on after " + size(u.offset)
		}
		u.log("Layer %s: %v; %s", shortDigest(u.digest), briefly(err), how)
	}
}

// try begins an upload or goes on with it, and returns how many bytes left.
func (u *upload) try(ctx context.Context) (int64, outcome, error) {
	if u.location == "" {
		location, taken, err := u.start(ctx, u.digest, u.from)
		if err != nil || taken {
			return 0, mounted, err
		}
		u.location, u.offset, u.resumed = location, 0, false
	}
	left, next, err := u.patch(ctx)
	if err != nil {
		return left, 0, err
	}
	err = u.commit(ctx, next)
	if answered(err) {
		// The answer to an earlier try may be lost, and of an upload that is over
		// registries say all kinds of things.
		if there, asked := u.hasBlob(ctx, u.digest); asked == nil && there {
			return left, uploaded, nil
		}
	}
	if err != nil && u.resumed && !transient(&http.Response{StatusCode: statusOf(err)}, nil) {
		// What the registry said it had was wrong.
		u.resume, u.location = false, ""
		return left, 0, &brokenUpload{err}
	}
	return left, uploaded, err
}

// brokenUpload is an upload that has to be begun again.
type brokenUpload struct{ error }

func (e *brokenUpload) Unwrap() error { return e.error }

// again tells whether an error is no reason to give up.
func (u *upload) again(err error) bool {
	var broken *brokenUpload
	if errors.As(err, &broken) {
		return true
	}
	switch status := statusOf(err); status {
	case 0:
		var token *tokenError
		return unreachable(err) && transient(nil, err) && !errors.As(err, &token)
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable:
		return u.location != "" // the registry has forgotten the upload
	case http.StatusTooManyRequests:
		return !quota(err)
	default:
		return transient(&http.Response{StatusCode: status}, nil)
	}
}

// recover asks how much of the upload arrived, or forgets it.
func (u *upload) recover(ctx context.Context) error {
	location := u.location
	u.location, u.offset = "", 0
	if location == "" || !u.resume {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return err
	}
	resp, err := u.http().Do(req)
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
	if resp.StatusCode >= 300 || !ok || err != nil || last <= 0 || last >= u.size {
		u.resume = resp.StatusCode < 300
		return nil
	}
	if resp.Header.Get("Location") != "" {
		if location, err = u.next(resp); err != nil {
			return err
		}
	}
	u.location, u.offset, u.resumed = location, last+1, true
	return nil
}

// patch sends the rest of the blob, and returns how many bytes left.
func (u *upload) patch(ctx context.Context) (int64, string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A connection that hangs is lost as well.
	var stalled atomic.Bool
	patience := u.Patience / 2
	watch := time.AfterFunc(patience, func() { stalled.Store(true); cancel() })
	defer watch.Stop()
	var left atomic.Int64
	body := func() (io.ReadCloser, error) {
		u.sent.Add(-left.Swap(0))
		return io.NopCloser(&watched{
			from: io.NewSectionReader(u.at, u.offset, u.size-u.offset),
			seen: func(n int64, end bool) {
				left.Add(n)
				u.sent.Add(n)
				if watch.Stop() {
					watch.Reset(map[bool]time.Duration{false: patience, true: commitLimit}[end])
				}
			},
		}), nil
	}
	first, _ := body()
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, u.location, first)
	if err != nil {
		return 0, "", err
	}
	req.GetBody, req.ContentLength = body, u.size-u.offset
	req.Header.Set("Content-Type", "application/octet-stream")
	if u.offset > 0 {
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.offset, u.size-1))
	}
	resp, err := u.http().Do(req)
	if err != nil {
		u.sent.Add(-left.Load())
		if stalled.Load() {
			err = &url.Error{Op: "Patch", URL: u.location, Err: fmt.Errorf("the connection hangs: %w", &silentError{patience})}
		}
		return left.Load(), "", err
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusAccepted, http.StatusNoContent, http.StatusCreated); err != nil {
		u.sent.Add(-left.Load())
		return left.Load(), "", err
	}
	next, err := u.next(resp)
	return left.Load(), next, err
}

// watched tells what is read of it.
type watched struct {
	from io.Reader
	seen func(n int64, end bool)
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.from.Read(p)
	w.seen(int64(n), err != nil)
	return n, err
}

// commit ends the upload.
func (u *upload) commit(ctx context.Context, location string) error {
	address, err := url.Parse(location)
	if err != nil {
		return err
	}
	query := address.Query()
	query.Set("digest", u.digest.String())
	address.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, address.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	return u.expect(req, http.StatusCreated, http.StatusNoContent)
}

// statusOf is the status of an answer that is an error; 0 if there was none.
func statusOf(err error) int {
	var answer *transport.Error
	if errors.As(err, &answer) {
		return answer.StatusCode
	}
	return 0
}

// answered tells whether the registry said no, rather than nothing.
func answered(err error) bool { return statusOf(err) != 0 }

// briefly is an error for a line of the log.
func briefly(err error) string {
	var answer *transport.Error
	if errors.As(err, &answer) {
		return fmt.Sprintf("the registry answered %d (%s)", answer.StatusCode, said(answer))
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return "the connection was lost (" + phrase(err.Error()) + ")"
		}
		err = inner
	}
}
