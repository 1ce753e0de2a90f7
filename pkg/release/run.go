package release

import (
	"cmp"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/org/deploy-model-action/pkg/redact"
)

// Run is a run of a workflow, as its record names it. The zero value is a run
// by hand, which is newer than all that claimed before it.
type Run struct {
	// ID is GITHUB_RUN_ID, which grows from run to run of one GitHub; 0 by hand.
	ID int64 `json:"run,omitempty"`
	// Attempt is 1 for a first attempt; more is a person who runs it again.
	Attempt int `json:"attempt,omitempty"`
	// Commit is what the run deploys.
	Commit string `json:"commit,omitempty"`
	// URL is the run's page; "" by hand.
	URL        string `json:"url,omitempty"`
	Repository string `json:"repository,omitempty"`
	Actor      string `json:"actor,omitempty"`
	Event      string `json:"event,omitempty"`
	Workflow   string `json:"workflow,omitempty"`
	// Candidate says that the run makes candidates, which whoever takes over removes.
	Candidate bool `json:"candidate,omitempty"`
}

// RunOf returns the run that the environment of a workflow's step speaks of, by
// hand if it speaks of none. Commit is GITHUB_SHA; whoever deploys another sets it.
func RunOf(getenv func(string) string) (Run, error) {
	run := Run{
		Commit: getenv("GITHUB_SHA"), Repository: getenv("GITHUB_REPOSITORY"), Actor: cmp.Or(getenv("GITHUB_TRIGGERING_ACTOR"), getenv("GITHUB_ACTOR")),
		Event: getenv("GITHUB_EVENT_NAME"), Workflow: getenv("GITHUB_WORKFLOW"),
	}
	id := getenv("GITHUB_RUN_ID")
	if id == "" {
		return run, nil
	}
	var err error
	if run.ID, err = strconv.ParseInt(id, 10, 64); err != nil || run.ID <= 0 {
		return run, fmt.Errorf("GITHUB_RUN_ID %q: is not the number of a run, by which the newer of two runs is known: leave it as GitHub sets it, or unset it for a deploy by hand", redact.Line(id, 40))
	}
	run.Attempt = 1
	if attempt := getenv("GITHUB_RUN_ATTEMPT"); attempt != "" {
		if run.Attempt, err = strconv.Atoi(attempt); err != nil || run.Attempt <= 0 {
			return run, fmt.Errorf("GITHUB_RUN_ATTEMPT %q: is not the number of an attempt: leave it as GitHub sets it, or unset it", redact.Line(attempt, 40))
		}
	}
	if server := getenv("GITHUB_SERVER_URL"); server != "" && run.Repository != "" {
		run.URL = fmt.Sprintf("%s/%s/actions/runs/%d/attempts/%d", strings.TrimRight(server, "/"), run.Repository, run.ID, run.Attempt)
	}
	return run, nil
}

// String names the run as marks on objects do: "123-1", or "by hand".
func (r Run) String() string {
	if r.byHand() {
		return "by hand"
	}
	return fmt.Sprintf("%d-%d", r.ID, r.Attempt)
}

func (r Run) byHand() bool { return r.ID == 0 }

// again reports whether a person asked for this attempt after the first.
func (r Run) again() bool { return r.Attempt > 1 }

// olderThan orders two runs of one GitHub by number and attempt.
func (r Run) olderThan(other Run) bool {
	return cmp.Or(cmp.Compare(r.ID, other.ID), cmp.Compare(r.Attempt, other.Attempt)) < 0
}

// comparable reports whether the numbers of two runs come from one GitHub. Those
// of another server say nothing: who moves from one to the other must not wait
// until its numbers have caught up.
func (r Run) comparable(other Run) bool {
	mine, theirs := server(r.URL), server(other.URL)
	return mine == "" || theirs == "" || mine == theirs
}

func server(link string) string {
	u, err := url.Parse(link)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// bounded returns the run with every text as one line of a length that a record
// has room for.
func (r Run) bounded() Run {
	r.Commit = redact.Line(r.Commit, 128)
	r.URL = redact.Line(r.URL, 500)
	r.Repository = redact.Line(r.Repository, 200)
	r.Actor = redact.Line(r.Actor, 100)
	r.Event = redact.Line(r.Event, 60)
	r.Workflow = redact.Line(r.Workflow, 200)
	return r
}

// SupersededError says that another run has the release: nothing may be written
// any more, and nothing restored.
type SupersededError struct {
	// By is the run that has it now, or that claimed it and is newer.
	By Run
}

func (e *SupersededError) Error() string {
	text := "superseded by "
	if e.By.byHand() {
		text += "a deploy by hand"
		if e.By.Actor != "" {
			text += " of " + redact.Line(e.By.Actor, 100)
		}
	} else {
		text += fmt.Sprintf("run %d", e.By.ID)
		if e.By.again() {
			text += fmt.Sprintf(" (attempt %d)", e.By.Attempt)
		}
	}
	if e.By.Commit != "" {
		text += " of commit " + short(e.By.Commit)
	}
	if e.By.URL != "" {
		text += ": " + redact.Line(e.By.URL, 500)
	}
	return text
}

// Title names the error in a few words.
func (e *SupersededError) Title() string { return "Superseded" }

// short is a commit as people write it.
func short(commit string) string {
	if commit = redact.Line(commit, 128); len(commit) == 40 {
		return commit[:7]
	}
	return commit
}
