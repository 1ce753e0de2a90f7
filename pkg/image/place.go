package image

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// place is where images live: a registry, and a path in it.
type place struct {
	registry name.Registry
	path     string // "" is all of the registry
}

func (p place) String() string {
	if p.path == "" {
		return familiar(p.registry.Name())
	}
	return familiar(p.registry.Name() + "/" + p.path)
}

// holds tells whether a repository lives under the place. Paths are compared by
// their parts: host/models-old/x does not live under host/models.
func (p place) holds(r name.Repository) bool {
	return p.relative(r) != ""
}

// relative is a repository's path below the place; "" if it is not there.
func (p place) relative(r name.Repository) string {
	if !strings.EqualFold(r.RegistryStr(), p.registry.RegistryStr()) {
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

// parsePlace reads the input registry_host.
func parsePlace(host string) (place, error) {
	wrong := func(format string, args ...any) (place, error) {
		return place{}, fmt.Errorf("input registry_host %q: %s", host, fmt.Sprintf(format, args...))
	}
	const example = "europe-west6-docker.pkg.dev/PROJECT/REPOSITORY"
	if host == "" {
		return place{}, errors.New("input registry_host: empty; give the host and path that images live under, e.g. " + example)
	}
	if scheme, rest, ok := strings.Cut(host, "://"); ok {
		return wrong("begins with the scheme %s://; write %q", scheme, strings.Trim(rest, "/"))
	}
	if bare := strings.Trim(host, "/"); bare != host {
		return wrong("has a slash at an end; write %q", bare)
	}
	first, path, _ := strings.Cut(host, "/")
	if !strings.ContainsAny(first, ".:") && first != "localhost" {
		return wrong("does not begin with the host of a registry; write host and path, e.g. %s", example)
	}
	registry, err := name.NewRegistry(strings.ToLower(first))
	if err != nil || !printable(first) {
		return wrong("%q is not a host; write host and path, e.g. %s", first, example)
	}
	if domain, rest, ok := strings.Cut(path, ":"); ok && strings.Contains(domain, ".") && !strings.Contains(domain, "/") {
		return wrong("has the project of a domain, which is written with a slash here; write %q", first+"/"+domain+"/"+rest)
	}
	if at := strings.IndexAny(path, ":@"); at > 0 {
		return wrong("names one image; write what images live under, e.g. %q", parent(first+"/"+path[:at]))
	}
	if lower := strings.ToLower(path); lower != path {
		return wrong("has capital letters in its path, which references never have; write %q", first+"/"+lower)
	}
	if path != "" {
		if _, err := name.NewRepository(first + "/" + path); err != nil || !parts(path) {
			return wrong("%q is not a path of a registry; use lower case letters, digits, '.', '_', '-' and single slashes", path)
		}
	}
	if problem := incomplete(registry.RegistryStr(), path); problem != "" {
		return wrong("%s", problem)
	}
	return place{registry: registry, path: path}, nil
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
		return fmt.Sprintf("is not complete; add who the images belong to: %s/OWNER", familiar(host))
	}
	return ""
}

// domainProject tells whether a path begins with a project of a domain, which
// takes two parts: example.com/project.
func domainProject(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".")
}

// parts tells whether a path has none that is empty or leads elsewhere.
func parts(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

func parent(path string) string {
	if i := strings.LastIndex(path, "/"); i >= 0 {
		return path[:i]
	}
	return path
}

func printable(s string) bool {
	for _, r := range s {
		if r <= ' ' || r >= 0x7f {
			return false
		}
	}
	return true
}

// familiar is a name as people write it: Docker Hub's host has two.
func familiar(full string) string {
	if rest, ok := strings.CutPrefix(full, name.DefaultRegistry); ok {
		return "docker.io" + rest
	}
	return full
}

// checkSHA validates the tag to deploy. go-containerregistry knows the letters of
// a tag, but not that the first one must be none of '.' and '-'.
func checkSHA(sha string) error {
	_, err := name.NewTag("r.invalid/x:"+sha, name.StrictValidation)
	switch {
	case sha == "":
		return errors.New("input sha: empty; give the tag to deploy, e.g. ${{ github.sha }}")
	case strings.ContainsAny(sha, "/:@"), err != nil, sha[0] == '.', sha[0] == '-':
		return fmt.Errorf("input sha %q: not a tag; use letters, digits, '_', '.' and '-', at most 128, and none of '.' and '-' first, e.g. ${{ github.sha }}", sha)
	}
	return nil
}
