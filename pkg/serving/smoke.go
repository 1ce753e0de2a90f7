package serving

import (
	"net/http"
	"net/url"
	"time"

	"github.com/org/deploy-model-action/pkg/object"
)

// Bounds of a smoke test, so that a hostile file costs little and an endless
// answer does not hold the job. README names those that a user can meet.
const (
	maxSmokeFile  = 4 << 20  // bytes of the file, and of one that it names
	maxSmokeTotal = 16 << 20 // bytes of all files that it names
	maxRequests   = 100      // in one file
	maxRepeat     = 100      // of one request
	maxAsked      = 1000     // requests in all, repeats counted
	maxConditions = 50       // on one answer
	maxHeaders    = 32
	maxFields     = 100 // of one form
	maxName       = 100 // runes
	maxPath       = 2000
	maxHeader     = 4 << 10 // bytes of one value
	maxNesting    = 100     // levels, of the file and of an answer
	maxWithin     = 10 * time.Minute

	answerLimit = 1 << 20 // bytes of an answer that conditions look at
	// answerTimeout bounds an answer whose request does not say within: large
	// models think longer than a health check.
	answerTimeout = 30 * time.Second
)

// SmokeTest is what a model is asked, and what it has to answer.
type SmokeTest struct {
	File     string // relative to the workspace
	Requests []Request
}

// Request is one question to the model.
type Request struct {
	Name string
	Line int // in the file
	// Method is the HTTP method, and Path where to ask, with its query.
	Method string
	Path   *url.URL
	Header http.Header
	Body   []byte // nil: none
	Expect Expectation
	Repeat int // at least 1
}

// Expectation is what a right answer is.
type Expectation struct {
	Status int // 0: any 2xx
	That   []object.Expression
	Within time.Duration // 0: 30 seconds, which are not part of what is expected
}

// asked is how often the model is asked in all.
func (s *SmokeTest) asked() int {
	n := 0
	for _, r := range s.Requests {
		n += r.Repeat
	}
	return n
}
