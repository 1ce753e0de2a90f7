package casetest

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// images are what a registry holds: labels by reference. A reference without a tag
// stands for one at the commit of each run.
type images map[string]map[string]string

// architecture is the label that is none: for which processor the image is.
const architecture = "architecture"

func parseImages(text string) (images, error) {
	all := images{}
	if err := strict(text, &all); err != nil {
		return nil, err
	}
	for reference := range all {
		if _, err := name.ParseReference(reference, name.Insecure); err != nil {
			return nil, fmt.Errorf("%.100q is no reference: %w", reference, err)
		}
	}
	return all, nil
}

// tagged is whether a reference says which of the images of its name it means.
func tagged(reference string) bool {
	return strings.ContainsAny(reference[strings.LastIndex(reference, "/")+1:], ":@")
}

// at are the images with a tag each, where a commit stands for one that is missing.
func (all images) at(commits []string) images {
	out := images{}
	for reference, labels := range all {
		if tagged(reference) {
			out[reference] = labels
			continue
		}
		for _, sha := range commits {
			out[reference+":"+sha] = labels
		}
	}
	return out
}

// registry are the images that have to be there: those of images.yaml, or each that the
// manifests name under a run's registry_host, at every commit; what others than the
// action apply before has the tag that it names.
func (c Case) registry(host string, commits []string) images {
	if c.images != nil {
		return c.images.at(commits)
	}
	all := images{}
	host = strings.ToLower(host)
	names := regexp.MustCompile(regexp.QuoteMeta(host) + `/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::(\w[\w.-]*))?`)
	for _, file := range slices.Sorted(maps.Keys(c.files)) {
		for _, m := range names.FindAllStringSubmatch(c.files[file], -1) {
			all[host+"/"+m[1]] = nil
		}
	}
	for _, text := range []string{c.before, c.script} {
		for _, m := range names.FindAllStringSubmatch(text, -1) {
			if c.deploys && text == c.before {
				all[host+"/"+m[1]] = nil
				continue
			}
			all[host+"/"+m[1]+":"+cmp.Or(m[2], "latest")] = nil
		}
	}
	return all.at(commits)
}
