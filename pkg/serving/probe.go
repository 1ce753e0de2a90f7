package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/org/deploy-model-action/pkg/object"
	"github.com/org/deploy-model-action/pkg/redact"
)

const maxRedirects = 5

// choose finds the way to ask.
func (p *prober) choose() error {
	wanted, err := url.Parse(p.Path)
	if err != nil || wanted.Host != "" || wanted.Scheme != "" || !strings.HasPrefix(wanted.Path, "/") {
		return &UnhealthyError{Cause: "not a path", Fix: "begin it with /, e.g. /readyz"}
	}
	if found := serviceAddress(p.service); len(found) > 0 && !found[0].Internal {
		if base, err := url.Parse(found[0].URL); err == nil && (base.Scheme == "http" || p.client.REST() == nil) {
			p.request = p.direct(base.ResolveReference(&url.URL{Path: wanted.Path, RawPath: wanted.RawPath, RawQuery: wanted.RawQuery}))
			return nil
		}
	}
	port, ok := choosePort(p.service)
	if !ok || p.client.REST() == nil {
		return &UnhealthyError{
			Cause: object.Of(p.service).String() + " has no TCP port or address that could be asked",
			Fix:   "give the Service a port, or leave health_path empty",
		}
	}
	name := p.service.GetName() + ":" + strconv.FormatInt(port.number, 10)
	if port.scheme == "https" {
		name = "https:" + name
	}
	// Cleaned by itself, so that no ".." in it leaves the Service.
	inside := path.Clean("/" + wanted.Path)
	if strings.HasSuffix(wanted.Path, "/") && inside != "/" {
		inside += "/"
	}
	p.request = p.proxied(fmt.Sprintf("/api/v1/namespaces/%s/services/%s/proxy%s", p.service.GetNamespace(), name, inside), wanted.Query())
	return nil
}

// direct asks a load balancer. Each try opens a connection of its own, so that
// it is not stuck to a backend that went away.
func (p *prober) direct(to *url.URL) func(context.Context) Answer {
	client := &http.Client{
		Transport: p.HTTP,
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if next.URL.Hostname() != via[0].URL.Hostname() || len(via) > maxRedirects {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	return func(ctx context.Context) Answer {
		a := Answer{URL: to.String()}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL, nil)
		if err != nil {
			a.Err = err.Error()
			return a
		}
		request.Close = true
		request.Header.Set("User-Agent", object.FieldManager)
		response, err := client.Do(request)
		if err != nil {
			var wrapped *url.Error
			if errors.As(err, &wrapped) {
				err = wrapped.Err // the URL is named already
			}
			a.Err = reason(err)
			return a
		}
		defer response.Body.Close()
		a.Code, a.Body = response.StatusCode, head(response.Body)
		return a
	}
}

// proxied asks through the API server, with the credentials for it.
func (p *prober) proxied(path string, query url.Values) func(context.Context) Answer {
	request := func() *rest.Request {
		r := p.client.REST().Get().AbsPath(path).MaxRetries(0).SetHeader("Accept", "*/*")
		for key, values := range query {
			for _, value := range values {
				r = r.Param(key, value)
			}
		}
		return r
	}
	shown := path
	if len(query) > 0 {
		shown += "?" + query.Encode()
	}
	return func(ctx context.Context) Answer {
		a := Answer{URL: shown, Proxy: true}
		body, err := request().Stream(ctx)
		if err == nil {
			defer body.Close()
			a.Code, a.Body = http.StatusOK, head(body)
			return a
		}
		var answered apierrors.APIStatus
		if !errors.As(err, &answered) || answered.Status().Code == 0 {
			a.Err = reason(err)
			return a
		}
		a.Code = int(answered.Status().Code)
		if answered.Status().Details == nil || len(answered.Status().Details.Causes) == 0 {
			a.Body = head(strings.NewReader(answered.Status().Message)) // the API server's own words
			return a
		}
		// An error's body is kept by a call that is not a stream only.
		raw, err := request().Do(ctx).StatusCode(&a.Code).Raw()
		if err == nil || a.Code != 0 {
			a.Body = head(strings.NewReader(string(raw)))
		}
		return a
	}
}

// head reads the beginning of a body, without what must not leave the cluster.
func head(body io.Reader) string {
	// What arrived until a connection was cut is worth showing.
	text, _ := io.ReadAll(io.LimitReader(body, bodyLimit))
	return strings.TrimSpace(redact.Secrets(strings.ToValidUTF8(string(text), "")))
}

// reason is why there was no answer.
func reason(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", requestTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer"
	}
	return line(err.Error())
}
