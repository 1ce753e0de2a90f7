package readiness

import (
	"fmt"
	"strings"

	"github.com/org/deploy-model-action/pkg/object"
)

// gateway waits until the data plane was told of the Gateway.
func gateway(v view) Result {
	c, ok := v.condition("Programmed")
	if ok && c.Status == "True" && c.About(v.generation()) {
		message := "programmed"
		if given := object.GatewayAddresses(v.live); len(given) > 0 {
			message += ", address " + strings.Join(given, ", ")
		}
		return Result{Outcome: Ready, Message: message}
	}
	if accepted, _ := v.condition("Accepted"); accepted.Status == "False" && accepted.About(v.generation()) {
		return Result{Message: "not accepted by its controller: " + because(accepted)}
	}
	if ok && c.Status == "False" && c.About(v.generation()) {
		return Result{Message: "not programmed yet: " + because(c)}
	}
	return Result{Message: "waiting for its controller to program it"}
}

// route waits until every parent that the route names accepts it.
func route(v view) Result {
	parents := object.List(v.live.Object, "spec", "parentRefs")
	answers := object.List(v.live.Object, "status", "parents")
	for _, parent := range parents {
		ref, _ := parent.(map[string]any)
		name := fmt.Sprintf("%s %v", refKind(ref), ref["name"])
		c, ok := v.answered(ref, answers)
		switch {
		case !ok:
			return Result{Message: "waiting for " + name + " to accept it"}
		case c.Type == "ResolvedRefs" && c.Status != "True":
			return Result{Message: name + " cannot resolve what it leads to: " + because(c)}
		case c.Status != "True":
			return Result{Message: "not accepted by " + name + ": " + because(c)}
		}
	}
	return Result{Outcome: Ready, Message: "accepted"}
}

// answered finds what a parent says about the generation that counts: the first
// of what it does not grant, or else that it accepts. A route that it accepts and
// whose backends it cannot resolve is answered with an error.
func (v view) answered(ref map[string]any, answers []any) (object.Condition, bool) {
	for _, item := range answers {
		answer, _ := item.(map[string]any)
		parent, _ := answer["parentRef"].(map[string]any)
		if v.sameParent(ref, parent) {
			return v.granted(answer)
		}
	}
	return object.Condition{}, false
}

// granted evaluates the conditions of one parent.
func (v view) granted(answer map[string]any) (object.Condition, bool) {
	list, _ := answer["conditions"].([]any)
	all := object.ReadConditions(list)
	for _, kind := range []string{"Accepted", "ResolvedRefs"} {
		c, ok := object.FindCondition(all, kind)
		if ok && c.About(v.generation()) && c.Status != "True" {
			return c, true
		}
		if ok && !c.About(v.generation()) {
			return object.Condition{}, false
		}
	}
	return object.FindCondition(all, "Accepted")
}

// pool evaluates an InferencePool. Only what refers to it, a route, gives it a
// parent that answers; the controller's own placeholder is none.
func pool(v view) Result {
	answers := object.List(v.live.Object, "status", "parents")
	if len(answers) == 0 {
		answers = object.List(v.live.Object, "status", "parent") // before v1
	}
	accepted := 0
	for _, item := range answers {
		answer, _ := item.(map[string]any)
		ref, _ := answer["parentRef"].(map[string]any)
		if ref == nil || ref["kind"] == "Status" {
			continue
		}
		name := fmt.Sprintf("%s %v", refKind(ref), ref["name"])
		c, ok := v.granted(answer)
		switch {
		case !ok:
			return Result{Message: "waiting for " + name + " to accept it"}
		case c.Status != "True":
			return Result{Message: "not accepted by " + name + ": " + because(c)}
		}
		accepted++
	}
	if accepted > 0 {
		return Result{Outcome: Ready, Message: "accepted"}
	}
	if left := patience - v.Elapsed; v.Changed && left > 0 {
		return Result{Message: "waiting for a Gateway to accept it", RecheckAfter: left}
	}
	return Result{Outcome: NotWaitedFor, Warning: "no Gateway has taken it up, as no route leads to it: it serves nothing; not waited for any longer"}
}

func (v view) sameParent(a, b map[string]any) bool {
	namespace := func(m map[string]any) any {
		if m["namespace"] == nil {
			return v.live.GetNamespace()
		}
		return m["namespace"]
	}
	return b != nil && refKind(a) == refKind(b) && a["name"] == b["name"] && namespace(a) == namespace(b) &&
		a["sectionName"] == b["sectionName"] && a["port"] == b["port"]
}

func refKind(ref map[string]any) string {
	if kind, ok := ref["kind"].(string); ok {
		return kind
	}
	return "Gateway"
}
