package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/org/deploy-model-action/e2e/internal/inproc"
)

// SetImmutable makes the tags of PROJECT/REPOSITORY immutable from now on.
func (g *Registry) SetImmutable(repository string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.immutable[repository] = true
}

// frozen refuses to move or delete a tag of an immutable repository, and tells
// whether it did. Setting a tag to what it is stays allowed.
func (g *Registry) frozen(w http.ResponseWriter, r *http.Request, repository string) bool {
	project, name, _ := strings.Cut(repository, "/")
	name, _, _ = strings.Cut(name, "/")
	g.mu.Lock()
	immutable := g.immutable[project+"/"+name]
	g.mu.Unlock()
	_, tag, manifest := strings.Cut(r.URL.Path, "/manifests/")
	if !immutable || !manifest || strings.Contains(tag, ":") || (r.Method != http.MethodPut && r.Method != http.MethodDelete) {
		return false
	}
	have := g.digest(r)
	if have == "" {
		return false
	}
	if r.Method == http.MethodDelete {
		refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", fmt.Sprintf("cannot delete tag %s. The repository has enabled tag immutability", tag))
		return true
	}
	content, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	r.Body = io.NopCloser(bytes.NewReader(content))
	sum := sha256.Sum256(content)
	if err == nil && have == "sha256:"+hex.EncodeToString(sum[:]) {
		return false
	}
	refuse(w, http.StatusBadRequest, "MANIFEST_INVALID", fmt.Sprintf("cannot update tag %s. The repository has enabled tag immutability", tag))
	return true
}

// digest is what the tag of a request names now; "" if there is no such tag.
func (g *Registry) digest(r *http.Request) string {
	head := r.Clone(r.Context())
	head.Method, head.Body, head.ContentLength = http.MethodHead, http.NoBody, 0
	resp, err := inproc.Transport{Handler: g.store}.RoundTrip(head)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return ""
	}
	return resp.Header.Get("Docker-Content-Digest")
}

// QuotaBody is the body of the 429 with which Artifact Registry answers when too
// much is asked of it, for a fault of the proxy.
func QuotaBody(number string) string {
	body, _ := json.Marshal(errorBody("TOOMANYREQUESTS", "Quota exceeded for quota metric 'Requests per project per user' and limit "+ // of strings only
		"'Requests per project per user per minute per user' of service 'artifactregistry.googleapis.com' for consumer 'project_number:"+number+"'."))
	return string(body)
}
