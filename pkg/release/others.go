package release

import (
	"context"
	"fmt"

	"github.com/org/deploy-model-action/pkg/object"
)

// Others returns what other releases hold, as their records say, each object with the
// name of one that does: those whose records are in the namespace of this one, or
// everywhere. What another release has left is not among it. Errors that a caller may
// want to know are *ForbiddenError and *UnreadableError; then nobody knows.
func (r *Record) Others(ctx context.Context, everywhere bool) (map[object.ID]string, error) {
	namespace := r.namespace
	if everywhere {
		namespace = ""
	}
	held := map[object.ID]string{}
	var unreadable error
	all, err := eachRecord(ctx, r.client, namespace, func(namespace, name string, s state, err error) {
		switch {
		case namespace == r.namespace && name == r.name:
			return
		case err != nil:
			unreadable = err
		case namespace != r.namespace:
			name += " in namespace " + namespace
		}
		for _, o := range s.inventory {
			if !o.Left {
				held[o.ID] = name
			}
		}
	})
	switch {
	case err != nil:
		return nil, err
	case unreadable != nil:
		return nil, unreadable
	case !all:
		return nil, fmt.Errorf("release record: there are more than %d of them, so it is not known what other releases hold: give the releases to several namespaces", maxListed)
	}
	return held, nil
}
