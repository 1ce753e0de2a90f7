// Package rollout waits until what was written serves, and goes on serving: for the
// generation that each write returned, on watches that begin at its version, until
// every object is ready, its containers have run for a while, and its Services lead
// to them; until one cannot become so, or time is up. What time alone proves, or a
// silent watch seems to, is read again before it is a verdict. It also deletes pods
// that would keep a restored StatefulSet from going back.
//
// What ready means is left to readiness, why something is not to diagnosis, and
// what is written in which order to apply.
package rollout

import (
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/org/deploy-model-action/pkg/diagnosis"
	"github.com/org/deploy-model-action/pkg/kube"
	"github.com/org/deploy-model-action/pkg/object"
)

const (
	defaultTimeout = 10 * time.Minute
	defaultPersist = 60 * time.Second
	defaultEvery   = 30 * time.Second
)

// Options say how long to wait, and who hears of it.
type Options struct {
	// Timeout bounds the wait. The default is 10 minutes.
	Timeout time.Duration
	// FailFast ends the wait as soon as a failure is certain. The default is to
	// wait for the timeout, as what failed may still heal; only what no time can
	// heal, such as an object that was deleted, is not waited for.
	FailFast bool
	// Persist is how long a state has to last until it proves a failure. The default is 60 seconds.
	Persist time.Duration
	// Progress takes a line about an object when something changes, and every
	// Every. It is never called concurrently. The default is to drop it.
	Progress func(line string)
	// Warn takes what a user should know of at once; each is given a single time.
	// It is never called concurrently. The default is Progress.
	Warn func(line string)
	// Steady is how long the containers have to have run of a bare pod that stands for
	// a workload whose minReadySeconds says so, or of a restored workload whose manifest
	// said so. The default is 10 seconds.
	Steady map[object.ID]time.Duration
	// VerifiedAt is when what is there was observed to serve by an earlier deploy. The
	// default is that none did.
	VerifiedAt time.Time
	// Unverified reports whether a run left what it changed without having observed
	// that it serves, and whether it ended by itself, and said so; "" is no run of
	// this action. What it left is not taken for ill before this deploy, unless it was
	// said and this deploy is about other pods. The default is that none did.
	Unverified func(run string) (unverified, ended bool)
	// Ahead is watches that began beside the writes. The default is none. Whoever
	// began them ends them.
	Ahead Ahead
	// Every is the longest silence about an object that is waited for. The default is 30 seconds.
	Every time.Duration
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.Persist <= 0 {
		o.Persist = defaultPersist
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Warn == nil {
		o.Warn = o.Progress
	}
	if o.Every <= 0 {
		o.Every = defaultEvery
	}
	return o
}

// Status is what became of one object.
type Status struct {
	kube.Change
	// Live is the object as it was observed last.
	Live *unstructured.Unstructured
	// Ready says that nothing is left to wait for. It is true also for what is
	// not waited for.
	Ready bool
	// Waited says that readiness was looked for. It is false for kinds that know
	// none, such as ConfigMap, and for what cannot be waited for, such as a suspended
	// Job; Message then says why.
	Waited bool
	// Message is the state in a few words, e.g. "3 of 3 updated, 3 ready, 3 available".
	Message string
	// Began and Ended are when the wait for it began and ended.
	Began, Ended time.Time
	// Failure is why it is not ready; nil if it is, or if nobody asked since
	// another object had failed.
	Failure *diagnosis.Failure

	known *state // what Confirm begins with
}

// String is the progress line of the object, e.g. "deployment.apps/x: 1 of 3 updated".
func (s Status) String() string {
	if s.Message == "" {
		return s.ID().Resource()
	}
	return s.ID().Resource() + ": " + s.Message
}
