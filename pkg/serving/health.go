package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	defaultTimeout = 2 * time.Minute
	requestTimeout = 10 * time.Second // for one answer to a health check
	firstPause     = 200 * time.Millisecond
	longestPause   = time.Second
	// finalAnswers is how many equal answers prove one that time does not change.
	finalAnswers = 5
)

// Options say what the model is asked, and where.
type Options struct {
	// Path has to answer 2xx, e.g. "/readyz"; it may have a query. The default is
	// that it is not asked.
	Path string
	// SmokeTest is asked then. The default is nothing.
	SmokeTest *SmokeTest
	// Changes are what was deployed, with After as the objects are by now: the
	// Services are asked, and the workloads say which pods may answer.
	Changes []kube.Change
	// Pod is asked in place of a Service, through the API server. The default is
	// to choose a Service of Changes.
	Pod Pod
	// Address is what FindAddress found; its Service is asked rather than another
	// that is as good.
	Address Address
	// HTTP carries requests to a load balancer's address. It must not add
	// credentials. The default is http.DefaultTransport.
	HTTP http.RoundTripper
	// Timeout bounds all of it together. The default is 2 minutes.
	Timeout time.Duration
	// Progress takes a line when the answer is another one. The default is to drop it.
	Progress func(line string)
}

// Pod is one pod that is asked by itself. The zero value is none.
type Pod struct {
	Namespace, Name string
	Port            int64 // 0: the first of the pod
}

// Report is what the model answered. What it holds was answered also when there
// is an error.
type Report struct {
	Health  *Answer   // nil: not asked
	Replies []Reply   // to the requests of the smoke test, in its order
	Unasked error     // an *UnaskedError: why something could not be asked, which says nothing of the model
	Notes   []string  // what could not be checked
	Service object.ID // the one that was asked
	Reached string    // the load balancer's URL that answered; "" if none was asked or did
}

