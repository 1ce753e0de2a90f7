package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/org/deploy-model-action/pkg/registry"
)

// ImmutableTagError is a tag that is there with another digest, in a repository
// that lets no tag change.
type ImmutableTagError struct {
	Reference string // HOST/NAME:TAG
	Tag       string
	Main      bool   // Tag is the one to deploy, not one of the input tags
	There     string // digest that it has; "" if unknown
	Digest    string // digest that it was to have
	Words     string // what the registry said

	Err error
}

// Title says in a few words what it is.
func (e *ImmutableTagError) Title() string { return "Tag is immutable" }

func (e *ImmutableTagError) Error() string {
	there := ""
	if e.There != "" {
		there = " as " + e.There
	}
	what := fmt.Sprintf("image %q: the tag is there%s, the repository's tags are immutable, and this build is %s (%s)", e.Reference, there, e.Digest, e.Words)
	if e.Main {
		return what + "; leave the input push away to deploy what is there, or build from a new commit"
	}
	return fmt.Sprintf("%s; take %q out of the input tags, or let the repository's tags change", what, e.Tag)
}

// Unwrap returns what the registry's client said.
func (e *ImmutableTagError) Unwrap() error { return e.Err }

// QuotaError is a registry that takes no more: in space, or in requests.
type QuotaError struct {
	Reference string
	Registry  string
	Requests  bool   // it is about requests
	Words     string // what the registry said

	Err error
}

// Title says in a few words what it is.
func (e *QuotaError) Title() string { return "Registry quota" }

func (e *QuotaError) Error() string {
	if e.Requests {
		return fmt.Sprintf("image %q: registry %q takes no more requests for now (%s); run the job again later, or have the quota raised", e.Reference, e.Registry, e.Words)
	}
	return fmt.Sprintf("image %q: registry %q has no more space for it (%s); delete images that nothing uses, e.g. by a cleanup policy, or have the quota raised", e.Reference, e.Registry, e.Words)
}

// Unwrap returns what the registry's client said.
func (e *QuotaError) Unwrap() error { return e.Err }

// NoRepositoryError is a registry in which the repository must be made first.
type NoRepositoryError struct {
	Reference string
	Registry  string
	Command   string // that makes it; "" if unknown
	Words     string // what the registry said

	Err error
}

// Title says in a few words what it is.
func (e *NoRepositoryError) Title() string { return "Repository not found" }

func (e *NoRepositoryError) Error() string {
	fix := "create it there, or correct registry_host"
	if e.Command != "" {
		fix = "correct registry_host, or create it: " + e.Command
	}
	return fmt.Sprintf("image %q: registry %q has no repository for it (%s); %s", e.Reference, e.Registry, e.Words, fix)
}

// Unwrap returns what the registry's client said.
func (e *NoRepositoryError) Unwrap() error { return e.Err }

// rejected makes of what an upload came to an error that says what to do.
func (s *session) rejected(ctx context.Context, tag string, err error) error {
	if err == nil {
		return nil
	}
	ref, host := reference(s.target), registry.DisplayName(s.repo.Name.RegistryStr())
	if tag != "" {
		ref = registry.DisplayName(s.repo.Name.Name()) + ":" + tag
	}
	var (
		immutable *ImmutableTagError
		foreign   *registry.ForeignHostError
	)
	status := registry.Status(err)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("image %q: publish: %w", ref, ctx.Err())
	case errors.As(err, &foreign):
		return fmt.Errorf("image %q: %w", ref, foreign)
	case errors.As(err, &immutable):
		return immutable
	case status == http.StatusTooManyRequests:
		return &QuotaError{Reference: ref, Registry: host, Requests: true, Words: registry.Words(err), Err: err}
	case status != 0 && quota(err):
		return &QuotaError{Reference: ref, Registry: host, Words: registry.Words(err), Err: err}
	case status == http.StatusNotFound:
		return &NoRepositoryError{Reference: ref, Registry: host, Command: registry.CreateCommand(s.repo.Name), Words: registry.Words(err), Err: err}
	case status == http.StatusRequestEntityTooLarge:
		return fmt.Errorf("image %q: registry %q, or a proxy before it, takes no layer of this size (413); raise its limit (client_max_body_size of nginx)", ref, host)
	case errors.Is(err, errNoLocation):
		return fmt.Errorf("image %q: registry %q: %w; correct registry_host if that is no registry", ref, host, err)
	case status == 0 && !registry.Unanswered(err):
		return fmt.Errorf("image %q: %w", ref, err) // not the registry's, and said already
	}
	return s.repo.Explain(ctx, ref, true, err)
}

