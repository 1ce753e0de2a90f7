package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/org/deploy-model-action/pkg/image"
	"github.com/org/deploy-model-action/pkg/manifest"
	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/readiness"
	"github.com/org/deploy-model-action/pkg/release"
	"github.com/org/deploy-model-action/pkg/workload"
)

// planImages decides which images are rewritten. What another tool was to fill in
// is refused before that, and what is named in other places is said.
func (d *deployment) planImages() error {
	set := d.manifests
	if errs := set.Placeholders(func(text string) bool { return image.Means(text, d.Images) }); len(errs) > 0 {
		return errors.Join(errs...)
	}
	var written []string
	uses := set.Images()
	for _, use := range uses {
		// In a custom resource a field of that name may hold anything.
		custom := object.Of(set.Objects[use.Object]).Custom()
		if !slices.Contains(written, use.Value) && (!custom || image.Means(use.Value, d.Images)) {
			written = append(written, use.Value)
		}
	}
	var err error
	if d.matches, err = image.Plan(written, d.prefix, d.SHA, d.Images); err != nil {
		return placed(set, uses, err)
	}
	for _, use := range set.Unfilled() {
		d.warnAt(use, "Placeholder", fmt.Sprintf("%s: %s reaches its reader as it stands, since nothing has filled it in", use.Path, use.Value))
	}
	for _, use := range set.Mentions() {
		if image.Lives(use.Value, d.prefix) && d.rewrites(use.Value) {
			d.warnAt(use, "Image not rewritten", fmt.Sprintf("%s names the image %q, and is left as it is: images are rewritten in containers, image volumes and the image fields of custom resources", use.Path, use.Value))
		}
	}
	return nil
}

// rewrites reports whether an image would be rewritten if it stood where images do.
func (d *deployment) rewrites(text string) bool {
	matches, _ := image.Plan([]string{text}, d.prefix, d.SHA, nil)
	return len(d.Images) == 0 || slices.ContainsFunc(d.matches, func(m image.Match) bool {
		return len(matches) > 0 && m.Target.Context() == matches[0].Target.Context()
	})
}

// placed gives the mistakes in references their places.
func placed(set *manifest.Set, uses []manifest.Use, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var errs []error
	for _, err := range joined.Unwrap() {
		var wrong *image.ReferenceError
		if !errors.As(err, &wrong) {
			errs = append(errs, placed(set, uses, err))
			continue
		}
		for _, use := range uses {
			if use.Value == wrong.Written {
				errs = append(errs, set.Refuse(use, "%s: %s", use.Path, err))
			}
		}
	}
	return errors.Join(errs...)
}

// servedBefore is the image of the same name that served before this run; "" if none
// is known to have. What the objects held counts where they were ready and no run is
// known to have left it unverified, as one that does not roll back does; else what
// the record says was verified last. releases begin with the newest.
func servedBefore(releases []release.Entry, before []*unstructured.Unstructured, image Image) string {
	ready := slices.DeleteFunc(slices.Clone(before), func(u *unstructured.Unstructured) bool {
		if u == nil {
			return true
		}
		outcome := readiness.Evaluate(u, readiness.Context{}).Outcome
		return outcome == readiness.Pending || outcome == readiness.Failed
	})
	was, failed := imageIn(ready, image), false
	for _, entry := range releases {
		named := slices.ContainsFunc(entry.Images, func(i release.Image) bool { return i.Pinned() == was })
		if named && entry.Good() {
			return was
		}
		failed = failed || named
	}
	if was != "" && !failed {
		return was
	}
	if entry, ok := release.Serving(releases); ok {
		for _, i := range entry.Images {
			if sameRepository(i.Pinned(), repositoryOf(image.Reference)) {
				return i.Pinned()
			}
		}
	}
	return ""
}

// imageIn is the image of the same name that the objects hold, as they name it:
// HOST/NAME:SHA@sha256:…; "" if they hold none. An object may be nil.
func imageIn(objects []*unstructured.Unstructured, image Image) string {
	repository := repositoryOf(image.Reference)
	for _, u := range objects {
		if u == nil {
			continue
		}
		if found := imageOf(u.Object["spec"], repository); found != "" {
			return found
		}
	}
	return ""
}

// repositoryOf is a reference without tag and digest.
func repositoryOf(reference string) string {
	repository, _, _ := strings.Cut(reference, "@")
	if colon := strings.LastIndexByte(repository, ':'); colon > strings.LastIndexByte(repository, '/') {
		repository = repository[:colon]
	}
	return repository
}

// sameRepository reports whether an image, with a tag or digest, is of a repository.
func sameRepository(image, repository string) bool {
	rest, ok := strings.CutPrefix(image, repository)
	return ok && rest != "" && (rest[0] == ':' || rest[0] == '@')
}

