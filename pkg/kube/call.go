package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
	"github.com/org/deploy-model-action/pkg/wire"
)

const (
	// A server that is well answers within its own 60 s; one that does not
	// answer at all is asked again.
	attemptLimit = time.Minute
	// What was just created may be unknown to another replica of the API server.
	youngLimit     = 10 * time.Second
	firstYoungWait = 100 * time.Millisecond
	longYoungWait  = time.Second
	// unauthorizedLimit is for one more try: the token may have ended a moment
	// ago, and the next call gets another.
	unauthorizedLimit = 8 * time.Second
	// lastWords is how long a write that was on its way when ctx ended may take
	// to be answered, so that its outcome can be reported.
	lastWords = 2 * time.Second
)

// Patience is what a call may additionally wait for.
type Patience struct {
	// NotYet recognises errors that pass when the servers have caught up with
	// what was just created. They are retried for 10 s. The default is none.
	NotYet func(error) bool
	// Versioned says that the request names a resourceVersion, so that repeating
	// it after a conflict is useless.
	Versioned bool
	// Write says that the request changes something: when ctx ends it is not
	// torn off, and if no answer came, the error is ErrUncertain.
	Write bool
}

// ErrUncertain says that nobody knows whether a write was done: its answer never
// came. Whoever gets it reads the object before it says anything about it.
var ErrUncertain = errors.New("was being written, and the answer never came: it may have been applied; run again to be sure")

// errNotSent is a call that ended before its request was sent.
var errNotSent = errors.New("stopped before the request was sent")

// call makes a request until it succeeds, is refused, or the budget is spent.
//
// client-go repeats a write only when the server says Retry-After. A transport
// that repeats requests sends an empty body the second time over HTTP/2. So the
// call is repeated, and f must build the whole request each time.
func call[T any](ctx context.Context, c *Client, p Patience, f func(context.Context) (T, error)) (T, error) {
	refused, lost := false, false // let in; an answer was lost
	value, err := retry.Do(ctx, retry.Policy{
		Budget: c.budget,
		May: func(err error) retry.Verdict {
			v := verdict(err, p)
			if apierrors.IsUnauthorized(err) && !refused {
				refused = true
				v = retry.Verdict{Again: true, Within: unauthorizedLimit}
			}
			if v.Again && c.webhook > 0 && webhookCall.MatchString(err.Error()) {
				v.Within = c.webhook
			}
			return v
		},
	}, func(ctx context.Context) (T, error) {
		v, err := attempt(ctx, c, p, f)
		lost = lost || mayHaveLanded(err)
		return v, err
	})
	if err != nil && p.Write && (mayHaveLanded(err) || lost && !refusal(err)) {
		var none T
		return none, &uncertainError{err}
	}
	return value, err
}

// uncertainError is ErrUncertain with what the last try met.
type uncertainError struct{ err error }

func (e *uncertainError) Error() string   { return ErrUncertain.Error() }
func (e *uncertainError) Unwrap() []error { return []error{ErrUncertain, e.err} }

// ask makes a dry run.
func (w *Write) ask(ctx context.Context, q question) (*unstructured.Unstructured, error) {
	body, kind, force := q.body(w.about.body), types.ApplyPatchType, &q.force
	if q.config != nil {
		body = q.config
	}
	if q.merged != nil {
		body, kind, force = q.merged, types.MergePatchType, nil
	}
	if q.anew {
		return w.askAnew(ctx, q)
	}
	options := metav1.PatchOptions{
		FieldManager: object.FieldManager, FieldValidation: metav1.FieldValidationStrict, Force: force, DryRun: []string{metav1.DryRunAll},
	}
	if q.lenient {
		options.FieldValidation = metav1.FieldValidationIgnore
	}
	return w.patch(ctx, kind, body, options)
}

func (w *Write) patch(ctx context.Context, kind types.PatchType, u *unstructured.Unstructured, o metav1.PatchOptions) (*unstructured.Unstructured, error) {
	return call(ctx, w.client, w.options.patience(w.about.Ref, o.DryRun != nil, u.GetUID() != "" || u.GetResourceVersion() != ""), func(ctx context.Context) (*unstructured.Unstructured, error) {
		body, err := json.Marshal(u.Object)
		if err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
		return w.client.Objects(w.about.Resource, w.about.Namespace).Patch(wire.About(ctx, w.about.ID()), w.about.Name, kind, body, o)
	})
}

// attempt makes one request, when there is a slot for it.
func attempt[T any](ctx context.Context, c *Client, p Patience, f func(context.Context) (T, error)) (T, error) {
	var none T
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return none, errNotSent
	}
	if p.Write {
		longer, release := outlive(ctx, lastWords)
		defer release()
		ctx = longer
	}
	ctx, cancel := context.WithTimeout(ctx, attemptLimit)
	defer cancel()
	return f(ctx)
}