// Check asks the model until it answers as it should: 2xx on a path, and what the
// smoke test expects. It asks only once no pod of an earlier revision can answer.
//
// The error is an *UnhealthyError if it answered wrongly, or ctx's own. Whatever
// keeps us from asking is in the report, and no error.
//
// A load balancer is asked at its address, without credentials. What has none,
// or an internal or encrypted one (no certificate is made out to a load
// balancer's address), or one that the runner cannot reach, is asked through the
// API server's proxy.
func Check(ctx context.Context, client *kube.Client, o Options) (Report, error) {
	if o.HTTP == nil {
		o.HTTP = http.DefaultTransport
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	bounded, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	p := &prober{Options: o, client: client, started: time.Now()}
	err := p.check(bounded)
	if err == nil {
		p.around()
	}
	if ctx.Err() != nil && err != nil {
		return p.report, fmt.Errorf("ask the model: %w", context.Cause(ctx))
	}
	var unasked *UnaskedError
	if errors.As(err, &unasked) {
		p.report.Unasked, err = err, nil
	}
	return p.report, err
}

// prober asks one model.
type prober struct {
	Options
	client  *kube.Client
	service *unstructured.Unstructured // nil: what a controller made, or a pod
	ways    []way                      // the first is the one to take
	shut    string                     // why the Service is not asked at a load balancer
	closed  bool                       // no way leads to the model, and time opens none
	started time.Time
	report  Report
	// barriers are what kept the last questions from the model, one for each way.
	barriers []barrier
}

// barrier is why a question did not reach the model.
type barrier struct {
	proxy           bool
	asked, why, fix string
}

func (p *prober) check(ctx context.Context) error {
	var path *url.URL
	if p.Path != "" {
		var err error
		if path, err = ParsePath(p.Path); err != nil {
			return &UnhealthyError{What: fmt.Sprintf("health check %q", p.Path), Cause: err.Error()}
		}
	}
	if err := p.choose(); err != nil {
		return err
	}
	if p.service != nil {
		p.report.Service = object.Of(p.service)
		if err := p.waitForNew(ctx); err != nil {
			return err
		}
	}
	if path != nil {
		if err := p.health(ctx, path); err != nil {
			return err
		}
	}
	if p.SmokeTest != nil {
		return p.smoke(ctx)
	}
	return nil
}

// choose finds the ways to ask.
func (p *prober) choose() error {
	if p.Pod != (Pod{}) {
		w, ok := p.proxied("pods", p.Pod.Namespace, p.Pod.Name, "http", p.Pod.Port)
		if !ok {
			return &UnaskedError{Cause: "no way to a pod", Fix: "deploy without asking it"}
		}
		p.ways = []way{w}
		return nil
	}
	made := p.made()
	p.service = p.Options.service()
	if p.service != nil && (len(made) == 0 || p.distance(p.service) < 2) {
		p.ways, p.shut = p.serviceWays(p.service)
	} else {
		p.service, p.ways = nil, made
	}
	if len(p.ways) == 0 {
		return &UnaskedError{
			Cause: "nothing of what was applied can be asked: there is no Service with a TCP port, and no object whose status names a URL",
			Fix:   "add a Service to the manifests",
		}
	}
	return nil
}

// ask asks in the first way. If nobody could be asked so, the next question takes
// the next one; where something in front chooses the route, also if its answer is
// not good.
func (p *prober) ask(ctx context.Context, q question) Answer {
	w := p.ways[0]
	a := w.ask(ctx, q)
	why, fix := a.unasked()
	if why != "" && ctx.Err() == nil {
		b := barrier{w.proxy, a.asked(), why, fix}
		if i := slices.IndexFunc(p.barriers, func(b barrier) bool { return b.proxy == w.proxy }); i >= 0 {
			p.barriers[i] = b
		} else {
			p.barriers = append(p.barriers, b)
		}
	}
	switch over := why != "" && w.closed(a, time.Since(p.started)); {
	case over && len(p.ways) > 1:
		p.ways = p.ways[1:]
	case over:
		p.closed = true
	case (why != "" || w.routed && !a.ok()) && len(p.ways) > 1:
		p.ways = append(slices.Clone(p.ways[1:]), w)
	}
	if why == "" && a.Code != 0 && a.Code < 500 && !a.Proxy {
		p.report.Reached = w.base.String()
	}
	return a
}

// health asks until the answer is 2xx, will not change any more, or time is out.
func (p *prober) health(ctx context.Context, path *url.URL) error {
	var last, real Answer // real is the last one of the model's
	defer func() { p.report.Health = &last }()
	q := question{method: http.MethodGet, path: path, limit: bodyLimit, within: requestTimeout}
	for equal, pause := 0, firstPause; ; pause = min(2*pause, longestPause) {
		a := p.ask(ctx, q)
		if ctx.Err() != nil && a.Code == 0 && last.Tries > 0 {
			return p.verdict(last, real) // the time was out, which is not what it answers
		}
		news := a.Code != last.Code || a.Err != last.Err
		equal++
		if news {
			equal = 1
		}
		a.Tries = last.Tries + 1
		last = a
		if why, _ := a.unasked(); why == "" {
			real = a
		}
		switch {
		case a.ok() || a.long && a.Code/100 == 2:
			return nil
		case ctx.Err() != nil, p.settled(a, equal):
			return p.verdict(a, real)
		}
		if news {
			p.Progress(a.String() + "; asking again")
		}
		_ = retry.Sleep(ctx, pause)
	}
}

// settled reports whether an answer that came so often is the last word.
func (p *prober) settled(a Answer, equal int) bool {
	if why, _ := a.unasked(); why != "" {
		return p.closed
	}
	return a.final() && equal >= finalAnswers && !a.routed
}

// knownPatience is how long an address that was there before may not be reached: a
// load balancer looks for its new pods as long.
const knownPatience = 30 * time.Second

// closed reports whether a way on which the model was not reached leads nowhere also
// later: what nobody is allowed to do does not change within minutes.
func (w way) closed(a Answer, after time.Duration) bool {
	switch {
	case a.Proxy:
		return a.Code >= 400 && a.Code < 500 && a.Code != http.StatusTooManyRequests
	case a.ofProxy() && a.Code < 500:
		return true
	}
	return w.known && after >= knownPatience
}

// unasked is the error of a question that did not reach the model in any way.
func (p *prober) unasked(what string) error {
	e := &UnaskedError{What: what}
	if p.shut != "" {
		e.Cause = fmt.Sprintf("%s: %s", object.Of(p.service), p.shut)
	}
	if len(p.barriers) == 0 {
		e.Cause, e.Fix = "there was no time for it", "raise health_timeout"
	}
	for _, b := range p.barriers {
		if e.Cause != "" {
			e.Cause += "; "
		}
		e.Cause += b.asked + ": " + b.why
		if e.Fix == "" || !b.proxy {
			e.Fix = b.fix
		}
	}
	return e
}

// around notes that the model was asked in another way than users take.
func (p *prober) around() {
	for _, b := range p.barriers {
		if !b.proxy && p.ways[0].proxy {
			p.report.Notes = append(p.report.Notes, "asked through the API server, since the address cannot be reached from here: "+b.asked+": "+b.why)
		}
	}
}

// verdict is the error of a health check whose last answer was that: what the
// model did answer counts, also if it could not be asked any more afterwards.
func (p *prober) verdict(a, real Answer) error {
	what := fmt.Sprintf("health check %q", p.Path)
	if why, _ := a.unasked(); why != "" {
		if real.Tries == 0 {
			return p.unasked(what)
		}
		a = real
	}
	u := &UnhealthyError{What: what, Service: p.report.Service, Cause: a.String()}
	if a.Tries > 1 {
		u.Cause += fmt.Sprintf(" (the last of %d tries in %s)", a.Tries, retry.FormatDuration(time.Since(p.started)))
	}
	u.Fix = advice(a, "health_path")
	return u
}

// advice is what to do about an answer.
func advice(a Answer, path string) string {
	switch {
	case a.Code == 0:
		return "look at the model's log, and check that the Service's targetPort is the one that the container listens on"
	case a.Proxy && a.Code == http.StatusServiceUnavailable && strings.Contains(string(a.raw), "no endpoints available"):
		return "look at the model's pods and their log: none of them is ready any more"
	case a.Proxy && a.Code == http.StatusServiceUnavailable && strings.Contains(string(a.raw), `"Status"`):
		return "look at the model's log, and check that the Service's targetPort is the one that the container listens on"
	case a.Code == http.StatusNotFound:
		return "correct " + path + ": the model has no such path"
	case a.Code == http.StatusUnauthorized, a.Code == http.StatusForbidden:
		return path + " has to answer without credentials"
	case a.Code >= 300 && a.Code < 400:
		return "correct " + path + ": it has to answer itself, and redirects to other hosts are not followed"
	case a.Code == http.StatusMethodNotAllowed:
		return "correct the method, or " + path + ": the model does not take it there"
	case a.Method != http.MethodGet && slices.Contains([]int{http.StatusUnprocessableEntity, http.StatusBadRequest, http.StatusUnsupportedMediaType}, a.Code):
		return "correct what is sent: the model does not take it in this form"
	}
	return "look at the model's log for the reason"
}
