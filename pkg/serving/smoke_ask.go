package serving

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
	"github.com/org/deploy-model-action/pkg/retry"
)

// Reply is what became of one request of a smoke test.
type Reply struct {
	Name     string
	Expected []string // in words: "200 OK", "{.prediction} == Earth", "within 2s"
	Answer   Answer   // the last one, or the one that was wrong
	Wrong    string   // what was expected and what came instead; "" if it was right
	Right    int      // how many times it was
	Repeat   int      // how many times it was to be
	// Fastest, Median and Slowest are of the answers that were right.
	Fastest, Median, Slowest time.Duration
}

// String is the reply as one line.
func (r Reply) String() string {
	s := fmt.Sprintf("smoke test %q: %s", r.Name, r.Answer.asked())
	switch {
	case r.Wrong != "":
		return s + ": " + r.Wrong
	case r.Repeat > 1:
		s += fmt.Sprintf(": as expected %d times", r.Right)
	default:
		s += ": as expected"
	}
	s += " (" + r.latency() + ")"
	if body := line(r.Answer.Body); body != "" {
		s += ": " + body
	}
	return s
}

// Asked is the request in a few words.
func (r Reply) Asked() string { return r.Answer.asked() }

// Got is the answer in a few words, or what was wrong with it.
func (r Reply) Got() string {
	if r.Wrong != "" {
		return r.Wrong
	}
	got := r.Answer.result()
	if body := line(r.Answer.Body); body != "" {
		got += ": " + body
	}
	return got
}

// latency is how long the answers took, in words.
func (r Reply) latency() string {
	if r.Right <= 1 {
		return "in " + retry.FormatDuration(r.Slowest)
	}
	return fmt.Sprintf("fastest %s, median %s, slowest %s", retry.FormatDuration(r.Fastest), retry.FormatDuration(r.Median), retry.FormatDuration(r.Slowest))
}

