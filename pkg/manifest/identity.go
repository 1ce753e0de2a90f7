package manifest

import "github.com/org/deploy-model-action/pkg/object"

// Find returns the index of the object that the cluster knows by that identity,
// -1 if it is none of the set. A manifest may leave the namespace out, and may
// name one for a kind that has none.
func (s *Set) Find(id object.ID) int {
	found := -1
	for i, o := range s.Objects {
		of := object.Of(o)
		if of.Group != id.Group || of.Kind != id.Kind || of.Name != id.Name {
			continue
		}
		if of.Namespace == id.Namespace {
			return i
		}
		if of.Namespace == "" || id.Namespace == "" {
			found = i
		}
	}
	return found
}
