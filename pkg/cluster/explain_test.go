package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/org/deploy-model-action/pkg/google"
)

// cluster is one at a host, with what Find would know of it.
func cluster(kind, host string, others ...string) *Cluster {
	c := &Cluster{
		Name: Name{"my-project", "europe-west6-a", "model"}, Kind: kind, Host: "https://" + host,
		principal: "deployer@my-project.iam.gserviceaccount.com", others: others, fleet: "fleet-project",
	}
	if c.pinned() {
		c.CA = public.pem
	}
	return c
}

// listen has something at an address that is no API server.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// TestExplain shows each sentence about the API server as a user sees it. The
// errors are those of real requests.
func TestExplain(t *testing.T) {
	t.Parallel()
	const (
		user   = "deployer@my-project.iam.gserviceaccount.com"
		region = "europe-west6-connectgateway.googleapis.com/v1/projects/123456789012/locations/europe-west6/gkeMemberships/model"
	)
	request := func(ctx context.Context, client *Client) error {
		_, err := client.Dynamic.Resource(configMaps).Namespace("models").Patch(ctx, "m", types.ApplyYAMLPatchType, []byte("{}"), metav1.PatchOptions{FieldManager: "deploy-model-action"})
		return err
	}
	closed := listen(t, func(c net.Conn) { c.Close() })
	silent := listen(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	plain := listen(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<10))
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	imposter := newCertificates("Somebody's proxy")
	impostor := serve(t, imposter, http.HandlerFunc(object), "198.51.100.1", "203.0.113.10", "10.0.0.2", "wrong.europe-west6.gke.goog").Listener.Addr().String()

	fenced := func(c *Cluster) *Cluster { c.fenced = true; return c }
	forbidden := func(message string) http.HandlerFunc { return kubernetesStatus(403, "Forbidden", message) }
	var text strings.Builder
	for i, c := range []struct {
		name    string
		cluster *Cluster
		at      string // where its host leads
		answer  http.HandlerFunc
		tokens  error // instead of a token
		want    any
	}{
		{"public: closed", cluster(KindPublic, "203.0.113.10", KindDNS, KindInternal), closed, nil, nil, new(*UnreachableError)},
		{"public: silent", cluster(KindPublic, "203.0.113.11"), silent, nil, nil, new(*UnreachableError)},
		{"public: fenced, closed, DNS is open", fenced(cluster(KindPublic, "203.0.113.12", KindDNS)), closed, nil, nil, new(*UnreachableError)},
		{"public: fenced, silent, DNS is not open", fenced(cluster(KindPublic, "203.0.113.13", KindInternal)), silent, nil, nil, new(*UnreachableError)},
		{"public: fenced, behind a proxy", fenced(cluster(KindPublic, "203.0.113.14")), "status 504", nil, nil, new(*UnreachableError)},
		{"internal: behind a proxy", cluster(KindInternal, "10.0.0.3", KindGateway), "status 502", nil, nil, new(*UnreachableError)},
		{"internal: silent", cluster(KindInternal, "10.0.0.4", KindDNS), silent, nil, nil, new(*UnreachableError)},
		{"DNS: closed", cluster(KindDNS, "closed.europe-west6.gke.goog", KindPublic), closed, nil, nil, new(*UnreachableError)},
		{"gateway: closed", cluster(KindGateway, "us-east1-connectgateway.googleapis.com/v1/x", KindInternal), closed, nil, nil, new(*UnreachableError)},
		{"the proxy refuses", cluster(KindDNS, "barred.europe-west6.gke.goog"), "status 403", nil, nil, new(*UnreachableError)},
		{"the proxy wants a password", cluster(KindDNS, "barred2.europe-west6.gke.goog"), "status 407", nil, nil, new(*UnreachableError)},
		{"the proxy says something else", cluster(KindDNS, "barred3.europe-west6.gke.goog"), "status 418", nil, nil, new(*UnreachableError)},
		{"public: another certificate", cluster(KindPublic, "198.51.100.1", KindDNS), impostor, nil, nil, new(*UnreachableError)},
		{"DNS: another certificate", cluster(KindDNS, "wrong.europe-west6.gke.goog"), impostor, nil, nil, new(*UnreachableError)},
		{"no TLS", cluster(KindPublic, "198.51.100.2"), plain, nil, nil, new(*UnreachableError)},
		{"redirect", cluster(KindPublic, "198.51.100.3"), "", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://portal.example.com/login?next=x", http.StatusFound)
		}, nil, new(*UnreachableError)},

		{"no token", cluster(KindDNS, "tokens.europe-west6.gke.goog"), "", object, errors.New("credentials: the key was deleted: make another"), nil},
		{"unauthorized", cluster(KindPublic, "198.51.100.4"), "", kubernetesStatus(401, "Unauthorized", "Unauthorized"), nil, new(*UnauthorizedError)},
		{"unauthorized at the front", cluster(KindDNS, "front401.europe-west6.gke.goog"), "", refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials."), nil, new(*UnauthorizedError)},

		{"DNS: no right to connect", cluster(KindDNS, "front1.europe-west6.gke.goog"), "", refusal(403, "PERMISSION_DENIED", `Permission 'container.clusters.connect' denied on resource "projects/my-project/locations/europe-west6-a/clusters/model" (or it may not exist).`), nil, new(*ForbiddenError)},
		{"DNS: no right, as HTML", cluster(KindDNS, "front2.europe-west6.gke.goog"), "", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=UTF-8")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<!DOCTYPE html><title>Error 403 (Forbidden)!!1</title>`)
		}, nil, new(*google.RefusedError)},
		{"DNS: closed to the outside", cluster(KindDNS, "front3.europe-west6.gke.goog", KindPublic), "", refusal(403, "PERMISSION_DENIED", "External traffic is not allowed for the DNS-based endpoint."), nil, new(*EndpointError)},
		{"DNS: service perimeter", cluster(KindDNS, "front4.europe-west6.gke.goog"), "", refusal(403, "PERMISSION_DENIED", "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: abc"), nil, nil},
		{"DNS: nothing behind the name", cluster(KindDNS, "front5.europe-west6.gke.goog"), "", refusal(404, "NOT_FOUND", "Requested entity was not found."), nil, new(*EndpointError)},
		{"gateway: no right", cluster(KindGateway, region), "", refusal(403, "PERMISSION_DENIED", `Permission 'gkehub.gateway.patch' denied on resource '//gkehub.googleapis.com/projects/123456789012/locations/europe-west6/memberships/model' (or it may not exist).`), nil, new(*ForbiddenError)},
		{"gateway: no right, in other words", cluster(KindGateway, strings.ReplaceAll(region, "europe-west6", "europe-west1")), "", refusal(403, "PERMISSION_DENIED", `The caller does not have permission`), nil, new(*ForbiddenError)},
		{"gateway: disabled", cluster(KindGateway, strings.ReplaceAll(region, "europe-west6", "europe-west2")), "", refusal(403, "PERMISSION_DENIED", "Connect Gateway API has not been used in project 123456789012 before or it is disabled.", disabledInfo(hostGateway)), nil, new(*google.RefusedError)},
		{"gateway: no such member", cluster(KindGateway, strings.ReplaceAll(region, "europe-west6", "europe-west3"), KindInternal), "", refusal(404, "NOT_FOUND", "Requested entity was not found."), nil, new(*EndpointError)},

		{"Kubernetes: workload", cluster(KindPublic, "198.51.100.20"), "", forbidden(`deployments.apps "classifier" is forbidden: User "` + user + `" cannot patch resource "deployments" in API group "apps" in the namespace "models": requires one of ["container.deployments.update"] permission(s).`), nil, new(*ForbiddenError)},
		{"Kubernetes: through the DNS endpoint", cluster(KindDNS, "rbac.europe-west6.gke.goog"), "", forbidden(`services is forbidden: User "` + user + `" cannot list resource "services" in API group "" in the namespace "models"`), nil, new(*ForbiddenError)},
		{"Kubernetes: in no namespace", cluster(KindPublic, "198.51.100.21"), "", forbidden(`namespaces "models" is forbidden: User "` + user + `" cannot create resource "namespaces" in API group "" at the cluster scope`), nil, new(*ForbiddenError)},
		{"Kubernetes: a role", cluster(KindPublic, "198.51.100.22"), "", forbidden(`roles.rbac.authorization.k8s.io is forbidden: User "` + user + `" cannot create resource "roles" in API group "rbac.authorization.k8s.io" in the namespace "models": requires one of ["container.roles.create"] permission(s).`), nil, new(*ForbiddenError)},
		{"Kubernetes: a webhook's configuration", cluster(KindPublic, "198.51.100.23"), "", forbidden(`validatingwebhookconfigurations.admissionregistration.k8s.io "x" is forbidden: User "` + user + `" cannot patch resource "validatingwebhookconfigurations" in API group "admissionregistration.k8s.io" at the cluster scope`), nil, new(*ForbiddenError)},
		{"Kubernetes: a federated principal", cluster(KindPublic, "198.51.100.24"), "", forbidden(`pods "p" is forbidden: User "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/subject/s" cannot get resource "pods/log" in API group "" in the namespace "models"`), nil, new(*ForbiddenError)},
		{"Kubernetes: a quota", cluster(KindPublic, "198.51.100.25"), "", forbidden(`pods "p" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=1, limited: pods=1`), nil, nil},
		{"Kubernetes: not found", cluster(KindDNS, "found.europe-west6.gke.goog"), "", kubernetesStatus(404, "NotFound", `namespaces "models" not found`), nil, nil},
	} {
		host := strings.TrimSuffix(c.cluster.authority(), ":443")
		switch {
		case c.answer != nil:
			at(t, host, public, c.answer)
		default:
			internet.lead(host, c.at)
		}
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		if c.at == silent {
			ctx, stop = context.WithTimeout(t.Context(), 200*time.Millisecond)
		}
		tokens := token("right")
		if c.tokens != nil {
			tokens = failing{c.tokens}
		}
		err := request(ctx, connect(t, c.cluster, tokens))
		stop()
		got := c.cluster.Explain(err)
		if c.want != nil && !errors.As(got, c.want) {
			t.Errorf("%d. %s: %T (%v), want %T", i, c.name, got, got, c.want)
		}
		if c.want == nil && got == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if again := c.cluster.Explain(got); again != got { //nolint:errorlint // the same one is wanted
			t.Errorf("%s: explained twice: %#v", c.name, again)
		}
		text.WriteString(c.name + ":\n" + indent(strings.TrimSuffix(got.Error(), "\n")))
	}
	golden(t, "explain.golden", text.String())
}

