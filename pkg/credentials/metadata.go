package credentials

import (
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	// metadataIP is where every machine of Google Cloud finds its metadata server.
	metadataIP = "169.254.169.254"
	// product is where Linux says what machine it runs on, without asking anyone.
	product     = "sys/class/dmi/id/product_name"
	probeLimit  = 2 * time.Second
	accountPath = "/computeMetadata/v1/instance/service-accounts/default/"
)

var hostForm = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]{1,5})?$|^\[[0-9a-fA-F:]+\](:[0-9]{1,5})?$`)

// metadata finds the service account of the machine; nil if there is none. The
// server is asked only where one must be: on other clouds, others answer.
func (f *finder) metadata(ctx context.Context) *identity {
	host := f.Getenv("GCE_METADATA_HOST")
	if host == "" {
		name, err := fs.ReadFile(f.Files, product)
		if err != nil || !strings.HasPrefix(strings.TrimSpace(string(name)), "Google") {
			return nil
		}
		host = metadataIP
	}
	if !hostForm.MatchString(host) {
		return nil
	}
	// A proxy would be asked for its own identity, so there is none here.
	base := f.Transport
	if t, ok := base.(*http.Transport); ok {
		t = t.Clone()
		t.Proxy = nil
		base = t
	}
	m := &metadataServer{host: host, client: newClient(base, "http", host)}
	account, project := m.probe(ctx)
	if account == "" {
		return nil
	}
	return &identity{kind: "service account of the runner's machine", principal: account, project: project, fetch: m.token}
}

// metadataServer answers for the machine that asks.
type metadataServer struct {
	host   string
	client *http.Client
}

// probe asks for account and project, and does not wait long for an answer.
func (m *metadataServer) probe(ctx context.Context) (account, project string) {
	ctx, stop := context.WithTimeout(ctx, probeLimit)
	defer stop()
	ask := func(into *string, path string) {
		if r, err := m.get(ctx, path); err == nil && r.status == http.StatusOK {
			if text := strings.TrimSpace(string(r.body)); len(text) <= 256 && isToken(text) {
				*into = text
			}
		}
	}
	var both sync.WaitGroup
	both.Go(func() { ask(&account, accountPath+"email") })
	both.Go(func() { ask(&project, "/computeMetadata/v1/project/project-id") })
	both.Wait()
	return account, project
}

func (m *metadataServer) token(ctx context.Context) (grant, error) {
	const act = "ask the metadata server for a token"
	r, err := retry(ctx, func(ctx context.Context) (reply, error) { return m.get(ctx, accountPath+"token") })
	if err != nil {
		return grant{}, err
	}
	if r.status != http.StatusOK {
		return grant{}, &RefusedError{
			Act: act, Cause: fmt.Sprintf("the machine has no service account (status %d)", r.status),
			Fix: "attach one to the machine or node pool, with the scope cloud-platform, or set workload_identity_provider",
		}
	}
	return r.grant(act)
}

func (m *metadataServer) get(ctx context.Context, path string) (reply, error) {
	const act = "ask the metadata server"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.host+path, nil)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Metadata-Flavor", "Google")
	r, err := send(act, m.client, req)
	if err == nil && r.header.Get("Metadata-Flavor") != "Google" {
		return reply{}, &RefusedError{
			Act: act, Cause: m.host + " is not the metadata server of Google Cloud", Fix: "unset GCE_METADATA_HOST",
		}
	}
	return r, err
}
