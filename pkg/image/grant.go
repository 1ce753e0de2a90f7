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
	who := member(principal)
	project, repository := googleRepository(r)
	location, artifacts := strings.CutSuffix(r.RegistryStr(), "-docker.pkg.dev")
	if artifacts && repository != "" {
		return fmt.Sprintf("gcloud artifacts repositories add-iam-policy-binding %s --project=%s --location=%s --member=%s --role=%s", repository, project, location, who, role)
	}
	return fmt.Sprintf("gcloud projects add-iam-policy-binding %s --member=%s --role=%s", project, who, role)
}

// googleRepository is the project and the repository in the path of an image. A
// project of a domain takes two parts.
func googleRepository(r name.Repository) (project, repository string) {
	path := strings.Split(r.RepositoryStr(), "/")
	project, path = path[0], path[1:]
	if strings.Contains(project, ".") && len(path) > 0 {
		project, path = project+":"+path[0], path[1:]
	}
	if len(path) > 0 {
		repository = path[0]
	}
	return project, repository
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
