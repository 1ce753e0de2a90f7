package deploy

import (
	"slices"
	"time"
)

// Outcome is how a deploy ended, in the words of the output `outcome`.
type Outcome string

// The outcomes.
const (
	Deployed   Outcome = "deployed"    // something changed, and it serves
	Unchanged  Outcome = "unchanged"   // nothing had to change, and it serves
	Planned    Outcome = "planned"     // nothing was changed: what a deploy would do is known
	Superseded Outcome = "superseded"  // a newer run took over, and what it deploys counts
	RolledBack Outcome = "rolled-back" // it failed, and what was there before is there again
	Failed     Outcome = "failed"      // it failed; the cluster may hold what failed
	Cancelled  Outcome = "cancelled"   // the runner cancelled the step
)

// Exit codes of the program. A workflow cannot read them, so the output
// `outcome` says the same; they are for whoever runs the image by hand.
const (
	ExitOK        = 0 // also superseded: the newer run's job has the verdict
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
	Warnings []Problem // what the API server warned of about objects of the manifests
	Notices  []Problem // what is worth knowing, and nothing wrong

	DryRun  bool     // what a deploy would do was asked for, and nothing else
	Offline bool     // and could not be found out, without credentials: the manifests were checked
	Plan    []Intent // what it would do, in the order in which it would

	Cluster   Cluster
	Release   string // name of the set that was deployed
	Commit    string // input sha: what the images are tagged with
	Newer     *Newer // the run that took over; nil if none did
	From      From   // what served before
	Published []Published
	Images    []Image
	Changes   []Change
	Rollouts  []Rollout
	Restored  []Restored
	Failures  []Failure // the diagnosis of each workload that failed
	URL       string
	Host      string   // of the URL: an IP address or a host name
	Internal  bool     // URL is reachable from inside the network only
	Answers   bool     // somebody answers at URL
	Silent    string   // why that is not so, or not known; "" if nobody asked
	Health    string   // what the model answered on health_path, in one line
	Smoke     []Reply  // what it answered to the smoke test
	Unasked   string   // why it could not be asked; "" if it could, or was not to be
	Serving   []string // images that the cluster's objects name when the step ends, as HOST/NAME:SHA@sha256:…; none if that is not known
	Namespace string
	Leaving   []string // objects that the manifests hold no longer, and that stay: "Service default/x"

	Phases            []Phase
	Started, Finished time.Time
}

// Changed reports whether the cluster is, or may be, different from before.
func (r *Result) Changed() bool { return slices.ContainsFunc(r.Changes, Change.Remains) }

// Newer is the run that took over from this one.
type Newer struct {
	Run    string // its number, with its attempt if that is not the first
	URL    string // its page; "" if it was run by hand
	Commit string
}

// From is what served before, as the release's record and the cluster say.
type From struct {
	Commit string // "" for the first deploy of a release
	RunURL string // page of the run that deployed it
	Image  string // HOST/NAME:SHA@sha256:…
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
	Why       string   // why it was that: "by name and commit"

	Uploaded, There, Mounted int // layers that were sent, that were there, and that another repository had
	Bytes                    int64
	Took                     time.Duration
}

// Change is what happened to one object.
type Change struct {
	Kind, Namespace, Name string
	Action                string // created, configured, replaced, unchanged, pruned or uncertain; restored if it was put back
	Line                  string // kubectl's line, e.g. "service/x unchanged"
	File                  string // of the manifest, with its line
	FileLine              int
	Started               time.Time
	Took                  time.Duration
}

// Intent is what a deploy would do to one object.
type Intent struct {
	Change
	// Restarts are what its pods read that is new to them, so that they are replaced.
	Restarts []string
	// Notes are what the log of the deploy would say of it.
	Notes []string
	// Diff are the lines of a unified diff of what would change, as far as it has room.
	Diff []string
}

// Remains reports whether the object is, or may be, different from before.
func (c Change) Remains() bool { return c.Action != "unchanged" && c.Action != actionRestored }

// Rollout is what the wait for one object saw.
type Rollout struct {
	Object            string // "Deployment default/x"
	Ready             bool
	Message           string
	Started, Finished time.Time
}

// Restored is what the rollback did to one object.
type Restored struct {
	Object  string // "Deployment default/x"
	Action  string // restored, left or not restored
	Message string // why, or what of it others hold; "" if there is nothing to add
	// Waited says that it was waited for after it was restored; then Ready says
	// whether it serves, and WasReady whether it did before this deploy.
	Waited, Ready, WasReady bool
	// Unwaited says that the run was cancelled before it was known whether it serves.
	Unwaited bool
}

// Failure is why one object did not become ready.
type Failure struct {
	Object, Reason, Cause, Fix string
	Events                     []string
	Logs                       []string
	LogsOf                     string
	// Earlier counts the pods of an earlier revision that were ready, and so serve on
	// as long as nothing is put back.
	Earlier int
}

// Reply is what the model answered to one request of the smoke test.
type Reply struct {
	Name     string
	Asked    string   // "POST http://203.0.113.7/predict"
	Expected []string // each in words
	Got      string   // the answer, and what was wrong with it
	Right    bool
	Times    int // how often it was right
	// Fastest, Median and Slowest are of the right answers.
	Fastest, Median, Slowest time.Duration
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
