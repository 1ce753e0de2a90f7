package object

import "k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

// Condition is one condition of an object's status, as its text.
type Condition struct {
	Type, Status, Reason, Message string
	// Updated and Changed are lastUpdateTime and lastTransitionTime, as written.
	Updated, Changed string
	// Generation is the observedGeneration of the condition; 0 if it names none.
	Generation int64
}

// Conditions reads the conditions of an object's status.
func Conditions(u *unstructured.Unstructured) []Condition {
	return ReadConditions(List(u.Object, "status", "conditions"))
}

// ReadConditions reads a list of conditions, as a Gateway has one for each parent.
func ReadConditions(list []any) []Condition {
	all := make([]Condition, 0, len(list))
	for _, item := range list {
		m, _ := item.(map[string]any)
		text := func(key string) string { s, _ := m[key].(string); return s }
		c := Condition{
			Type: text("type"), Status: text("status"), Reason: text("reason"), Message: text("message"),
			Updated: text("lastUpdateTime"), Changed: text("lastTransitionTime"),
		}
		c.Generation, _ = m["observedGeneration"].(int64)
		all = append(all, c)
	}
	return all
}

// ConditionOf finds a condition of the object by its type.
func ConditionOf(u *unstructured.Unstructured, kind string) (Condition, bool) {
	return FindCondition(Conditions(u), kind)
}

// FindCondition finds a condition by its type.
func FindCondition(all []Condition, kind string) (Condition, bool) {
	for _, c := range all {
		if c.Type == kind {
			return c, true
		}
	}
	return Condition{}, false
}

// About reports whether the condition is of that generation or a later one; old
// controllers do not say of which it is, and are believed.
func (c Condition) About(generation int64) bool {
	return c.Generation == 0 || c.Generation >= generation
}
