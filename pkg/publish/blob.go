package publish

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/org/deploy-model-action/pkg/registry"
)

// blob is something to send: it can be read again from anywhere in it.
type blob struct {
	digest  v1.Hash
	size    int64
	at      io.ReaderAt
	release func() // of at; nil if there is nothing to do
	config  bool   // it is a configuration, which nobody counts as a layer
}

// name is the blob in the log.
func (b blob) name() string {
	kind := "Layer "
	if b.config {
		kind = "Configuration "
	}
	return kind + shortDigest(b.digest)
}

func memory(content []byte, digest v1.Hash) blob {
	return blob{digest: digest, size: int64(len(content)), at: bytes.NewReader(content)}
}

func (b blob) close() {
	if b.release != nil {
		b.release()
	}
}

// exists asks whether a repository has a blob.
func exists(ctx context.Context, repo *registry.Repository, digest v1.Hash) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, repo.URL("blobs", digest.String()).String(), nil)
	if err != nil {
		return false, err
	}
	resp, err := repo.HTTP().Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	// Some refuse to say what they have where there is nothing; whether they refuse
	// to take it shows later, with a reason.
	return resp.StatusCode == http.StatusOK, transport.CheckError(resp, http.StatusOK, http.StatusNotFound, http.StatusForbidden)
}

// start begins an upload, unless the registry takes the blob over from another
// repository.
func start(ctx context.Context, repo *registry.Repository, digest v1.Hash, from string) (location string, taken bool, err error) {
	address := repo.URL("blobs", "uploads", "")
	if from != "" {
		address.RawQuery = url.Values{"mount": {digest.String()}, "from": {from}}.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address.String(), nil)
	if err != nil {
		return "", false, err
	}
	resp, err := repo.HTTP().Do(req)
	if err != nil {
		return "", false, err
	}
	defer resp.Body.Close()
	err = transport.CheckError(resp, http.StatusAccepted, http.StatusCreated)
	switch {
	case err != nil && from != "":
		return start(ctx, repo, digest, "") // some refuse what they cannot take over
	case err != nil || resp.StatusCode == http.StatusCreated:
		return "", err == nil, err
	}
	location, err = next(repo, resp)
	return location, false, err
}

// abandon ends an upload that nothing is sent to: some registries keep those for a week,
// and count them. One that does not know how is asked in vain.
func abandon(ctx context.Context, repo *registry.Repository, location string) {
	if location == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // it is worth no wait
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, location, nil)
	if err != nil {
		return
	}
	if resp, err := repo.HTTP().Do(req); err == nil {
		resp.Body.Close()
	}
}

var errNoLocation = errors.New("it does not say where the upload goes on")

// next is where an upload goes on: nowhere but at the registry, for layers are
// nobody else's.
func next(repo *registry.Repository, resp *http.Response) (string, error) {
	at := resp.Request.URL
	address, err := at.Parse(resp.Header.Get("Location"))
	if err != nil || resp.Header.Get("Location") == "" {
		return "", errNoLocation
	}
	if strings.EqualFold(address.Hostname(), at.Hostname()) && address.Port() == at.Port() {
		address.Scheme = at.Scheme // registries behind a proxy may not know that they are on TLS
	}
	if !repo.At(address, at.Scheme) {
		return "", &registry.ForeignHostError{Registry: registry.DisplayName(repo.Name.RegistryStr()), Host: address.Scheme + "://" + address.Host, Layer: true}
	}
	return address.String(), nil
}

// expect sends a request whose answer is only a status.
func expect(repo *registry.Repository, req *http.Request, statuses ...int) error {
	resp, err := repo.HTTP().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return transport.CheckError(resp, statuses...)
}
