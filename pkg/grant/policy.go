package grant

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/iam/apiv1/iampb"

	"github.com/org/deploy-model-action/pkg/retry"
)

// trouble is how long others may be faster. Each of many writers has its turn
// after the others', so it may take a while.
const trouble = 5 * time.Minute

// policyVersion is the one that shows conditions. With a lower one, Google hides
// them, and writing back what was read would remove them.
const policyVersion = 3

// result is what became of one role.
type result struct {
	role, what string
	conditions []string // titles of the conditions under which it was there already
}

// String is a line of the output.
func (r result) String() string {
	line := fmt.Sprintf("%-9s %s", r.what, r.role)
	if len(r.conditions) > 0 {
		line += " (there already under the condition " + strings.Join(r.conditions, ", ") + ", which is kept)"
	}
	return line
}

// grant reads the policy, adds what is missing and writes it back, until nobody
// else has written in between.
func (c *client) grant(ctx context.Context, o order) ([]result, error) {
	tried := map[string]bool{} // roles that a lost answer may have added already
	policy := retry.Policy{Limit: trouble, Attempt: 2 * attemptLimit, First: 200 * time.Millisecond, May: may}
	results, err := retry.Do(ctx, policy, func(ctx context.Context) ([]result, error) { return c.once(ctx, o, tried) })
	return results, c.explain(err)
}

// once is one read-modify-write.
func (c *client) once(ctx context.Context, o order, tried map[string]bool) ([]result, error) {
	policy, err := c.get(ctx)
	if err != nil {
		return nil, err
	}
	results, changed := add(policy, o.roles, o.member())
	for i, r := range results {
		switch {
		case r.what == present && tried[r.role]:
			results[i].what = added
		case r.what == added && o.dryRun:
			results[i].what = wouldAdd
		}
	}
	if !changed || o.dryRun {
		return results, nil
	}
	if len(policy.GetEtag()) == 0 {
		// Without it, Google writes over whatever others have written since.
		return nil, errors.New("change the policy: Google's answer has no etag, without which the change could undo another's: run it again")
	}
	for _, r := range results {
		tried[r.role] = tried[r.role] || r.what == added
	}
	policy.Version = policyVersion
	stored, err := c.set(ctx, policy)
	if err != nil {
		return nil, err
	}
	if missing, _ := add(stored, o.roles, o.member()); slices.ContainsFunc(missing, func(r result) bool { return r.what == added }) {
		return nil, errors.New("change the policy: Google's answer does not hold what was added: look at it with `gcloud projects get-iam-policy " + o.project + "`")
	}
	return results, nil
}

// What becomes of a role.
const (
	present  = "present"
	added    = "added"
	wouldAdd = "would add"
)

// add adds the member to the roles where it is missing. What it has under a
// condition is not enough, and stays.
func add(p *iampb.Policy, roles []string, member string) (results []result, changed bool) {
	for _, role := range roles {
		r := result{role: role, what: added}
		var plain *iampb.Binding
		for _, b := range p.GetBindings() {
			there := slices.Contains(b.GetMembers(), member)
			switch {
			case b.GetRole() != role:
			case b.GetCondition() == nil && there:
				r.what = present
			case b.GetCondition() == nil:
				plain = b
			case there:
				r.conditions = append(r.conditions, fmt.Sprintf("%q", b.GetCondition().GetTitle()))
			}
		}
		if r.what == present {
			r.conditions = nil // the role counts anyway
		}
		if r.what == added {
			changed = true
			if plain == nil {
				plain = &iampb.Binding{Role: role}
				p.Bindings = append(p.Bindings, plain)
			}
			plain.Members = append(plain.Members, member)
		}
		results = append(results, r)
	}
	return results, changed
}
