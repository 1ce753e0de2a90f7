package actions

import (
	"encoding/json"
	"io"
	"os"
)

// maxEvent bounds the payload of an event; GitHub's own bound is 25 MiB.
const maxEvent = 32 << 20

// Event is what the payload says of the event that started the run.
type Event struct {
	// PullRequest is the number of the pull request that it is about; 0 for none.
	PullRequest int
	// Fork says that what it is about comes from a fork, or may: the payload of a
	// comment on a pull request does not say from where that is.
	Fork bool
}

// repository is a repository in a payload.
type repository struct {
	FullName string `json:"full_name"`
}

// Event reads the payload. What cannot be read says nothing.
//
// GITHUB_EVENT_PATH
func (w *Workflow) Event() Event {
	path := w.getenv("GITHUB_EVENT_PATH")
	if path == "" {
		return Event{}
	}
	file, err := os.Open(path)
	if err != nil {
		return Event{}
	}
	defer file.Close()
	var payload struct {
		Repository  repository `json:"repository"`
		PullRequest *struct {
			Number int `json:"number"`
			Head   struct {
				Repo *repository `json:"repo"`
			} `json:"head"`
		} `json:"pull_request"`
		WorkflowRun *struct {
			Head *repository `json:"head_repository"`
		} `json:"workflow_run"`
		Issue *struct {
			Number      int              `json:"number"`
			PullRequest *json.RawMessage `json:"pull_request"`
		} `json:"issue"`
	}
	if json.NewDecoder(io.LimitReader(file, maxEvent)).Decode(&payload) != nil {
		return Event{}
	}
	var e Event
	// A fork that was deleted has no name.
	elsewhere := func(head *repository) bool { return head == nil || head.FullName != payload.Repository.FullName }
	switch {
	case payload.PullRequest != nil:
		e.PullRequest, e.Fork = payload.PullRequest.Number, elsewhere(payload.PullRequest.Head.Repo)
	case payload.WorkflowRun != nil:
		e.Fork = elsewhere(payload.WorkflowRun.Head)
	case payload.Issue != nil && payload.Issue.PullRequest != nil:
		e.PullRequest, e.Fork = payload.Issue.Number, true
	}
	return e
}
