package google

import "strings"

// Member is a principal as IAM policies name it: the e-mail address of a service
// account, or principal://… and principalSet://…; EMAIL stands for an unknown one.
func Member(principal string) string {
	switch {
	case principal == "":
		return "serviceAccount:EMAIL"
	case strings.HasPrefix(principal, "principal:"), strings.HasPrefix(principal, "principalSet:"):
		return principal
	}
	return "serviceAccount:" + principal
}

// Grant is the command that gives a principal a role on something: of is its
// kind and name, as gcloud has them, e.g. "projects", "my-project".
func Grant(of, name, principal, role string) string {
	member := Member(principal)
	if strings.ContainsAny(member, "*?()[]{}$&;|<>'\" ") || strings.HasPrefix(member, "principal") {
		member = "'" + strings.ReplaceAll(member, "'", "") + "'" // for a shell
	}
	return "gcloud " + of + " add-iam-policy-binding " + name + " --member=" + member + " --role=" + role
}
