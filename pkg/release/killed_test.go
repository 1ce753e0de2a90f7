package release

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestKilled kills a process at every boundary between two requests, of a first
// and of a changed deploy, of one that succeeds, one that rolls back and one that
// takes over; what comes then always gets on: the rerun, a newer run, and a newer
// one that fails, whose way back leads to what was last verified.
func TestKilled(t *testing.T) {
	t.Parallel()
	converged := 0
	for _, tt := range []struct {
		name   string
		before []process // that ran before, alone; killed ones take over nothing
		fails  bool
		alone  bool // the claim goes out without a log
	}{
		{name: "first"},
		{name: "first, fails", fails: true},
		{name: "changed", before: []process{{run: run(1), commit: 1}}},
		{name: "changed, fails", before: []process{{run: run(1), commit: 1}}, fails: true},
		{name: "unchanged", alone: true, before: []process{{run: run(1), commit: 3}}},
		{name: "takes over", alone: true, before: []process{{run: run(1), commit: 1}, {run: run(2), commit: 2, outcome: "killed"}}},
		{name: "takes over, fails", alone: true, before: []process{{run: run(1), commit: 1}, {run: run(2), commit: 2, outcome: "killed"}}, fails: true},
	} {
		for _, first := range []string{"configmaps", "secrets"} {
			if first == "secrets" && tt.alone {
				continue // nothing is sent at the same time
			}
			for then := range 3 {
				for n := 0; ; n++ {
					if n > 40 {
						t.Fatalf("%s: no end", tt.name)
					}
					s := world(t)
					s.watchNewest(t)
					var all []*process
					for _, b := range tt.before {
						b.client = s.client(t, nil)
						if b.outcome == "killed" {
							b.outcome = ""
							b.client = s.client(t, killedAfter(6)) // it has written one of two objects
						}
						b.deploy(t.Context())
						all = append(all, &b)
					}
					p := &process{run: run(3), commit: 3, fails: tt.fails}
					p.client = s.client(t, func(base http.RoundTripper) http.RoundTripper {
						return &ordered{base: killedAfter(n)(base), first: first, done: make(chan struct{})}
					})
					p.deploy(t.Context())
					all = append(all, p)
					if p.err != nil {
						t.Errorf("%s: %v", tt.name, p.err)
					}
					var problems []string
					final(t, s, all, then, func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) })
					if len(problems) > 0 {
						t.Errorf("%s, %s first, killed after %d requests, then %d: %s\n%s", tt.name, first, n, then, strings.Join(problems, "; "), strings.Join(s.requests(), "\n"))
					}
					s.Close()
					converged++
					if p.outcome != "" {
						break
					}
				}
			}
		}
	}
	t.Logf("%d of %d converge", converged, converged)
}

// ordered lets the two requests of a claim through one after the other.
type ordered struct {
	base  http.RoundTripper
	first string        // of which resource
	done  chan struct{} // the first has been carried out
}

func (o *ordered) RoundTrip(r *http.Request) (*http.Response, error) {
	request := describeRequest(r)
	record := request == "POST configmaps" || request == "PUT configmaps/deploy-model-action.model"
	log := request == "POST secrets"
	if !record && !log {
		return o.base.RoundTrip(r)
	}
	isFirst := log == (o.first == "secrets")
	if !isFirst {
		select {
		case <-o.done:
		case <-r.Context().Done():
		}
		return o.base.RoundTrip(r)
	}
	response, err := o.base.RoundTrip(r)
	select {
	case <-o.done:
	default:
		close(o.done)
	}
	return response, err
}
