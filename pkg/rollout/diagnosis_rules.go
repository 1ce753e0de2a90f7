package rollout

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// verdict is what a look at an object's pods shows.
type verdict struct {
	failure *Failure      // certain now: what has to persist did
	waiting string        // what the pods wait for; "" unknown
	unknown string        // why that is unknown
	warning string        // to be shown at once; given a single time
	again   time.Duration // when persistence wants another look; 0: only on change
}

// look judges what follow has seen so far. It asks nobody.
//
// A state fails the rollout in one of three ways: at once and on any pod, if no
// time can heal it; at once on every new pod, if it used up its error budget; or
// on every new pod after it lasted. Everything else is only told.
func (d *diagnosis) look(live *unstructured.Unstructured) verdict {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.show(live)
	if d.kind == "" {
		return verdict{}
	}
	pods := d.suspects(live)
	v := verdict{waiting: d.waiting(live, pods), unknown: d.missing["pods"], warning: d.warning(pods)}
	if f, ok, again := d.failed(live, pods, now); ok {
		v.failure = d.failure(f)
		return v
	} else if again > 0 {
		v.again = again
	}
	refusal := d.refusal(live)
	if refusal.class != healthy {
		v.waiting = refusal.cause
	}
	d.refuse(&v, refusal, len(pods), now)
	return v
}

// suspect is a pod that may keep the rollout from its end, and what it suffers from.
type suspect struct {
	*track
	symptom
	earlier bool // of an earlier revision
}

// suspects are the pods of the new revision, and those that it waits for.
func (d *diagnosis) suspects(live *unstructured.Unstructured) []suspect {
	var all []suspect
	for _, t := range d.current(live) {
		all = append(all, suspect{t, t.symptom, false})
	}
	for _, t := range d.blocking(live) {
		s := t.symptom
		if s.class != healthy {
			s = t.blocks(s)
		}
		all = append(all, suspect{t, s, true})
	}
	return all
}

// blocks says that a pod of an earlier revision keeps the rollout from its beginning.
func (t *track) blocks(s symptom) symptom {
	s.key = "earlier " + s.key
	s.cause = t.blockedBy(s.cause)
	s.fix = fmt.Sprintf("delete that pod, which is then made anew from the new revision: kubectl delete pod %s --namespace=%s", t.pod.Name, t.pod.Namespace)
	return s
}

func (t *track) blockedBy(cause string) string {
	return fmt.Sprintf("pod %q of an earlier revision is not ready (%s), and a StatefulSet updates no pod before it is (kubernetes/kubernetes#67250)", t.pod.Name, cause)
}

// failed applies the rules to the pods. It returns the one that decides, or
// when to look again.
func (d *diagnosis) failed(live *unstructured.Unstructured, pods []suspect, now time.Time) (decides suspect, ok bool, again time.Duration) {
	sameImage := map[string]int{}
	for _, s := range pods {
		if s.class == certainOnce {
			sameImage[s.image]++
		}
	}
	ripe := 0
	for _, s := range pods {
		lasts := s.lasts
		switch s.class {
		case healthy, passing:
			continue
		case persisting:
			lasts = d.options.Persist
		case certainOnce:
			if sameImage[s.image] > 1 {
				lasts = 0 // another pod's attempt had the same answer
			}
		}
		if left := s.since.Add(lasts).Sub(now); lasts > 0 && left > 0 {
			if again == 0 || left < again {
				again = left
			}
			continue
		}
		if s.class == certainOnce {
			return s, true, 0
		}
		ripe++
		if decides.track == nil || s.class > decides.class {
			decides = s
		}
	}
	return decides, ripe > 0 && ripe >= d.quorum(live, len(pods)), again
}

// quorum is how many of the new pods have to fail until the workload does. The
// pods of a StatefulSet are updated one after the other, so one stops all; a
// Job's pods are equal; of other workloads the pods may differ by their node.
func (d *diagnosis) quorum(live *unstructured.Unstructured, pods int) int {
	switch d.kind {
	case "StatefulSet", "Job", "Pod":
		return 1
	}
	if wantedPods(live) == 1 {
		return 1
	}
	return pods
}

// refuse applies the rules to pods that cannot be created. As long as pods come, the time begins again.
func (d *diagnosis) refuse(v *verdict, s symptom, pods int, now time.Time) {
	key := fmt.Sprintf("%s %d", s.key, pods)
	if s.class == healthy {
		key = ""
	}
	if d.refused.key != key {
		d.refused.key, d.refused.since = key, now
	}
	if s.class < persisting {
		return
	}
	left := d.refused.since.Add(d.options.Persist).Sub(now)
	if left <= 0 {
		v.failure = d.failure(suspect{symptom: s})
		return
	}
	if v.again == 0 || left < v.again {
		v.again = left
	}
}

func (d *diagnosis) failure(s suspect) *Failure {
	f := &Failure{Object: kindAndName(d.target.Object), Reason: s.reason, Cause: s.cause, Fix: s.fix, Container: s.symptom.container}
	if s.track != nil {
		f.Pod = s.pod.Name
	}
	return f
}