// outlive returns a context that ends a while after ctx does.
func outlive(ctx context.Context, while time.Duration) (context.Context, func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-longer.Done():
		case <-time.After(while):
			cancel()
		}
	})
	return longer, func() { stop(); cancel() }
}

// mayHaveLanded reports whether a request that failed so may have been carried
// out: no answer came, or one that speaks of the way and not of the request.
func mayHaveLanded(err error) bool {
	if err == nil || errors.Is(err, errNotSent) {
		return false
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return true
	}
	switch status.Status().Code {
	case http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusRequestTimeout:
		return true
	case http.StatusInternalServerError:
		return strings.Contains(err.Error(), "etcdserver")
	}
	return false
}

// refusal reports whether an error is the server's word about this request,
// which it would not give about one that it had carried out before.
func refusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != http.StatusConflict && !retry.Status(int(code))
}

// verdict says which errors of the API server may pass.
func verdict(err error, p Patience) retry.Verdict {
	if p.NotYet != nil && p.NotYet(err) {
		return retry.Verdict{Again: true, Within: youngLimit, First: firstYoungWait, Longest: longYoungWait}
	}
	if !Transient(err) && (p.Versioned || !isStale(err)) {
		return retry.Verdict{}
	}
	v := retry.Verdict{Again: true}
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
		v.After = time.Duration(seconds) * time.Second
	}
	return v
}

// isStale reports a conflict of versions, and not of field managers.
func isStale(err error) bool {
	return apierrors.IsConflict(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict)
}

// Transient reports whether an error may be gone at the next try, whatever was
// asked: the network, an overloaded or restarting server, etcd between leaders, a
// webhook that is down. Conflicts are not: what to do about one depends.
func Transient(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return retry.Network(err)
	}
	switch code := int(status.Status().Code); code {
	case http.StatusInternalServerError:
		// The server gives 500 both to its own troubles (etcd, a webhook that
		// does not answer) and to patches that do not fit the schema.
		return !unfit(err) && !portTaken(err)
	default:
		return retry.Status(code)
	}
}

// unfit recognises a 500 that is about the patch itself; the text is all there is.
func unfit(err error) bool {
	text := err.Error()
	return strings.Contains(text, "failed to create typed ") || strings.Contains(text, "failed to convert ")
}

// portTaken recognises the one refusal of a Service that comes as a 500.
func portTaken(err error) bool { return strings.Contains(err.Error(), "duplicate nodePort") }

// IsUnserved tells a path that the server does not have from an object that
// does not exist: only the latter is named in the answer.
func IsUnserved(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code != http.StatusNotFound {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == "" || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

const (
	// lookAgain is the time to find out what became of a write whose answer never
	// came, also when the budget of the run is spent.
	lookAgain = 15 * time.Second
	// lastLook is the same for a write that ctx ended: a little longer than the
	// write itself has.
	lastLook = lastWords + 500*time.Millisecond
)

// lookAgain reads the object after a write whose answer never came, with a budget
// of its own: that of the run may be what the write spent.
func (w *Write) lookAgain(ctx context.Context) (*unstructured.Unstructured, error) {
	own := *w.client
	limit := min(lookAgain, own.limit)
	own.budget = retry.NewBudget(limit)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return w.get(ctx, &own)
}

// landed reports whether an object is what the decision was to make of it.
func (d decision) landed(live *unstructured.Unstructured) bool {
	if live == nil || d.before != nil && live.GetResourceVersion() == d.before.GetResourceVersion() {
		return false
	}
	if sent := runOf(d.body); sent != "" && runOf(live) != sent {
		return false
	} else if sent != "" && runOf(d.before) != sent {
		return true // nobody else writes this mark
	}
	return d.expected != nil && equalBut(live.Object, d.expected.Object, "metadata", "status") &&
		equalAnnotations(live.Object, d.expected.Object, d.mark)
}

// runOf is the run that marked an object; "" for none.
func runOf(u *unstructured.Unstructured) string {
	if u == nil {
		return ""
	}
	return u.GetAnnotations()[object.RunAnnotation]
}

// uncertain is what is known of a write that nobody could ask after.
func (w *Write) uncertain(d decision) Change {
	after := d.expected
	if after == nil {
		after = d.body
	}
	return Change{Ref: w.about.Ref, Before: d.before, After: after, Manifest: w.manifest(), Action: Uncertain, Started: w.started, Took: time.Since(w.started)}
}
