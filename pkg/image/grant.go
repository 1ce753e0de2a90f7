package image

import (
	"fmt"
	"net"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Roles of Artifact Registry, which also serves gcr.io: the narrowest ones.
const (
	roleReader = "roles/artifactregistry.reader"
	roleWriter = "roles/artifactregistry.writer"
)

// isGoogle tells whether a host is a registry of Google's, and so may see
// Google's token. Nobody else can have a host under these names.
func isGoogle(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(host)
	return strings.HasSuffix(host, ".pkg.dev") || host == "gcr.io" || strings.HasSuffix(host, ".gcr.io")
}

// grant is the command that gives a principal the role on a repository.
func grant(r name.Repository, principal, role string) string {
	member := member(principal)
	host, path := r.RegistryStr(), strings.Split(r.RepositoryStr(), "/")
	project := path[0]
	path = path[1:]
	if strings.Contains(project, ".") && len(path) > 0 {
		project += ":" + path[0] // a project of a domain
		path = path[1:]
	}
	location, artifacts := strings.CutSuffix(host, "-docker.pkg.dev")
	if artifacts && len(path) > 0 {
		return fmt.Sprintf("gcloud artifacts repositories add-iam-policy-binding %s --project=%s --location=%s --member=%s --role=%s", path[0], project, location, member, role)
	}
	return fmt.Sprintf("gcloud projects add-iam-policy-binding %s --member=%s --role=%s", project, member, role)
}

// member is a principal as IAM policies name it.
func member(principal string) string {
	switch {
	case principal == "":
		return "serviceAccount:EMAIL"
	case strings.Contains(principal, ":"):
		return principal
	}
	return "serviceAccount:" + principal
}
