package serving

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	healthTimeout  = 2 * time.Minute
	requestTimeout = 10 * time.Second // for one answer
	firstPause     = 200 * time.Millisecond
	longestPause   = time.Second
	// finalAnswers is how many equal answers prove one that time does not change.
	finalAnswers = 5

	bodyLimit   = 1 << 10
	phraseLimit = 300 // of foreign text within a sentence, in runes
)

// Options say what has to answer 2xx.
type Options struct {
	// Path is where to ask, e.g. "/readyz"; it may have a query. It is required.
	Path string
	// Changes are what was deployed, with After as the objects are by now: the
	// Services are asked, and the workloads say which pods may answer.
	Changes []kube.Change
	// Address is what FindAddress found; its Service is the one that is asked.
	Address Address
	// HTTP carries requests to a load balancer's address. It must not add
	// credentials. The default is http.DefaultTransport.
	HTTP http.RoundTripper
	// Timeout bounds the check. The default is 2 minutes.
	Timeout time.Duration
	// Progress takes a line when the answer is another one. The default is to drop it.
	Progress func(line string)
}

// Answer is what was answered last.
type Answer struct {
	URL   string // that was asked
	Proxy bool   // through the API server
	Code  int    // 0: no answer
	Body  string // its beginning, at most 1 KiB
	Err   string // why there was no answer
	Tries int
	Took  time.Duration // of all tries together
	// Notes say what could not be checked.
	Notes []string
}

// String is the answer as one line, e.g. "GET http://203.0.113.7/readyz: 200 OK".
func (a Answer) String() string {
	s := "GET " + a.URL
	if a.Proxy {
		s += " (through the API server)"
	}
	s += ": " + a.result()
	if body := line(a.Body); body != "" {
		s += ": " + body
	}
	return s
}

// result is the code in words, or why there is none.
func (a Answer) result() string {
	if a.Code == 0 {
		return a.Err
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.Code, http.StatusText(a.Code)))
}

// ok reports whether the answer is what a healthy workload gives.
func (a Answer) ok() bool { return a.Code >= 200 && a.Code < 300 }