// TestExplainNames has the failures that need another network than the tests'.
func TestExplainNames(t *testing.T) {
	t.Parallel()
	c := cluster(KindDNS, "uid.europe-west6.gke.goog", KindPublic)
	var text strings.Builder
	for _, x := range []struct {
		name string
		err  error
	}{
		{"no such name", &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "uid.europe-west6.gke.goog", IsNotFound: true}}},
		{"name server is silent", &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "i/o timeout", Name: "uid.europe-west6.gke.goog", IsTimeout: true}}},
		{"no such proxy", &net.OpError{Op: "proxyconnect", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "proxy.example.com", IsNotFound: true}}},
	} {
		got := c.Explain(&url.Error{Op: "Patch", URL: c.Host + "/api", Err: x.err})
		text.WriteString(x.name + ":\n" + indent(got.Error()))
	}
	golden(t, "explain-names.golden", text.String())
}

// objectError is as another package's: it has said whose refusal it is.
type objectError struct {
	object string
	denial denial
}

func (e *objectError) Error() string { return e.object + ": refused" }
func (e *objectError) Denied() (user, verb, resource, namespace string) {
	return e.denial.user, e.denial.verb, e.denial.resource, e.denial.namespace
}

func TestExplainJoined(t *testing.T) {
	t.Parallel()
	c := cluster(KindPublic, "203.0.113.10", KindDNS)
	lost := func() error {
		return fmt.Errorf("the cluster's API server cannot be reached: %w", &url.Error{Op: "Get", URL: c.Host, Err: errors.New("EOF of a kind")})
	}
	denied := func(object, verb, resource, namespace string) error {
		return fmt.Errorf("%s: %w", object, &objectError{object, denial{"u@x", verb, resource, namespace}})
	}
	other := errors.New("Deployment models/classifier: spec.replica: no such field")
	raw := apierrors.NewForbidden(configMaps.GroupResource(), "m", errors.New(`User "u@x" cannot get resource "configmaps" in API group "" in the namespace "models"`))
	first := denied("Deployment models/a", "patch", "deployments.apps", "models")
	second := denied("Service models/a", "patch", "services", "models")
	third := denied("Role models/a", "create", "roles.rbac.authorization.k8s.io", "models")
	fourth := denied("Namespace n", "create", "namespaces", "")

	got := c.Explain(errors.Join(first, errors.Join(other, second, second), lost(), third, lost(), fourth, raw))
	var all []string
	for _, e := range got.(interface{ Unwrap() []error }).Unwrap() {
		all = append(all, e.Error())
	}
	golden(t, "explain-joined.golden", strings.Join(all, "\n")+"\n")
	for _, want := range []error{first, second, third, fourth, other, raw} {
		if !errors.Is(got, want) {
			t.Errorf("%v is lost", want)
		}
	}
	var object *objectError
	if !errors.As(got, &object) {
		t.Error("errors.As does not find the object's error")
	}
	if again := c.Explain(got); again != got { //nolint:errorlint // the same one is wanted
		t.Errorf("explained twice: %#v", again)
	}
}

