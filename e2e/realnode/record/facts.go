package record

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Facts are what a record says, each in one line and once, sorted. Statuses
// fall apart into their parts: which of them a watcher sees together, and how
// often something short-lived is seen at all, depends on how busy the node is.
func (r Record) Facts() []string {
	facts := map[string]bool{}
	for _, s := range r.Statuses {
		s.facts(func(f string) { facts[f] = true })
	}
	for _, e := range r.Events {
		facts[fmt.Sprintf("event %s %s (%s): %s", e.Type, e.Reason, strings.TrimSuffix(e.From+", "+e.About, ", "), e.Message)] = true
	}
	for name, log := range r.Logs {
		facts[fmt.Sprintf("log of %s: %q", name, pulling(log.Current))] = true
		facts[fmt.Sprintf("log of %s, previous: %q", name, pulling(log.Previous))] = true
	}
	all := make([]string, 0, len(facts))
	for f := range facts {
		all = append(all, f)
	}
	slices.Sort(all)
	return all
}

// removed is the kubelet's answer for the log of a container that it has removed
// already, which it does with those that ended, sooner or later.
const removed = "unable to retrieve container logs for "

// Differ tells what a record lacks of another, and what it has besides: facts
// that nobody can miss, unless the caller lets them pass.
func Differ(want, got Record, passes func(fact string) bool) (lacks, besides []string) {
	want.Logs, got.Logs = maps.Clone(want.Logs), maps.Clone(got.Logs)
	for name, a := range want.Logs {
		if b, ok := got.Logs[name]; ok && (strings.HasPrefix(a.Previous, removed) || strings.HasPrefix(b.Previous, removed)) {
			a.Previous = b.Previous
			want.Logs[name] = a
		}
	}
	a, b := want.Facts(), got.Facts()
	other := func(these, those []string) (only []string) {
		for _, f := range these {
			if !slices.Contains(those, f) && !short(f) && !passes(f) {
				only = append(only, f)
			}
		}
		return only
	}
	return other(a, b), other(b, a)
}

// pulling is the kubelet's answer for the log of a container without an image,
// which differs between an attempt to pull it and the pause before the next.
func pulling(log string) string {
	return strings.Replace(log, "is waiting to start: image can't be pulled", "is waiting to start: trying and failing to pull image", 1)
}

// short tells whether a fact may be over before anybody sees it. What a
// container ended with is kept as what was before.
func short(fact string) bool {
	if strings.HasSuffix(fact, ", ID ") { // of a container that is being created
		return true
	}
	for _, part := range []string{": running;", ": terminated ", ": waiting ContainerCreating;", ": waiting PodInitializing;", "PodReadyToStartContainers=False"} {
		if strings.Contains(fact, part) && !strings.Contains(fact, " before: ") {
			return true
		}
	}
	return false
}

func (s Status) facts(add func(string)) {
	add(strings.TrimSpace(fmt.Sprintf("pod %s %s %s", s.Phase, s.Reason, s.Message)))
	for _, c := range s.Conditions {
		detail := ""
		if c.Reason != "" || c.Message != "" {
			detail = fmt.Sprintf(" (%s: %s)", c.Reason, c.Message)
		}
		add(fmt.Sprintf("pod %s=%s%s", c.Type, c.Status, detail))
	}
	for _, c := range s.InitContainers {
		c.facts("init container "+c.Name, add)
	}
	for _, c := range s.Containers {
		c.facts("container "+c.Name, add)
	}
}

func (c Container) facts(name string, add func(string)) {
	add(fmt.Sprintf("%s image %s, ID %s", name, c.Image, c.ImageID))
	if c.Last != (State{}) {
		add(fmt.Sprintf("%s before: %s", name, c.Last))
	}
	state := c.State
	if state.Reason == "CrashLoopBackOff" && c.Restarts > 0 {
		// A busy kubelet counts an attempt to start it that the status does not show
		// yet, or tells of the pause before.
		for restarts := max(1, c.Restarts-1); restarts <= c.Restarts+1; restarts++ {
			state.Message = strings.Replace(state.Message, "back-off "+backOff(restarts)+" ", "back-off DELAY ", 1)
		}
	}
	add(fmt.Sprintf("%s: %s; ready %t, started %s", name, state, c.Ready, c.Started))
}

// backOff is how long the kubelet waits after so many restarts: which of them
// is seen is chance, and that they are as long as that is not.
func backOff(restarts int32) string {
	return min(10*time.Second<<min(restarts-1, 5), 5*time.Minute).String()
}

// String is the state in words.
func (s State) String() string {
	words := []string{s.State}
	if s.Reason != "" {
		words = append(words, s.Reason)
	}
	if s.State == "terminated" {
		words = append(words, fmt.Sprintf("exit code %d", s.ExitCode))
	}
	if s.Message != "" {
		words = append(words, fmt.Sprintf("%q", s.Message))
	}
	return strings.Join(words, " ")
}
