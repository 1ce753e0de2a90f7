package registry

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// Prefix is what images live under: a registry, and a path in it. Its zero value
// holds no image.
type Prefix struct {
	host name.Registry
	path string // "" is all of the registry
}

// IsZero reports whether it is the zero value.
func (p Prefix) IsZero() bool { return p == Prefix{} }

// String is the prefix as people write it.
func (p Prefix) String() string {
	if p.path == "" {
		return DisplayName(p.host.Name())
	}
	return DisplayName(p.host.Name() + "/" + p.path)
}

// Contains reports whether a repository lives under the prefix. Paths are compared by
// their parts: host/models-old/x does not live under host/models.
func (p Prefix) Contains(r name.Repository) bool {
	return p.Relative(r) != ""
}

// Relative is a repository's path below the prefix; "" if it is not there.
func (p Prefix) Relative(r name.Repository) string {
	if p.IsZero() || !strings.EqualFold(r.RegistryStr(), p.host.RegistryStr()) {
		return ""
	}
	if p.path == "" {
		return r.RepositoryStr()
	}
	rest, ok := strings.CutPrefix(r.RepositoryStr(), p.path+"/")
	if !ok {
		return ""
	}
	return rest
}

// ParsePrefix reads the input registry_host, without asking anybody. Its mistakes
// are those of the input.
func ParsePrefix(host string) (Prefix, error) {
	wrong := func(format string, args ...any) (Prefix, error) {
		return Prefix{}, fmt.Errorf("input registry_host %q: %s", host, fmt.Sprintf(format, args...))
	}
	const example = "europe-west6-docker.pkg.dev/PROJECT/REPOSITORY"
	if host == "" {
		return Prefix{}, errors.New("input registry_host: empty; give the host and path that images live under, e.g. " + example)
	}
	if scheme, rest, ok := strings.Cut(host, "://"); ok {
		return wrong("begins with the scheme %s://; write %q", scheme, strings.Trim(rest, "/"))
	}
	if bare := strings.Trim(host, "/"); bare != host {
		return wrong("has a slash at an end; write %q", bare)
	}
	// References have no capital letters, and GitHub's expressions, such as
	// github.repository_owner, have no function that takes them away.
	first, path, _ := strings.Cut(strings.ToLower(host), "/")
	if !strings.ContainsAny(first, ".:") && first != "localhost" {
		return wrong("does not begin with the host of a registry; write host and path, e.g. %s", example)
	}
	registry, err := name.NewRegistry(first)
	if err != nil || !printable(first) {
		return wrong("%q is not a host; write host and path, e.g. %s", first, example)
	}
	if domain, rest, ok := strings.Cut(path, ":"); ok && strings.Contains(domain, ".") && !strings.Contains(domain, "/") {
		return wrong("has the project of a domain, which is written with a slash here; write %q", first+"/"+domain+"/"+rest)
	}
	if at := strings.IndexAny(path, ":@"); at > 0 {
		return wrong("names one image; write what images live under, e.g. %q", Parent(first+"/"+path[:at]))
	}
	if path != "" {
		if _, err := name.NewRepository(first + "/" + path); err != nil || !cleanPath(path) {
			return wrong("%q is not a path of a registry; use lower case letters, digits, '.', '_', '-' and single slashes", path)
		}
	}
	if problem := incomplete(registry.RegistryStr(), path); problem != "" {
		return wrong("%s", problem)
	}
	return Prefix{host: registry, path: path}, nil
}

// incomplete says what is missing in the path of a registry whose form is known.
func incomplete(host, path string) string {
	depth := len(strings.Split(path, "/"))
	if path == "" {
		depth = 0
	}
	switch {
	case strings.HasSuffix(host, ".pkg.dev") && !strings.HasSuffix(host, "-docker.pkg.dev"):
		return "is not a host of Docker repositories; those are LOCATION-docker.pkg.dev/PROJECT/REPOSITORY, e.g. europe-west6-docker.pkg.dev/my-project/models"
	case strings.HasSuffix(host, ".pkg.dev") && depth < 2, strings.HasSuffix(host, ".pkg.dev") && domainProject(path) && depth < 3:
		return fmt.Sprintf("is not complete; Artifact Registry needs project and repository: %s/PROJECT/REPOSITORY", host)
	case (host == "gcr.io" || strings.HasSuffix(host, ".gcr.io")) && depth < 1:
		return fmt.Sprintf("is not complete; add the project: %s/PROJECT", host)
	case (host == "ghcr.io" || host == name.DefaultRegistry) && depth < 1:
		return fmt.Sprintf("is not complete; add who the images belong to: %s/OWNER", DisplayName(host))
	}
	return ""
}

// domainProject reports whether a path begins with a project of a domain, which
// takes two parts: example.com/project.
func domainProject(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

// cleanPath reports whether a path has none that is empty or leads elsewhere.
func cleanPath(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}
