package registry

import (
	"net"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/org/deploy-model-action/pkg/google"
)

// Roles of Artifact Registry, which also serves gcr.io: the narrowest ones.
const (
	roleReader = "roles/artifactregistry.reader"
	roleWriter = "roles/artifactregistry.writer"
	// roleCreator also creates the repositories of gcr.io, which a first push does.
	roleCreator = "roles/artifactregistry.createOnPushWriter"
)

// isGoogle reports whether a host is a registry of Google's, and so may see
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
	project, repository := googleRepository(r)
	location, artifacts := strings.CutSuffix(r.RegistryStr(), "-docker.pkg.dev")
	if artifacts && repository != "" {
		return google.Grant("artifacts repositories", repository+" --project="+project+" --location="+location, principal, role)
	}
	return google.Grant("projects", project, principal, role)
}

// CreateCommand is the command that makes a repository of Artifact Registry; ""
// for what other registries have.
func CreateCommand(r name.Repository) string {
	location, ok := strings.CutSuffix(r.RegistryStr(), "-docker.pkg.dev")
	project, repository := googleRepository(r)
	if !ok || repository == "" {
		return ""
	}
	return "gcloud artifacts repositories create " + repository + " --repository-format=docker --project=" + project + " --location=" + location
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
