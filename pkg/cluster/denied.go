package cluster

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/org/deploy-model-action/pkg/google"
	"github.com/org/deploy-model-action/pkg/redact"
)

// denial is a request that the cluster's authorizer refused.
type denial struct{ user, verb, resource, namespace string } // resource as in "deployments.apps"

// denials are those of one run, and the errors that nothing else will tell.
type denials struct {
	all  []denial
	errs []error
}

// denied is an error of a package that has understood a refusal by itself.
type denied interface {
	error
	Denied() (user, verb, resource, namespace string)
}

// denialMessage is the authorizer's: … is forbidden: User "U" cannot V resource
// "R" in API group "G" in the namespace "N"…
var denialMessage = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]*)"(?: in API group "([^"]*)")?(?: in the namespace "([^"]*)")?`)

// collect takes what an error says about refusals. It reports whether the error
// has been taken over: then it is raw, and its words are not for users.
func (d *denials) collect(err error) bool {
	var known denied
	if errors.As(err, &known) {
		user, verb, resource, namespace := known.Denied()
		d.add(denial{user, verb, resource, namespace})
		return false
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Code != http.StatusForbidden {
		return false
	}
	m := denialMessage.FindStringSubmatch(status.Status().Message)
	if m == nil {
		return false // an admission plugin, whose words are all there is
	}
	resource := m[3]
	if m[4] != "" {
		resource += "." + m[4]
	}
	d.add(denial{m[1], m[2], resource, m[5]})
	d.errs = append(d.errs, err)
	return true
}

// add keeps what fits into a manifest and a sentence; nothing else is a refusal
// by a real API server.
func (d *denials) add(n denial) {
	n.user, n.verb, n.resource, n.namespace = redact.Phrase(n.user), redact.Phrase(n.verb), redact.Phrase(n.resource), redact.Phrase(n.namespace)
	if !slices.Contains(d.all, n) {
		d.all = append(d.all, n)
	}
}

// denied tells how to grant everything that was refused; nil if nothing was.
func (c *Cluster) denied(d denials) error {
	if len(d.all) == 0 {
		return nil
	}
	slices.SortStableFunc(d.all, func(a, b denial) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.verb, b.verb), cmp.Compare(a.resource, b.resource))
	})
	e := &ForbiddenError{
		Act: fmt.Sprintf("use cluster %q", c.Name.Cluster), Permission: sentence(d.all), Role: roleDeveloper,
		Principal: cmp.Or(d.all[0].user, c.principal), Project: c.Name.Project, Err: errors.Join(d.errs...),
	}
	if slices.ContainsFunc(d.all, denial.administers) {
		e.Role = roleAdmin
	}
	who := c.principal
	if who == "" && strings.ContainsAny(e.Principal, "@:") && !strings.HasPrefix(e.Principal, "system:") {
		who = e.Principal
	}
	e.Command, e.Manifest = google.Grant("projects", c.Name.Project, who, e.Role), rbac(d.all, e.Principal)
	return e
}

// administers says that the object is beyond roles/container.developer.
func (n denial) administers() bool {
	return n.entitles() || strings.HasSuffix(n.resource, ".admissionregistration.k8s.io")
}

// entitles says that the object decides who may do what. RBAC lets nobody grant
// what they have not, so only a role that has everything will do.
func (n denial) entitles() bool { return strings.HasSuffix(n.resource, ".rbac.authorization.k8s.io") }

// sentence says what was refused: `patch deployments.apps, services in namespace "models"`.
func sentence(all []denial) string {
	var parts []string
	for rest := all; len(rest) > 0; {
		first := rest[0]
		n := slices.IndexFunc(rest, func(x denial) bool { return x.verb != first.verb || x.namespace != first.namespace })
		if n < 0 {
			n = len(rest)
		}
		var resources []string
		for _, x := range rest[:n] {
			resources = append(resources, x.resource)
		}
		part := first.verb + " " + strings.Join(slices.Compact(resources), ", ")
		if first.namespace != "" {
			part += fmt.Sprintf(" in namespace %q", first.namespace)
		}
		parts, rest = append(parts, part), rest[n:]
	}
	return strings.Join(parts, " and ")
}
