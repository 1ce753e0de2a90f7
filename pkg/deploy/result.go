package deploy

import (
	"time"
)

// Outcome is how a deploy ended, in the words of the output `outcome`.
type Outcome string

// The outcomes.
const (
	Deployed   Outcome = "deployed"    // something changed, and it serves
	Unchanged  Outcome = "unchanged"   // nothing had to change, and it serves
	RolledBack Outcome = "rolled-back" // it failed, and what was there before is there again
	Failed     Outcome = "failed"      // it failed; the cluster may hold what failed
	Cancelled  Outcome = "cancelled"   // the runner cancelled the step
)

// Exit codes of the program. A workflow cannot read them, so the output
// `outcome` says the same; they are for whoever runs the image by hand.
const (
	ExitOK        = 0
	ExitRefused   = 1 // the cluster, the registry or the rollout refused
	ExitInput     = 2 // wrong input; nothing was contacted
	ExitCancelled = 3 // the runner cancelled the step
)

// Result is all that a deploy learned and did. It is complete also when the
// deploy failed: what was applied until then is in it.
type Result struct {
	Outcome  Outcome
	ExitCode int
	Problems []Problem // what went wrong, ready for annotations; empty on success

	Cluster   Cluster
	Published []Published
	Images    []Image
	Changes   []Change
	Rollouts  []Rollout
	Restored  []Restored
	Failures  []Failure // the diagnosis of each workload that failed
	URL       string
	Host      string // of the URL: an IP address or a host name
	Internal  bool   // URL is reachable from inside the network only
	Health    string // what the model answered on health_path, in one line
	Namespace string

	Phases            []Phase
	Started, Finished time.Time
}

// Changed tells whether the cluster is different from before.
func (r *Result) Changed() bool {
	for _, c := range r.Changes {
		if c.Action != "unchanged" {
			return true
		}
	}
	return false
}

// Cluster is where the deploy went.
type Cluster struct {
	Project, Location, Name string
	Endpoint                string // https://…
	EndpointKind            string // public, internal, dns or connect-gateway
}

// Image is one image that was rewritten in the manifests.
type Image struct {
	Written   string // as the manifests had it
	Reference string // HOST/NAME:SHA
	Digest    string // sha256:…
	Pinned    string // HOST/NAME:SHA@sha256:…
}

// Published is what became of one image that was to be published.
type Published struct {
	Reference string   // HOST/NAME:SHA
	Tags      []string // the further tags that it now has
	Digest    string   // "" if it was not published
	Source    string   // what it was published from

	Uploaded, There, Mounted int // layers that were sent, that were there, and that another repository had
	Bytes                    int64
	Took                     time.Duration
}

// Change is what happened to one object.
type Change struct {
	Kind, Namespace, Name string
	Action                string // created, configured or unchanged
	Line                  string // kubectl's line, e.g. "service/x unchanged"
	File                  string // of the manifest, with its line
	FileLine              int
	Started               time.Time
	Took                  time.Duration
}

// Rollout is what the wait for one object saw.
type Rollout struct {
	Object            string // "Deployment default/x"
	Ready             bool
	Message           string
	Started, Finished time.Time
}

// Restored is what the rollback did to one object.
type Restored struct {
	Object, Action, Message string
}

// Failure is why one object did not become ready.
type Failure struct {
	Object, Reason, Cause, Fix string
	Events                     []string
	Logs                       []string
	LogsOf                     string
}

// Phase is a part of the deploy, for the timeline.
type Phase struct {
	Name              string
	Started, Finished time.Time
	Failed            bool
}

// Problem is one thing that went wrong, in the user's words.
type Problem struct {
	Title   string // a few words
	Message string // the sentence, ending with what to do
	File    string // manifest it is about, relative to the workspace; or ""
	Line    int    // 0: none
}