// quota reports by its words whether a registry is full. Registries have no code
// for it: Harbor says "will exceed the configured upper limit", Google "Quota
// exceeded".
func quota(err error) bool {
	w := strings.ToLower(registry.Words(err))
	return strings.Contains(w, "quota") || strings.Contains(w, "exceed") || strings.Contains(w, "storage limit")
}

// immutable reports by its words whether a registry refuses to move a tag: "The
// repository has enabled tag immutability" (Artifact Registry), "cannot be
// overwritten because the repository is immutable" (ECR), "configured as
// immutable" (Harbor).
func immutable(err error) bool {
	if registry.Status(err) == 0 {
		return false
	}
	w := strings.ToLower(registry.Words(err))
	return strings.Contains(w, "immutab") || strings.Contains(w, "cannot be overwritten")
}

// NotThereError is that the Docker engine or the archive has no image for a target.
type NotThereError struct {
	Reference string   // that was to be published
	Source    string   // the Docker engine or the archive
	Wanted    []string // the names that were looked for
	Found     []string // the names that are there, the nearest first
}

// Title says in a few words what it is.
func (e *NotThereError) Title() string { return "Nothing to publish" }

func (e *NotThereError) Error() string {
	has := "it has no image with a name"
	if len(e.Found) > 0 {
		has = "it has " + registry.Quote(e.Found)
	}
	return fmt.Sprintf("image %q: not in %s, under none of %s; %s; build it under one of these names in an earlier step (bentoml containerize --image-tag, docker build --tag), or correct the input images",
		e.Reference, e.Source, registry.Quote(e.Wanted), has)
}

// AmbiguousError is that several images have the name by which one is looked for.
type AmbiguousError struct {
	Reference string // that was to be published
	Source    string // the Docker engine or the archive
	Name      string // that they have
	Count     int
}

// Title says in a few words what it is.
func (e *AmbiguousError) Title() string { return "Ambiguous image" }

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("image %q: %d images of %s have the name %q; give the one to publish the name %q in the step that builds it",
		e.Reference, e.Count, e.Source, quoted(e.Name), e.Reference)
}

// StaleError is an image that the registry has already, and not as this commit's: it
// is of an earlier build, and nothing says that this commit made the same.
type StaleError struct {
	Reference string // that was to be published
	Source    string // what was found
	Match     Match  // and why
	There     string // reference, or repository, under which the registry has it
	Digest    string
}

// Title says in a few words what it is.
func (e *StaleError) Title() string { return "Image of an earlier build" }

func (e *StaleError) Error() string {
	return fmt.Sprintf("image %q: %s (%s) is what the registry has already as %s@%s, and not as this commit's: it is of an earlier build; build it under the commit's name in this job (docker build --tag %s, bentoml containerize --image-tag), or leave push away and set sha to the tag of that build",
		e.Reference, e.Source, e.Match, e.There, e.Digest, e.Reference)
}

// RevisionError is an image that says of itself that it was built from another commit.
type RevisionError struct {
	Reference string // that was to be published
	Source    string // what was found
	Match     Match  // and why
	Revision  string // what it says
	Wanted    string // the commit
}

// Title says in a few words what it is.
func (e *RevisionError) Title() string { return "Image of another commit" }

func (e *RevisionError) Error() string {
	return fmt.Sprintf("image %q: %s (%s) was built from %q, by its label %s; build it from this commit, or, if the label is a base image's, set it in the build (docker build --label %s=%s)",
		e.Reference, e.Source, e.Match, e.Revision, labelRevision, labelRevision, e.Wanted)
}
