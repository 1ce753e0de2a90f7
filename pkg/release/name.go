package release

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/org/deploy-model-action/pkg/redact"
)

const (
	// maxName leaves room for what stands around it in the names of ConfigMap and
	// Secret, of 253 characters at most.
	maxName = 200
	// defaultManifests is the default of the input manifests.
	defaultManifests = "kubernetes"
)

var (
	// nameForm is a DNS-1123 subdomain, as Kubernetes has it.
	nameForm  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	labelForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	notLabel  = regexp.MustCompile(`[^a-z0-9]+`)
)

// ValidateName says what is wrong with the name of a release; nil if nothing is.
func ValidateName(name string) error {
	if !nameForm.MatchString(name) || len(name) > maxName {
		return fmt.Errorf("release %q: is not a name that Kubernetes takes: write small letters, digits, dashes and dots, with a letter or digit at both ends, %d characters at most", redact.Line(name, 80), maxName)
	}
	return nil
}

// Name is the default name of a release: that of the repository (owner/name),
// followed by the manifests, if they are not the default. Where something of
// them is no part of a name, or is too long, a hash of all of it stands for it,
// so that no two have the same. Without a repository it is "default".
func Name(repository string, manifests []string) string {
	_, base, found := strings.Cut(repository, "/")
	if !found {
		base = repository
	}
	base = strings.ToLower(base) // GitHub's names are equal then, too
	if base == "" {
		base = "default"
	}
	paths := make([]string, 0, len(manifests))
	for _, m := range manifests {
		if m = path.Clean(strings.TrimSpace(m)); m != "." {
			paths = append(paths, m)
		}
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	if len(paths) == 1 && paths[0] == defaultManifests {
		paths = nil
	}
	parts, exact := []string{base}, labelForm.MatchString(base) && len(paths) <= 1
	for _, p := range paths {
		for part := range strings.SplitSeq(p, "/") {
			parts, exact = append(parts, part), exact && labelForm.MatchString(part)
		}
	}
	name := strings.Join(parts, ".")
	if exact && len(name) <= maxName {
		return name
	}
	for i, part := range parts {
		parts[i] = strings.Trim(notLabel.ReplaceAllString(strings.ToLower(part), "-"), "-")
	}
	name = strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ".")
	sum := sha256.Sum256([]byte(strings.ToLower(repository) + "\n" + strings.Join(paths, "\n")))
	hash := hex.EncodeToString(sum[:4])
	name = strings.TrimRight(name[:min(len(name), maxName-len(hash)-1)], "-.")
	if name == "" {
		return hash
	}
	return name + "-" + hash
}
