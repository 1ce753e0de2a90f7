package record

import (
	"fmt"
	"slices"
	"strings"
)

// Facts are what a record says, each in one line and once, sorted. Statuses
// fall apart into the pod's part and each container's: which of them a watcher
// sees together depends on how busy the node was.
func (r Record) Facts() []string {
	facts := map[string]bool{}
	for _, s := range r.Statuses {
		facts[s.podFact()] = true
		for _, c := range s.InitContainers {
			facts["init "+c.fact()] = true
		}
		for _, c := range s.Containers {
			facts[c.fact()] = true
		}
	}
	for _, e := range r.Events {
		facts[fmt.Sprintf("event %s %s (%s): %s", e.Type, e.Reason, strings.TrimSuffix(e.From+", "+e.About, ", "), e.Message)] = true
	}
	for name, log := range r.Logs {
		facts[fmt.Sprintf("log of %s: %q", name, log.Current)] = true
		facts[fmt.Sprintf("log of %s, previous: %q", name, log.Previous)] = true
	}
	all := make([]string, 0, len(facts))
	for f := range facts {
		all = append(all, f)
	}
	slices.Sort(all)
	return all
}

func (s Status) podFact() string {
	var b strings.Builder
	b.WriteString("pod " + s.Phase)
	if s.Reason != "" || s.Message != "" {
		fmt.Fprintf(&b, " %s %q", s.Reason, s.Message)
	}
	for _, c := range s.Conditions {
		fmt.Fprintf(&b, ", %s=%s", c.Type, c.Status)
		if c.Reason != "" || c.Message != "" {
			fmt.Fprintf(&b, " (%s: %s)", c.Reason, c.Message)
		}
	}
	return b.String()
}

func (c Container) fact() string {
	last := ""
	if c.Last != (State{}) {
		last = "; before: " + c.Last.String()
	}
	return fmt.Sprintf("container %s: %s%s; restarts %d, ready %t, started %s; image %s, ID %s", c.Name, c.State, last, c.Restarts, c.Ready, c.Started, c.Image, c.ImageID)
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
