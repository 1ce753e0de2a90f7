package credentials

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/org/deploy-model-action/pkg/fault"
	"github.com/org/deploy-model-action/pkg/retry"
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
	m := &metadataServer{host: host, client: newClient(base, "http", host), limit: f.limit}
	account, project, err := m.probe(ctx)
	fetch := m.token
	switch {
	case err != nil: // there is one, and it is out of order
		fetch = func(context.Context) (grant, error) { return grant{}, err }
	case account == "":
		return nil
	}
	return &identity{kind: "service account of the runner's machine", principal: account, project: project, fetch: fetch}
}

// metadataServer answers for the machine that asks.
type metadataServer struct {
	host   string
	client *http.Client
	limit  time.Duration // that a request may be in trouble
}

// probe asks for account and project, and does not wait long for a first answer.
// They are "" if there is no server or no account; a server that answers, only
// not well, is an error.
func (m *metadataServer) probe(ctx context.Context) (account, project string, err error) {
	var (
		both         sync.WaitGroup
		first, other error
	)
	both.Go(func() {
		defer fault.Catch(ctx)
		account, first = m.ask(ctx, accountPath+"email")
	})
	both.Go(func() {
		defer fault.Catch(ctx)
		project, other = m.ask(ctx, "/computeMetadata/v1/project/project-id")
	})
	both.Wait()
	return account, project, cmp.Or(first, other)
}

func (m *metadataServer) ask(ctx context.Context, path string) (string, error) {
	answered := false
	policy := retry.Policy{Limit: m.limit, Attempt: probeLimit, First: firstPause, May: func(err error) retry.Verdict {
		v := may(err)
		var f *failure
		if !answered && errors.As(err, &f) && f.status == 0 {
			// The server of a pod that has just started refuses connections for a moment.
			v.Again, v.Within, v.Longest = errors.Is(err, syscall.ECONNREFUSED), probeLimit, firstPause
		}
		return v
	}}
	r, err := retry.Do(ctx, policy, func(ctx context.Context) (reply, error) {
		r, err := m.get(ctx, path)
		answered = answered || r.status != 0
		return r, err
	})
	switch {
	case err != nil && answered && may(err).Again, ctx.Err() != nil:
		return "", tired(askMetadata, err)
	case err != nil || r.status != http.StatusOK:
		return "", nil //nolint:nilerr // there is no server, or no account
	}
	text := strings.TrimSpace(string(r.body))
	if len(text) > 256 || !isToken(text) {
		return "", nil
	}
	return text, nil
}

const askMetadata = "ask the metadata server"

func (m *metadataServer) token(ctx context.Context) (grant, error) {
	const act = "ask the metadata server for a token"
	r, err := try(ctx, act, m.limit, func(ctx context.Context) (reply, error) { return m.get(ctx, accountPath+"token") })
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
	const act = askMetadata
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
