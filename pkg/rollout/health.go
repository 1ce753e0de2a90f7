package rollout

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	healthTimeout = 2 * time.Minute
	askTimeout    = 10 * time.Second // for one answer
	askPause      = 200 * time.Millisecond
	askMaxPause   = time.Second
	// patience is how many equal answers prove one that time does not change.
	patience = 5

	bodyLimit = 1 << 10
)

// Check says what has to answer 2xx.
type Check struct {
	// Path is where to ask, e.g. "/readyz"; it may have a query.
	Path string
	// Statuses are what Wait returned: the Services are asked, and the workloads
	// tell which pods may answer.
	Statuses []Status
	// Address is what FindAddress found; its Service is the one that is asked.
	Address Address
	// Timeout bounds the check. The default is 2 minutes.
	Timeout time.Duration
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
	s += ": " + a.said()
	if body := clean(a.Body, phraseLimit); body != "" {
		s += ": " + body
	}
	return s
}

func (a Answer) said() string {
	if a.Code == 0 {
		return a.Err
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.Code, http.StatusText(a.Code)))
}

// ok tells whether the answer is what a healthy workload gives.
func (a Answer) ok() bool { return a.Code >= 200 && a.Code < 300 }

// settled tells that the same answer again would be final: it is neither a load
// balancer that warms up nor a program that is still starting.
func (a Answer) settled() bool {
	switch a.Code {
	case 0, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return a.Code < 500
}

// UnhealthyError tells that what was deployed did not answer 2xx.
type UnhealthyError struct {
	Path string
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

// Healthy asks the Service in front of what was deployed until it answers 2xx,
// and returns what it answered last also with an error, an *UnhealthyError or
// ctx's own. It asks only once no pod of an earlier revision can answer.
//
// A load balancer is asked at its address, without credentials. What has none,
// or an internal or encrypted one (no certificate is made out to a load
// balancer's address), is asked through the API server's service proxy.
func Healthy(ctx context.Context, c Check, o Options) (Answer, error) {
	o = o.withDefaults()
	if c.Timeout <= 0 {
		c.Timeout = healthTimeout
	}
	service := c.service()
	if service == nil {
		return Answer{}, &UnhealthyError{
			Path: c.Path, Cause: "no Service was applied that could be asked",
			Fix: "add a Service to the manifests, or leave health_path empty",
		}
	}
	bounded, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	e := &examiner{Check: c, options: o, service: service, started: time.Now()}
	err := e.choose()
	if err == nil {
		err = e.expectNew(bounded)
	}
	if err == nil {
		err = e.examine(bounded)
	}
	e.answer.Took = time.Since(e.started)
	if ctx.Err() != nil && err != nil {
		return e.answer, fmt.Errorf("health check: %w", context.Cause(ctx))
	}
	var unhealthy *UnhealthyError
	if errors.As(err, &unhealthy) {
		unhealthy.Path, unhealthy.Answer = c.Path, e.answer
	}
	return e.answer, err
}

// service is the one to ask: that of the address, then one that selects pods of
// an applied workload, then the first with a port.
func (c Check) service() *unstructured.Unstructured {
	all := liveObjects(c.Statuses)
	if s := find(all, "Service", c.Address.Namespace, c.Address.Service); s != nil {
		return s
	}
	var first *unstructured.Unstructured
	for _, o := range all {
		if _, ok := choosePort(o); !ok || kindOf(o) != "Service" {
			continue
		}
		for _, w := range all {
			if fronts(o, w) {
				return o
			}
		}
		if first == nil {
			first = o
		}
	}
	return first
}

// fronts tells whether a Service sends requests to a workload's pods.
func fronts(service, workload *unstructured.Unstructured) bool {
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

// examiner asks one Service.
type examiner struct {
	Check
	options Options
	service *unstructured.Unstructured
	started time.Time
	ask     func(context.Context) Answer
	answer  Answer
}

// examine asks until the answer is 2xx, will not change any more, or time is out.
func (e *examiner) examine(ctx context.Context) error {
	equal := 0
	for pause := askPause; ; pause = min(2*pause, askMaxPause) {
		bounded, cancel := context.WithTimeout(ctx, askTimeout)
		a := e.ask(bounded)
		cancel()
		if ctx.Err() != nil && a.Code == 0 && e.answer.Tries > 0 {
			return e.unhealthy() // the time was out, which is not what it answers
		}
		news := a.Code != e.answer.Code || a.Err != e.answer.Err
		equal++
		if news {
			equal = 1
		}
		a.Tries, a.Notes = e.answer.Tries+1, e.answer.Notes
		e.answer = a
		switch {
		case a.ok():
			return nil
		case a.Proxy && a.Code == http.StatusForbidden && strings.Contains(a.Body, `"services/proxy"`):
			return &UnhealthyError{
				Cause: clean(a.Body, phraseLimit),
				Fix:   fmt.Sprintf(`allow "get" on services/proxy in namespace %q to whoever deploys, or give the Service a load balancer`, e.service.GetNamespace()),
			}
		case a.settled() && equal >= patience, ctx.Err() != nil:
			return e.unhealthy()
		}
		if news {
			e.options.Progress(a.String() + "; asking again")
		}
		pauseFor(ctx, pause)
	}
}

// unhealthy says what was answered last.
func (e *examiner) unhealthy() error {
	a := e.answer
	u := &UnhealthyError{Cause: a.String()}
	if a.Tries > 1 {
		u.Cause += fmt.Sprintf(" (the last of %d tries in %s)", a.Tries, short(time.Since(e.started)))
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