// smoke asks every request, and goes on after a wrong answer only to the next
// request: all that is wrong is worth knowing at once.
func (p *prober) smoke(ctx context.Context) error {
	var wrong []error
	for _, r := range p.SmokeTest.Requests {
		if ctx.Err() != nil {
			wrong = append(wrong, &UnhealthyError{
				What: p.what(r), Service: p.report.Service, Cause: "it was not asked before health_timeout was over", Fix: raiseTimeout,
				file: p.SmokeTest.File, line: r.Line,
			})
			break
		}
		err := p.request(ctx, r)
		var unasked *UnaskedError
		if errors.As(err, &unasked) && len(wrong) == 0 {
			return err // nor would anything else be
		}
		if err != nil && unasked == nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

// raiseTimeout is what to do when the time was out.
const raiseTimeout = "raise health_timeout, or lower repeat"

// what names a request in a sentence.
func (p *prober) what(r Request) string {
	return fmt.Sprintf("smoke test %q (%s:%d)", r.Name, p.SmokeTest.File, r.Line)
}

// request asks one request until it was right as often as it is to be, or is
// wrong for certain. A wrong answer counts when it comes several times, as a load
// balancer may lead to an earlier pod a moment longer; once there was a right one,
// it counts at once.
func (p *prober) request(ctx context.Context, r Request) error {
	q := question{
		method: r.Method, path: r.Path, header: r.Header, body: r.Body, redirects: r.Expect.Status/100 == 3,
		limit: answerLimit, within: answerTimeout,
	}
	if r.Expect.Within > 0 {
		q.within = r.Expect.Within
	}
	reply := Reply{Name: r.Name, Expected: r.Expect.words(), Repeat: r.Repeat}
	var took []time.Duration
	tries, wrong, reported, answered := 0, 0, "", false
	for pause := firstPause; reply.Right < r.Repeat; {
		a := p.ask(ctx, q)
		if ctx.Err() != nil && a.Code == 0 && tries > 0 {
			break // the time was out, which is not what it answers
		}
		tries++
		why := r.Expect.wrong(a)
		unasked, _ := a.unasked()
		if unasked == "" || !answered {
			reply.Answer, reply.Wrong = a, why
		}
		answered = answered || unasked == ""
		if why == "" {
			took = append(took, a.Took)
			reply.Right, reply.Wrong = reply.Right+1, ""
			continue
		}
		if unasked == "" && !a.early() {
			wrong++
		}
		if reply.Right > 0 && unasked == "" || r.Expect.late(a) || wrong >= finalAnswers || p.settled(a, 0) || ctx.Err() != nil {
			break
		}
		if news := fmt.Sprint(a.Code, a.Err); news != reported { // and not each other body
			p.Progress(fmt.Sprintf("smoke test %q: %s: %s; asking again", r.Name, a.asked(), why))
			reported = news
		}
		_ = retry.Sleep(ctx, pause)
		pause = min(2*pause, longestPause)
	}
	reply.Answer.Tries = tries
	if len(took) > 0 {
		slices.Sort(took)
		reply.Fastest, reply.Median, reply.Slowest = took[0], took[len(took)/2], took[len(took)-1]
	}
	expired := reply.Right < r.Repeat && reply.Wrong == ""
	if expired {
		reply.Wrong = fmt.Sprintf("answered %d of %d times before health_timeout was over", reply.Right, r.Repeat)
	}
	p.report.Replies = append(p.report.Replies, reply)
	err := p.smokeVerdict(r, reply)
	var unhealthy *UnhealthyError
	if errors.As(err, &unhealthy) && expired {
		unhealthy.Fix = raiseTimeout
	}
	return err
}

// smokeVerdict is the error of a reply; nil if it was right.
func (p *prober) smokeVerdict(r Request, reply Reply) error {
	if reply.Wrong == "" {
		return nil
	}
	what := p.what(r)
	if why, _ := reply.Answer.unasked(); why != "" {
		return p.unasked(what)
	}
	u := &UnhealthyError{What: what, Service: p.report.Service, Cause: reply.Answer.asked() + ": " + reply.Wrong, file: p.SmokeTest.File, line: r.Line}
	switch a := reply.Answer; {
	case reply.Right == 1 && !r.Expect.fulfilled(a):
		u.Cause += ", after 1 right answer"
	case reply.Right > 1 && !r.Expect.fulfilled(a):
		u.Cause += fmt.Sprintf(", after %d right answers", reply.Right)
	case a.Tries > 1:
		u.Cause += fmt.Sprintf(" (the last of %d tries in %s)", a.Tries, retry.FormatDuration(time.Since(p.started)))
	}
	switch a := reply.Answer; {
	case r.Expect.late(a):
		u.Fix = "make the model faster, or raise within"
	case a.Code == 0 || !r.Expect.status(a.Code):
		u.Fix = advice(a, "the path")
	default:
		u.Fix = "correct the model, or what the smoke test expects"
	}
	return u
}

// early reports whether the answer is that of something that is still starting.
func (a Answer) early() bool {
	switch a.Code {
	case 0, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusTooManyRequests, http.StatusTooEarly:
		return true
	case http.StatusNotFound:
		return a.routed
	}
	return false
}

// late reports whether an answer took longer than it may, which no other answer undoes.
func (e Expectation) late(a Answer) bool { return e.Within > 0 && a.connected && a.Took >= e.Within }

// fulfilled reports whether an answer is right.
func (e Expectation) fulfilled(a Answer) bool { return e.wrong(a) == "" }

// status reports whether a code is the one that is expected.
func (e Expectation) status(code int) bool {
	if e.Status == 0 {
		return code >= 200 && code < 300
	}
	return code == e.Status
}

// words are what is expected, in words.
func (e Expectation) words() []string {
	words := []string{"any 2xx"}
	if e.Status != 0 {
		words[0] = strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	}
	for _, that := range e.That {
		words = append(words, that.String())
	}
	if e.Within > 0 {
		words = append(words, "within "+e.Within.String())
	}
	return words
}

// wrong says what was expected of an answer, and what came; "" if it is right.
func (e Expectation) wrong(a Answer) string {
	body := ""
	if text := line(a.Body); text != "" {
		body = ": " + text
	}
	switch {
	case a.Code == 0:
		return fmt.Sprintf("expected %s, got none: %s", e.words()[0], a.Err)
	case !e.status(a.Code):
		return fmt.Sprintf("expected %s, got %s%s", e.words()[0], a.result(), body)
	case a.Err != "":
		return fmt.Sprintf("expected a whole answer, got the beginning of one: %s%s", a.Err, body)
	case e.Within > 0 && a.Took > e.Within:
		return fmt.Sprintf("expected an answer within %s, got it after %s", e.Within, retry.FormatDuration(a.Took))
	case len(e.That) == 0:
		return ""
	case a.long:
		return fmt.Sprintf("expected JSON of at most %d MiB, got more than that%s", answerLimit>>20, body)
	}
	if !json.Valid(a.raw) {
		return "expected JSON, got something else" + body
	}
	var document any
	if depth(a.raw) > maxNesting || utiljson.Unmarshal(a.raw, &document) != nil {
		return fmt.Sprintf("expected JSON of at most %d levels, got more%s", maxNesting, body)
	}
	var missed []string
	for _, that := range e.That {
		if holds, found := that.Holds(document); !holds {
			missed = append(missed, fmt.Sprintf("expected %s, got %s", line(that.String()), harmless(that, found)))
		}
	}
	if len(missed) == 0 {
		return ""
	}
	return strings.Join(missed, "; ") + body
}

// lastWord is the name of what a path leads to.
var lastWord = regexp.MustCompile(`([\w-]+)\W*\}`)

// harmless is a value that was found, unless its name says that it is a secret.
func harmless(that object.Expression, found string) string {
	if found == "" {
		return "nothing there"
	}
	if name := lastWord.FindStringSubmatch(that.String()); name != nil && redact.Secrets(name[1]+"="+found) != name[1]+"="+found {
		return "[redacted]"
	}
	return line(found)
}

// depth is how deep JSON is nested; strings are skipped.
func depth(raw []byte) int {
	deepest, now, inString := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}