// final reports whether the same answer again would be the last word: it is neither a load
// balancer that warms up nor a program that is still starting.
func (a Answer) final() bool {
	switch a.Code {
	case 0, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return a.Code < 500
}

// UnhealthyError is that what was deployed did not answer 2xx.
type UnhealthyError struct {
	Path string
	// Service is the one that was asked; no object if none could be.
	Service object.ID
	// Answer is the last one; its URL is empty if nobody could be asked.
	Answer     Answer
	Cause, Fix string
}

func (e *UnhealthyError) Error() string {
	s := fmt.Sprintf("health check %q: %s", e.Path, e.Cause)
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Title is what went wrong, in a few words.
func (e *UnhealthyError) Title() string { return "Health check failed" }

// About returns the Service that was asked, and "" for its field.
func (e *UnhealthyError) About() (object.ID, string) { return e.Service, "" }

// Check asks the Service in front of what was deployed until it answers 2xx,
// and returns what it answered last also with an error, an *UnhealthyError or
// ctx's own. It asks only once no pod of an earlier revision can answer.
//
// A load balancer is asked at its address, without credentials. What has none,
// or an internal or encrypted one (no certificate is made out to a load
// balancer's address), is asked through the API server's service proxy.
func Check(ctx context.Context, client *kube.Client, o Options) (Answer, error) {
	if o.HTTP == nil {
		o.HTTP = http.DefaultTransport
	}
	if o.Timeout <= 0 {
		o.Timeout = healthTimeout
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	service := o.service()
	if service == nil {
		return Answer{}, &UnhealthyError{
			Path: o.Path, Cause: "no Service was applied that could be asked",
			Fix: "add a Service to the manifests, or leave health_path empty",
		}
	}
	bounded, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	p := &prober{Options: o, client: client, service: service, started: time.Now()}
	err := p.choose()
	if err == nil {
		err = p.waitForNew(bounded)
	}
	if err == nil {
		err = p.probe(bounded)
	}
	p.answer.Took = time.Since(p.started)
	if ctx.Err() != nil && err != nil {
		return p.answer, fmt.Errorf("health check: %w", context.Cause(ctx))
	}
	var unhealthy *UnhealthyError
	if errors.As(err, &unhealthy) {
		unhealthy.Path, unhealthy.Service, unhealthy.Answer = o.Path, object.Of(service), p.answer
	}
	return p.answer, err
}

// service is the one to ask: that of the address, then one that selects pods of
// an applied workload, then the first with a port.
func (o Options) service() *unstructured.Unstructured {
	var all []*unstructured.Unstructured
	for _, c := range o.Changes {
		all = append(all, c.After)
	}
	if s := find(all, o.Address.Service); s != nil {
		return s
	}
	var first *unstructured.Unstructured
	for _, u := range all {
		if _, ok := choosePort(u); !ok || object.Of(u).GroupKind().String() != "Service" {
			continue
		}
		for _, w := range all {
			if selects(u, w) {
				return u
			}
		}
		if first == nil {
			first = u
		}
	}
	return first
}

// selects reports whether a Service sends requests to a workload's pods.
func selects(service, workload *unstructured.Unstructured) bool {
	selector, _, _ := unstructured.NestedStringMap(service.Object, "spec", "selector")
	labels, _, _ := unstructured.NestedStringMap(workload.Object, "spec", "template", "metadata", "labels")
	if service.GetNamespace() != workload.GetNamespace() || len(selector) == 0 {
		return false
	}
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// prober asks one Service.
type prober struct {
	Options
	client  *kube.Client
	service *unstructured.Unstructured
	started time.Time
	request func(context.Context) Answer
	answer  Answer
}

// probe asks until the answer is 2xx, will not change any more, or time is out.
func (p *prober) probe(ctx context.Context) error {
	equal := 0
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		bounded, cancel := context.WithTimeout(ctx, requestTimeout)
		a := p.request(bounded)
		cancel()
		if ctx.Err() != nil && a.Code == 0 && p.answer.Tries > 0 {
			return p.unhealthy() // the time was out, which is not what it answers
		}
		news := a.Code != p.answer.Code || a.Err != p.answer.Err
		equal++
		if news {
			equal = 1
		}
		a.Tries, a.Notes = p.answer.Tries+1, p.answer.Notes
		p.answer = a
		switch {
		case a.ok():
			return nil
		case a.Proxy && a.Code == http.StatusForbidden && strings.Contains(a.Body, `"services/proxy"`):
			return &UnhealthyError{
				Cause: line(a.Body),
				Fix:   fmt.Sprintf(`allow "get" on services/proxy in namespace %q to whoever deploys, or give the Service a load balancer`, p.service.GetNamespace()),
			}
		case a.final() && equal >= finalAnswers, ctx.Err() != nil:
			return p.unhealthy()
		}
		if news {
			p.Progress(a.String() + "; asking again")
		}
		_ = retry.Sleep(ctx, pause)
	}
}

// unhealthy says what was answered last.
func (p *prober) unhealthy() error {
	a := p.answer
	u := &UnhealthyError{Cause: a.String()}
	if a.Tries > 1 {
		u.Cause += fmt.Sprintf(" (the last of %d tries in %s)", a.Tries, retry.FormatDuration(time.Since(p.started)))
	}
	switch {
	case a.Code == 0 && !a.Proxy:
		u.Fix = "check that the Service's targetPort is the one that the container listens on, and that the runner may reach the address"
	case a.Code == 0 || a.Proxy && a.Code == http.StatusServiceUnavailable:
		u.Fix = "check that the Service's targetPort is the one that the container listens on"
	case a.Code == http.StatusNotFound:
		u.Fix = "correct health_path: the model has no such path"
	case a.Code == http.StatusUnauthorized, a.Code == http.StatusForbidden:
		u.Fix = "health_path has to answer without credentials"
	case a.Code >= 300 && a.Code < 400:
		u.Fix = "correct health_path: it has to answer itself, and redirects to other hosts are not followed"
	default:
		u.Fix = "look at the model's log for the reason"
	}
	return u
}

// line is foreign text, harmless within a sentence.
func line(text string) string { return redact.Line(text, phraseLimit) }
