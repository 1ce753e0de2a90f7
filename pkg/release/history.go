package release

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/org/deploy-model-action/pkg/redact"
)

// maxImages is how many images of a release are remembered.
const maxImages = 20

// Image is one image of a release.
type Image struct {
	Reference string `json:"reference"`        // HOST/NAME:TAG
	Digest    string `json:"digest,omitempty"` // sha256:…
}

// Entry is one release, as the record remembers it.
type Entry struct {
	Run
	// Nonce is of the process that deployed it.
	Nonce  string  `json:"nonce"`
	Images []Image `json:"images,omitempty"`
	// From is the commit that served before; "" if it is not known.
	From string `json:"from,omitempty"`
	// Outcome is the step's; "" as long as it runs, and for ever if it was killed.
	Outcome  string    `json:"outcome,omitempty"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`

	raw json.RawMessage // as it was read
}

// Serving is the release that serves, as far as a record knows: the newest of
// those, which begin with the newest, that was verified.
func Serving(releases []Entry) (Entry, bool) {
	i := slices.IndexFunc(releases, func(e Entry) bool { return e.Outcome == Deployed || e.Outcome == Unchanged })
	if i < 0 {
		return Entry{}, false
	}
	return releases[i], true
}

// boundImages returns as many as a record has room for.
func boundImages(images []Image) []Image {
	var out []Image
	for _, i := range images[:min(len(images), maxImages)] {
		out = append(out, Image{Reference: redact.Line(i.Reference, 400), Digest: redact.Line(i.Digest, 100)})
	}
	return out
}
