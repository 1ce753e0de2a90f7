package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"

	"github.com/org/deploy-model-action/e2e/localcloud"
	"github.com/org/deploy-model-action/e2e/proxy"
)

const roundTrip = 40 * time.Millisecond

// floor is the longest chain of round trips that the protocols force on a deploy:
// connection, TLS and request at Google's API, beside those of the token;
// connection and TLS at the cluster; the check, the claim, the writes, a watch
// and the outcome's record there.
const floor = 3 + 2 + 5

// nodeStart is how long Node takes until it runs an action's first line, where it
// is not installed to be measured.
const nodeStart = 40 * time.Millisecond

// seed compares one step with the tail of the tutorial's pipeline, as its users
// run it, and with what no program could do faster.
func (b *bench) seed(ctx context.Context) error {
	address, stop, err := proxy.Slow(b.address(), roundTrip)
	if err != nil {
		return err
	}
	defer stop()
	folder, _, err := b.workspace(ctx, fmt.Sprintf(two, "ours", localcloud.RegistryHost))
	if err != nil {
		return err
	}
	theirs, _, err := b.workspace(ctx, fmt.Sprintf(two, "theirs", localcloud.RegistryHost))
	if err != nil {
		return err
	}
	absent := missing("kubectl", "sed")
	var ours, tail []time.Duration
	for range tries {
		sha, err := b.commit(ctx)
		if err != nil {
			return err
		}
		result, err := b.deploy(ctx, folder, sha, address, "bench")
		if err != nil {
			return err
		}
		ours = append(ours, result.Duration)
		if absent != nil {
			continue
		}
		took, err := b.tail(ctx, filepath.Join(theirs, "kubernetes", "all-0.yaml"), sha, address)
		if err != nil {
			return err
		}
		tail = append(tail, took)
	}
	if absent != nil {
		fmt.Printf("not compared with the tutorial's steps: %v\n", absent)
	} else {
		compare("deploy of 2 objects at 40 ms / the tutorial's steps", median(ours), median(tail), 0.25)
	}
	compare(fmt.Sprintf("the same / the protocols' %d round trips", floor), median(ours), floor*roundTrip, 1.5)
	return nil
}

// tail are the tutorial's steps: log in, credentials of the cluster, the image
// in the manifest, apply, wait, address.
func (b *bench) tail(ctx context.Context, file, sha, address string) (time.Duration, error) {
	kubeconfig, err := b.kubeconfig(address)
	if err != nil {
		return 0, err
	}
	// google-github-actions/auth writes the key to a file, and asks nobody.
	sum := node(ctx)
	began := time.Now()
	if err := b.getCredentials(ctx, address); err != nil {
		return 0, err
	}
	sum += node(ctx) + time.Since(began)
	for _, step := range [][]string{
		{"sed", "-i", "s,/model:[a-z0-9]*,/model:" + sha + ",", file}, // as yq does
		{"kubectl", "--kubeconfig", kubeconfig, "apply", "-f", file},
		{"kubectl", "--kubeconfig", kubeconfig, "rollout", "status", "deployment/theirs"},
		{"kubectl", "--kubeconfig", kubeconfig, "get", "service", "theirs"},
	} {
		took, err := b.command(ctx, nil, step...)
		if err != nil {
			return 0, err
		}
		sum += took
	}
	return sum, nil
}

// node is how long Node takes to start.
func node(ctx context.Context) time.Duration {
	path, err := exec.LookPath("node")
	if err != nil {
		return nodeStart
	}
	began := time.Now()
	if exec.CommandContext(ctx, path, "-e", "0").Run() != nil {
		return nodeStart
	}
	return time.Since(began)
}

// getCredentials are the requests of google-github-actions/get-gke-credentials:
// a token for the key, and the cluster.
func (b *bench) getCredentials(ctx context.Context, address string) error {
	authority, err := os.ReadFile(b.cloud.CAFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: address, User: url.User("tail")}),
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	}
	defer transport.CloseIdleConnections()
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: transport})
	var key struct {
		Email        string `json:"client_email"`
		PrivateKey   string `json:"private_key"`
		PrivateKeyID string `json:"private_key_id"`
		TokenURI     string `json:"token_uri"`
	}
	if err := json.Unmarshal([]byte(b.key), &key); err != nil {
		return err
	}
	config := jwt.Config{
		Email: key.Email, PrivateKey: []byte(key.PrivateKey), PrivateKeyID: key.PrivateKeyID, TokenURL: key.TokenURI,
		Scopes: []string{"https://www.googleapis.com/auth/cloud-platform"},
	}
	cluster := fmt.Sprintf("https://container.googleapis.com/v1/projects/%s/locations/%s/clusters/%s", localcloud.Project, localcloud.Location, localcloud.Cluster)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, cluster, nil)
	if err != nil {
		return err
	}
	response, err := config.Client(ctx).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("get cluster: %s: %s", response.Status, body)
	}
	return err
}
