package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// grantName is the name of what rbac makes.
const grantName = "deploy-model"

// rbac is a manifest that grants a user just what was refused: for each
// namespace a Role and its binding, and a ClusterRole for what is in none.
// denials are sorted by namespace.
func rbac(all []denial, user string) string {
	var documents []string
	for rest := all; len(rest) > 0; {
		namespace := rest[0].namespace
		n := slices.IndexFunc(rest, func(x denial) bool { return x.namespace != namespace })
		if n < 0 {
			n = len(rest)
		}
		documents = append(documents, binding(rest[:n], user)...)
		rest = rest[n:]
	}
	return strings.Join(documents, "---\n")
}

// binding makes the documents of one namespace.
func binding(all []denial, user string) []string {
	scope, namespace := "", all[0].namespace
	if namespace == "" {
		scope = "Cluster"
	} else {
		namespace = ", namespace: " + namespace
	}
	bind := func(name, kind, role string) string {
		return fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: %sRoleBinding\nmetadata: {name: %s%s}\n"+
			"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: %s, name: %s}\n"+
			"subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: %q}]\n", scope, name, namespace, kind, role, user)
	}
	var documents, rules []string
	for _, x := range all {
		resource, group, _ := strings.Cut(x.resource, ".")
		rule := fmt.Sprintf("- {apiGroups: [%q], resources: [%q], verbs: [%s]}\n", group, resource, strings.Join(x.verbs(), ", "))
		if !x.entitles() && !slices.Contains(rules, rule) {
			rules = append(rules, rule)
		}
	}
	if len(rules) > 0 {
		documents = append(documents, fmt.Sprintf("apiVersion: rbac.authorization.k8s.io/v1\nkind: %sRole\nmetadata: {name: %s%s}\nrules:\n%s",
			scope, grantName, namespace, strings.Join(rules, "")), bind(grantName, scope+"Role", grantName))
	}
	if slices.ContainsFunc(all, denial.entitles) {
		documents = append(documents, bind(grantName+"-admin", "ClusterRole", "cluster-admin"))
	}
	return documents
}

// observed are resources that a deploy reads and never writes.
var observed = []string{"pods", "events", "events.events.k8s.io", "nodes", "replicasets.apps", "controllerrevisions.apps", "endpointslices.discovery.k8s.io"}

// verbs are those that a deploy needs if it needs the one that was refused:
// else the next run would be refused the next one.
func (n denial) verbs() []string {
	switch n.verb {
	case "list", "watch":
		return []string{"get", "list", "watch"}
	case "get":
		switch {
		case strings.Contains(n.resource, "/"):
			return []string{"get"}
		case slices.Contains(observed, n.resource):
			return []string{"get", "list", "watch"}
		}
		return []string{"get", "create", "patch"}
	case "create", "patch", "update":
		if strings.Contains(n.resource, "/") {
			return []string{n.verb}
		}
		return []string{"get", "create", "patch"}
	}
	return []string{n.verb}
}
