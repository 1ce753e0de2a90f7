package serving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/retry"
)

const (
	bodyLimit   = 1 << 10 // what is kept of an answer to be shown
	phraseLimit = 300     // of foreign text within a sentence, in runes
)

// Answer is what was answered last.
type Answer struct {
	Method, URL string // that was asked
	Proxy       bool   // through the API server
	Code        int    // 0: no answer
	Body        string // its beginning, at most 1 KiB, without what looks like a credential
	Err         string // why there was no answer, or not all of one
	Tries       int
	Took        time.Duration // of this answer

	raw       []byte // what was read
	long      bool   // there was more
	failed    error  // of Err
	connected bool   // somebody was reached
	forwarded bool   // by a proxy of the runner's network
	routed    bool
}

// String is the answer as one line, e.g. "GET http://203.0.113.7/readyz: 200 OK".
func (a Answer) String() string {
	s := a.asked() + ": " + a.result()
	if body := line(a.Body); body != "" {
		s += ": " + body
	}
	return s
}

// asked is the question in a few words.
func (a Answer) asked() string {
	s := a.Method + " " + redact.Line(a.URL, maxPath)
	if a.Proxy {
		s += " (through the API server)"
	}
	return s
}

// result is the code in words, or why there is none.
func (a Answer) result() string {
	if a.Code == 0 {
		return a.Err
	}
	s := strings.TrimSpace(fmt.Sprintf("%d %s", a.Code, http.StatusText(a.Code)))
	if a.Err != "" {
		s += ", " + a.Err
	}
	return s
}

// ok reports whether the answer is what a healthy workload gives.
func (a Answer) ok() bool { return a.Code >= 200 && a.Code < 300 && a.Err == "" }

// final reports whether the same answer again would be the last word: it is neither a load
// balancer that warms up nor a program that is still starting.
func (a Answer) final() bool {
	switch a.Code {
	case 0, http.StatusNotFound, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return a.Code < 500
}

// unreached recognises the API server's words for a pod that its network does not
// let it reach, which says nothing about the pod: a firewall of a private cluster
// that is closed but for the kubelet's port, or an agent that is down.
var unreached = regexp.MustCompile(`dial tcp \S+: (?:i/o timeout|connect: (?:connection timed out|no route to host|network is unreachable))|` +
	`[Nn]o agent available|proxy error from \S+ while dialing|dial timeout, backstop|konnectivity`)

// What to do where the model itself was not asked.
const (
	allowProxy = `allow "get" and "create" on services/proxy in its namespace to whoever deploys, or give the Service a load balancer`
	allowPods  = `allow "get" and "create" on pods/proxy in its namespace to whoever deploys`
	letIn      = "let the runner reach the address (loadBalancerSourceRanges, firewalls, DNS)"
)

// unasked says why the model itself was not asked, and what to do about it; "" if
// it was.
func (a Answer) unasked() (why, fix string) {
	switch {
	case a.Code == 0 && a.Proxy && (!a.connected || !errors.Is(a.failed, context.DeadlineExceeded)):
		return "the API server did not answer: " + a.Err, "run the job again"
	case a.Code == 0 && !a.Proxy && !a.connected:
		return a.Err, letIn
	case a.ofProxy():
		return "the runner's proxy, or who is behind it, answered " + a.result(), letIn
	case a.Code == 0 || !a.Proxy:
		return "", ""
	}
	status, ok := a.status()
	if !ok {
		return "", ""
	}
	message := line(status.Message)
	switch {
	case a.Code == http.StatusForbidden && strings.Contains(message, "pods/proxy"):
		return message, allowPods
	case a.Code == http.StatusForbidden && strings.Contains(message, "/proxy"), a.Code == http.StatusUnauthorized, a.Code == http.StatusMethodNotAllowed:
		return message, allowProxy
	case a.Code == http.StatusNotFound && status.Details != nil && status.Details.Kind != "":
		return message, "add the Service to the manifests"
	case a.Code < 500 && a.Code != http.StatusTooManyRequests:
		return "", ""
	case unreached.MatchString(message):
		return "the API server cannot reach the pod: " + message, "let the control plane reach the pods at this port (in a private cluster, by a firewall rule), or give the Service a load balancer"
	case strings.Contains(message, "no endpoints available"), strings.Contains(message, "error trying to reach service"):
		return "", "" // which is the model's
	}
	return "the API server did not pass the question on: " + message, "run the job again"
}

// ofProxy reports whether the answer may be that of a proxy of the runner's network,
// about what it does not let pass or cannot reach: nobody can tell whether it was
// the model that used these words.
func (a Answer) ofProxy() bool {
	return a.forwarded && slices.Contains([]int{
		http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}, a.Code)
}

// status is an answer of the API server itself.
func (a Answer) status() (metav1.Status, bool) {
	var s metav1.Status
	if !strings.Contains(string(a.raw), `"Status"`) || json.Unmarshal(a.raw, &s) != nil {
		return s, false
	}
	return s, s.Kind == "Status" && s.APIVersion == "v1" && s.Status == metav1.StatusFailure
}

// head is the beginning of a body, without what must not leave the cluster.
func head(raw []byte) string {
	text := string(raw[:min(len(raw), bodyLimit)])
	var status metav1.Status
	if len(raw) < 1<<16 && json.Unmarshal(raw, &status) == nil && status.Kind == "Status" && status.Message != "" {
		text = status.Message // the API server's own words
	}
	return strings.TrimSpace(redact.Secrets(strings.ToValidUTF8(text, "")))
}

// reason is why there was no answer.
func reason(err error, within time.Duration) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer within " + retry.FormatDuration(within)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer"
	}
	return line(err.Error())
}

// line is foreign text, harmless within a sentence.
func line(text string) string { return redact.Line(text, phraseLimit) }
