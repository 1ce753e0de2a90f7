package node

import (
	"fmt"
	"net"
	"net/http"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// check probes once, and returns what the kubelet says of a failure
// (pkg/probe/{http,tcp,exec}).
func (p *pod) check(c *container, r *run, spec *corev1.Probe) (failure string, err error) {
	switch {
	case spec.HTTPGet != nil:
		return p.checkHTTP(c, spec.HTTPGet)
	case spec.TCPSocket != nil:
		port, err := portNumber(spec.TCPSocket.Port, c)
		if err != nil {
			return "", err
		}
		return p.checkTCP(spec.TCPSocket.Host, port), nil
	case spec.GRPC != nil:
		if p.checkTCP("", int(spec.GRPC.Port)) != "" {
			return fmt.Sprintf("timeout: failed to connect service %q within 1s: context deadline exceeded", net.JoinHostPort(p.address, strconv.Itoa(int(spec.GRPC.Port)))), nil
		}
	case spec.Exec != nil:
		if r.behaviour.execExitCode != 0 {
			return "command exited with code " + strconv.Itoa(r.behaviour.execExitCode), nil
		}
	}
	return "", nil
}

func (p *pod) checkHTTP(c *container, action *corev1.HTTPGetAction) (string, error) {
	port, err := portNumber(action.Port, c)
	if err != nil {
		return "", err
	}
	host := action.Host
	if host == "" {
		host = p.address
	}
	scheme := "http"
	if action.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	path := action.Path
	if path == "" {
		path = "/"
	}
	url := fmt.Sprintf("%s://%s%s", scheme, net.JoinHostPort(host, strconv.Itoa(port)), path)
	if refused := p.checkTCP(host, port); refused != "" {
		return fmt.Sprintf("Get %q: %s", url, refused), nil
	}
	if scheme == "https" {
		return fmt.Sprintf("Get %q: http: server gave HTTP response to HTTPS client", url), nil
	}
	status, _ := p.answer(port, path)
	switch {
	case status == 0: // it ended meanwhile
		return fmt.Sprintf("Get %q: EOF", url), nil
	case status < http.StatusOK || status >= http.StatusBadRequest:
		return fmt.Sprintf("HTTP probe failed with statuscode: %d", status), nil
	}
	return "", nil
}

func (p *pod) checkTCP(host string, port int) string {
	if host == "" {
		host = p.address
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.all() {
		if _, ok := c.listens(port); ok && host == p.address {
			return ""
		}
	}
	return fmt.Sprintf("dial tcp %s: connect: connection refused", net.JoinHostPort(host, strconv.Itoa(port)))
}

// portNumber finds a port by its name or number: ResolveContainerPort of pkg/probe.
func portNumber(port intstr.IntOrString, c *container) (int, error) {
	number := port.IntValue()
	if port.Type == intstr.String {
		for _, p := range c.spec.Ports {
			if p.Name == port.StrVal {
				return int(p.ContainerPort), nil
			}
		}
		var err error
		if number, err = strconv.Atoi(port.StrVal); err != nil {
			return 0, err
		}
	}
	if number < 1 || number > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", number)
	}
	return number, nil
}

// answer is what the pod answers to a request, now.
func (p *pod) answer(port int, path string) (status int, body string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.all() {
		if listening, ok := c.listens(port); ok {
			b := c.current.behaviour
			body := b.body
			if body == "" {
				body = fmt.Sprintf("served by %s (pod %s)", c.spec.Image, p.name)
			}
			return b.answer(path, listening), body
		}
	}
	return 0, ""
}
