package cluster

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/org/deploy-model-action/pkg/google"
	"github.com/org/deploy-model-action/pkg/wire"
)

// Explain turns the error of requests through a Client into what a user can act
// on: an *UnreachableError, *UnauthorizedError, *ForbiddenError, *google.RefusedError
// or *EndpointError. Joined errors are explained one by one and stay joined;
// what is not understood stays as it is. Where another package's error says
// already what Kubernetes refused, that error is kept, and one *ForbiddenError
// that tells how to grant all of it is joined to them.
func (c *Cluster) Explain(err error) error {
	leaves := separate(err)
	var (
		out     []error
		said    []string
		denials denials
		changed bool
	)
	add := func(e error) {
		if text := e.Error(); !slices.Contains(said, text) {
			said, out = append(said, text), append(out, e)
		}
	}
	for _, leaf := range leaves {
		if explained(leaf) {
			return err
		}
		if several(leaf) {
			out = append(out, leaf)
			continue
		}
		if e := c.explain(leaf); e != nil {
			add(e)
			changed = true
			continue
		}
		if !denials.collect(leaf) {
			out = append(out, leaf)
		}
	}
	if denied := c.denied(denials); denied != nil {
		add(denied)
		changed = true
	}
	switch {
	case !changed:
		return err
	case len(out) == 1:
		return out[0]
	}
	return errors.Join(out...)
}

// explain explains one error; nil if there is nothing to add to it.
func (c *Cluster) explain(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	var (
		token *tokenError
		door  *frontError
		long  *wire.LongError
	)
	switch {
	case errors.As(err, &long):
		return c.endless(long)
	case errors.As(err, &token):
		return token.err
	case errors.As(err, &door):
		return door.err
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		if status.Status().Code == http.StatusUnauthorized {
			return &UnauthorizedError{Name: c.Name, Principal: c.principal, Err: err}
		}
		return nil
	}
	if e := c.unreachable(err); e != nil {
		return e
	}
	return nil
}

// explained says that an error is of this package's making.
func explained(err error) bool {
	switch err.(type) { //nolint:errorlint // what wraps one says something more
	case *UnreachableError, *UnauthorizedError, *ForbiddenError, *google.RefusedError, *EndpointError:
		return true
	}
	return false
}

// several says that an error has words of its own about more than one other, of
// which no single one would say as much.
func several(err error) bool {
	for err != nil {
		if list, ok := err.(interface{ Unwrap() []error }); ok {
			return len(list.Unwrap()) > 1
		}
		err = errors.Unwrap(err)
	}
	return false
}

// separate takes joined errors apart. What adds words of its own to several
// errors stays whole.
func separate(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var texts []string
	var all []error
	for _, e := range joined.Unwrap() {
		if e != nil {
			texts, all = append(texts, e.Error()), append(all, separate(e)...)
		}
	}
	if strings.Join(texts, "\n") != err.Error() {
		return []error{err}
	}
	return all
}
