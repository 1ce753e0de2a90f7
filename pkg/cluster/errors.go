package cluster

import (
	"fmt"
	"strings"
)

// NotFoundError is a cluster that does not exist where it was looked for.
type NotFoundError struct {
	Name Name
	// Existing are the clusters of the project, the nearest first; nil: they
	// could not be listed.
	Existing []Name
}

// Title says in a few words what it is.
func (e *NotFoundError) Title() string { return "Cluster not found" }

func (e *NotFoundError) Error() string {
	n := e.Name
	if len(e.Existing) > 0 && e.Existing[0].Cluster == n.Cluster && e.Existing[0].Location != n.Location {
		at := e.Existing[0].Location
		return fmt.Sprintf("cluster %q is in %s, not in %s: set zone: %s", n.Cluster, at, n.Location, at)
	}
	missing := fmt.Sprintf("cluster %q does not exist in %s of project %s", n.Cluster, n.Location, n.Project)
	switch {
	case e.Existing == nil:
		return missing + fmt.Sprintf(": compare cluster_name, zone and project_id with `gcloud container clusters list --project=%s`", n.Project)
	case len(e.Existing) == 0:
		return missing + ", which has no clusters at all: look at project_id"
	}
	const shown = 5
	var names []string
	for _, x := range e.Existing[:min(shown, len(e.Existing))] {
		names = append(names, fmt.Sprintf("%s (%s)", x.Cluster, x.Location))
	}
	more := ""
	if n := len(e.Existing) - shown; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return missing + ", which has " + strings.Join(names, ", ") + more + ": set cluster_name and zone to one of them"
}

// ForbiddenError is a right that the principal has not.
type ForbiddenError struct {
	Act        string // what was asked, e.g. `read cluster "model"`
	Permission string // e.g. "container.clusters.get"; of Kubernetes, e.g. `patch deployments.apps in namespace "models"`
	Role       string // the narrowest predefined role for a deploy, e.g. "roles/container.developer"
	Principal  string // who asked; "" if unknown
	Project    string
	Command    string // that an administrator may run to grant the role
	Words      string // Google's, if it did not name the permission; "" otherwise
	// Manifest is what an administrator may apply to the cluster instead, to
	// grant no more than what was refused; "" if it was not the cluster that refused.
	Manifest string
	Err      error // the cluster's answer; nil if it is told elsewhere, or Google refused
}

// Title says in a few words what it is.
func (e *ForbiddenError) Title() string { return "Role missing" }

func (e *ForbiddenError) Error() string {
	who := e.Principal
	if who == "" {
		who = "this principal"
	}
	if e.Manifest != "" {
		return fmt.Sprintf("%s: %s may not %s: let an administrator grant %s with `%s`, or in the cluster alone with `kubectl apply -f` and this file:\n%s",
			e.Act, who, e.Permission, e.Role, e.Command, strings.TrimSuffix(e.Manifest, "\n"))
	}
	lacks := fmt.Sprintf("%s: %s lacks the permission %s in project %s", e.Act, who, e.Permission, e.Project)
	if e.Permission == "container.clusters.get" {
		lacks += ", or the project does not exist" // Google does not tell which
	}
	if e.Words != "" {
		lacks += " (" + e.Words + ")"
	}
	return fmt.Sprintf("%s: let an administrator grant %s with `%s`", lacks, e.Role, e.Command)
}

// Unwrap returns the cluster's answer.
func (e *ForbiddenError) Unwrap() error { return e.Err }

// UnauthorizedError is a token that the cluster does not accept, although Google gave it.
type UnauthorizedError struct {
	Name      Name
	Principal string // whose token it is; "" if unknown
	Err       error
}

// Title says in a few words what it is.
func (e *UnauthorizedError) Title() string { return "Credentials refused" }

func (e *UnauthorizedError) Error() string {
	of := ""
	if e.Principal != "" {
		of = " of " + e.Principal
	}
	return fmt.Sprintf("cluster %q does not accept the token%s (401 Unauthorized): look whether the account or its key was deleted or disabled, and run the job again; a token that another step made needs the scope https://www.googleapis.com/auth/cloud-platform", e.Name.Cluster, of)
}

// Unwrap returns the error of the client.
func (e *UnauthorizedError) Unwrap() error { return e.Err }

// StatusError is a cluster whose control plane does not answer now.
type StatusError struct {
	Name    Name
	Status  string // GKE's word, e.g. "PROVISIONING"
	Message string // GKE's reason; "" if it gave none
}

// Title says in a few words what it is.
func (e *StatusError) Title() string { return "Cluster not ready" }

func (e *StatusError) Error() string {
	s := fmt.Sprintf("cluster %q ", e.Name.Cluster)
	way := ""
	switch e.Status {
	case "PROVISIONING":
		s += "is still being created"
		way = "run the job again when it is RUNNING"
	case "STOPPING":
		s += "is being deleted"
		way = "set cluster_name to another one"
	case "ERROR":
		s += "is broken, and may not be usable"
		way = fmt.Sprintf("repair or replace it; `gcloud container clusters describe %s --location=%s --project=%s` says more", e.Name.Cluster, e.Name.Location, e.Name.Project)
	}
	s += " (status " + e.Status + ")"
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s + ": " + way
}

// EndpointError is an endpoint that was asked for and that the cluster does not offer.
type EndpointError struct {
	Name    Name
	Kind    string
	Problem string
	Fix     string
	Others  []string // kinds that it offers
}

// Title says in a few words what it is.
func (e *EndpointError) Title() string { return "Endpoint" }

func (e *EndpointError) Error() string {
	s := fmt.Sprintf("endpoint %q of cluster %q: %s: %s", e.Kind, e.Name.Cluster, e.Problem, e.Fix)
	if len(e.Others) > 0 {
		s += ", or set endpoint: " + strings.Join(e.Others, " or ")
	}
	return s
}

// UnreachableError is a connection to the cluster's endpoint that did not come
// about, or that nobody vouches for.
type UnreachableError struct {
	Name   Name
	Kind   string
	Host   string
	Others []string // kinds that the cluster offers too
	Cause  string   // the first cause, in one line
	Hint   string   // what may be the reason, and what to do about it
	Err    error
}

// Title says in a few words what it is.
func (e *UnreachableError) Title() string { return "Cluster unreachable" }

func (e *UnreachableError) Error() string {
	s := fmt.Sprintf("reach cluster %q at %s (%s endpoint): %s: %s", e.Name.Cluster, e.Host, e.Kind, e.Cause, e.Hint)
	if len(e.Others) > 0 {
		return s + "; the cluster also offers endpoint: " + strings.Join(e.Others, ", ")
	}
	return s + "; the cluster offers no other endpoint"
}

// Unwrap returns the error of the client.
func (e *UnreachableError) Unwrap() error { return e.Err }
