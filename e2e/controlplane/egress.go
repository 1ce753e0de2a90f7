package controlplane

import (
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

// listenEgress answers the API server's CONNECT requests for nodes and pods, as
// the konnectivity proxy does on GKE. Without it the API server would dial pod
// addresses that no network has.
func (c *ControlPlane) listenEgress(o Options) error {
	listener, err := net.Listen("unix", filepath.Join(o.Dir, "egress.sock")) //nolint:noctx // at once
	if err != nil {
		return err
	}
	c.egress = listener
	server := http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
			return
		}
		target, err := o.Dial(r.Context(), "tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		Tunnel(w, target)
	})}
	go func() { _ = server.Serve(listener) }()
	return nil
}

// Tunnel answers a CONNECT request and copies bytes both ways until both sides
// have ended.
func Tunnel(w http.ResponseWriter, target net.Conn) {
	defer target.Close()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(target, buffered)
		if half, ok := target.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}()
	_, _ = io.Copy(conn, target)
	_ = conn.Close()
	<-sent
}