func TestExplainLeavesAlone(t *testing.T) {
	t.Parallel()
	c := cluster(KindPublic, "203.0.113.10", KindDNS)
	plain := errors.New("something else")
	for _, err := range []error{
		nil, plain, errors.Join(plain, errors.New("and this")), context.Canceled, context.DeadlineExceeded,
		fmt.Errorf("stopped: 1 of 2 objects were applied: %w", errors.Join(plain, context.Canceled)),
		&url.Error{Op: "Get", URL: c.Host, Err: context.Canceled},
		&url.Error{Op: "Get", URL: "https://203.0.113.99/", Err: errors.New("EOF")}, // of a model, or a registry
		apierrors.NewNotFound(configMaps.GroupResource(), "m"),
		apierrors.NewServiceUnavailable("later"),
		fmt.Errorf("two: %w and %w", plain, &url.Error{Op: "Get", URL: c.Host, Err: errors.New("EOF")}),
		fmt.Errorf("stopped: 1 of 2 objects were applied: %w", errors.Join(plain, &url.Error{Op: "Get", URL: c.Host, Err: errors.New("EOF")})),
	} {
		if got := c.Explain(err); got != err { //nolint:errorlint // the same one is wanted
			t.Errorf("Explain(%v) = %v", err, got)
		}
	}
}

func TestUnreachableError(t *testing.T) {
	t.Parallel()
	c := cluster(KindPublic, "203.0.113.10", KindDNS, KindInternal)
	cause := &url.Error{Op: "Get", URL: c.Host, Err: errors.New("EOF of a kind")}
	var got *UnreachableError
	if !errors.As(c.Explain(cause), &got) || !errors.Is(got, cause) {
		t.Fatalf("Explain = %v", got)
	}
	want := &UnreachableError{Name: c.Name, Kind: KindPublic, Host: "https://203.0.113.10", Others: []string{KindDNS, KindInternal}, Cause: "EOF of a kind"}
	got.Hint, got.Err = "", nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