// imageOf finds a field image that names the repository, however deep.
func imageOf(value any, repository string) string {
	switch v := value.(type) {
	case map[string]any:
		if image, ok := v["image"].(string); ok {
			if sameRepository(image, repository) {
				return image
			}
		}
		for _, child := range v {
			if found := imageOf(child, repository); found != "" {
				return found
			}
		}
	case []any:
		for _, child := range v {
			if found := imageOf(child, repository); found != "" {
				return found
			}
		}
	}
	return ""
}

const (
	// nodesTimeout and nodesLimit bound what the nodes' platforms are worth: they
	// serve to foresee a failure, and the deploy goes on without them.
	nodesTimeout = 10 * time.Second
	nodesLimit   = 500
)

// PlatformError is an image that none of the nodes can run. Nothing was changed.
type PlatformError struct{ message string }

func (e *PlatformError) Error() string { return e.message }

// Title says what went wrong, in a few words.
func (e *PlatformError) Title() string { return "Platform does not fit" }

// fits compares the platforms that the images are made for with those of the
// nodes that their pods may be scheduled on: an image for another processor
// starts with "exec format error" and nothing else. One that fits none of the
// nodes is an error, one that fits only some a warning. Where there are no nodes
// to compare with (an autoscaler begins with none), or the pod asks for a processor
// of which there is none yet, nothing is said: without the pod none would come.
func (d *deployment) fits() error {
	if len(d.nodes) == 0 {
		return nil
	}
	platforms := map[string][]string{}
	for _, i := range d.resolved {
		platforms[i.Pinned] = i.Platforms()
	}
	seen := map[string]bool{}
	for _, use := range d.manifests.Images() {
		made, ok := platforms[use.Value]
		pod := podSpec(d.manifests.Objects[use.Object].Object, use.Path)
		if !ok || pod == nil {
			continue
		}
		fit, message := image.Fits(use.Value, made, workload.Platforms(workload.Nodes(pod, d.nodes)))
		awaited := slices.ContainsFunc(made, func(platform string) bool { return workload.Names(pod, platform) })
		if fit == image.FitsNone && !awaited {
			return &PlatformError{message}
		}
		if fit == image.FitsSome && !seen[message] {
			seen[message] = true
			d.log.Warning(message)
		}
	}
	return nil
}

// readNodes reads those that pods can be scheduled on; none if it may not.
func (d *deployment) readNodes(ctx context.Context) []corev1.Node {
	ctx, cancel := context.WithTimeout(ctx, nodesTimeout)
	defer cancel()
	body, err := d.client.REST.Get().AbsPath("/api/v1/nodes").
		Param("fieldSelector", "spec.unschedulable=false").Param("limit", strconv.Itoa(nodesLimit)).
		SetHeader("Accept", "application/json").Stream(ctx)
	if err != nil {
		return nil
	}
	defer body.Close()
	nodes, err := decodeNodes(body)
	if err != nil {
		return nil
	}
	return nodes
}

// decodeNodes takes from a list of nodes what says which pods go where. A node has
// tens of kilobytes, most of them names of images, so that one is decoded after
// the other and nothing else of it kept.
func decodeNodes(list io.Reader) ([]corev1.Node, error) {
	decoder := json.NewDecoder(list)
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	var nodes []corev1.Node
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		if key != "items" {
			if err := decoder.Decode(&json.RawMessage{}); err != nil {
				return nil, err
			}
			continue
		}
		if begin, err := decoder.Token(); err != nil || begin != json.Delim('[') {
			return nil, err // null, where there are none
		}
		for decoder.More() {
			var item struct {
				Metadata struct{ Labels map[string]string }
				Spec     struct{ Taints []corev1.Taint }
			}
			if err := decoder.Decode(&item); err != nil {
				return nil, err
			}
			if len(nodes) < nodesLimit {
				nodes = append(nodes, corev1.Node{
					ObjectMeta: metav1.ObjectMeta{Labels: item.Metadata.Labels}, Spec: corev1.NodeSpec{Taints: item.Spec.Taints},
				})
			}
		}
		if _, err := decoder.Token(); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// podSpec finds the pod that a container's image is part of.
func podSpec(object map[string]any, path string) *corev1.PodSpec {
	at := -1
	for _, list := range []string{".containers[", ".initContainers[", ".ephemeralContainers["} {
		at = max(at, strings.LastIndex(path, list))
	}
	if at < 0 {
		return nil
	}
	var value any = object
	for key := range strings.SplitSeq(path[:at], ".") {
		m, ok := value.(map[string]any)
		if !ok {
			return nil // inside a list: a custom resource whose pods differ
		}
		value = m[key]
	}
	m, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	var pod corev1.PodSpec
	if runtime.DefaultUnstructuredConverter.FromUnstructured(m, &pod) != nil {
		return nil // the server will say what is wrong with it
	}
	return &pod
}
