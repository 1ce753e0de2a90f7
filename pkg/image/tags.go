package image

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/org/deploy-model-action/pkg/registry"
)

// notFound looks at what the registry has instead of an image, so that the error
// can name it.
func notFound(ctx context.Context, r *registry.Repository, m Match, answer *transport.Error) error {
	e := &NotFoundError{Reference: Reference(m), Repository: registry.DisplayName(r.Name.Name()), Err: answer}
	if len(answer.Errors) > 0 {
		e.Words = registry.Words(answer)
	}
	if _, digest := m.Target.(name.Digest); !digest {
		e.Tag = m.Tag
	}
	all, err := tags(ctx, r)
	var listed *transport.Error
	switch {
	case errors.As(err, &listed) && listed.StatusCode == http.StatusNotFound:
		e.Missing = true
		if len(listed.Errors) > 0 {
			e.Words = registry.Words(listed)
		}
		return e
	case err != nil:
		// The image is missing all the same.
		if listed != nil {
			e.Words = registry.Words(listed)
		}
		return e
	}
	e.Err = nil
	e.Newest = len(all) > 0 && all[0].uploaded > 0
	slices.SortStableFunc(all, func(a, b tag) int {
		if c := cmp.Compare(b.uploaded, a.uploaded); c != 0 {
			return c
		}
		return cmp.Compare(far(m.Tag, a.name), far(m.Tag, b.name))
	})
	for _, t := range all {
		e.Tags = append(e.Tags, t.name)
	}
	return e
}

// far orders tags by how much they look like the one that was asked for. A short
// form of a commit comes first.
func far(asked, tag string) int {
	short := strings.TrimPrefix(tag, "sha-")
	if len(short) >= 7 && strings.HasPrefix(asked, short) {
		return 0
	}
	return 1 + registry.Distance(asked, tag)
}

// tag is one of a repository.
type tag struct {
	name     string
	uploaded int64 // in milliseconds; 0 if the registry does not say
}

// tags lists what is in the repository. go-containerregistry lists only names;
// Google's registries tell the time too, and the newest tags are what helps.
func tags(ctx context.Context, r *registry.Repository) ([]tag, error) {
	const pages, enough = 10, 10_000
	var all []tag
	next := r.URL("tags", "list")
	next.RawQuery = "n=1000"
	for range pages {
		page, link, err := tagPage(ctx, r, next)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if link == nil || len(all) >= enough || link.Host != next.Host || link.Scheme != next.Scheme {
			break
		}
		next = link
	}
	return all, nil
}

func tagPage(ctx context.Context, r *registry.Repository, address *url.URL) ([]tag, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := r.HTTP().Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return nil, nil, err
	}
	var body struct {
		Tags      []string
		Manifests map[string]struct {
			Tags     []string `json:"tag"`
			Uploaded string   `json:"timeUploadedMs"`
		} `json:"manifest"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return nil, nil, fmt.Errorf("list the tags of %q: %w", registry.DisplayName(r.Name.Name()), err)
	}
	uploaded := map[string]int64{}
	for _, m := range body.Manifests {
		at, _ := strconv.ParseInt(m.Uploaded, 10, 64)
		for _, t := range m.Tags {
			uploaded[t] = at
		}
	}
	var tags []tag
	for _, t := range body.Tags {
		tags = append(tags, tag{t, uploaded[t]})
	}
	return tags, nextPage(resp, address), nil
}

// nextPage is the address in the header Link; nil if there is none.
func nextPage(resp *http.Response, base *url.URL) *url.URL {
	link, rest, ok := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
	if !ok || !strings.Contains(rest, "next") {
		return nil
	}
	u, err := base.Parse(link)
	if err != nil {
		return nil
	}
	return u
}
