package realnode

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
)

// docker runs the Docker client and returns what it prints.
func docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// addresses are what the node's network has for it.
type addresses struct {
	gateway string // this machine, as the node sees it
	pods    string // the half of the network that pods get theirs from
}

// networkLabel marks the networks, so that one whose test was killed is found.
const networkLabel = "deploy-model-action=node"

func (n *Node) createNetwork(ctx context.Context) (addresses, error) {
	_, _ = docker(ctx, nil, "network", "prune", "--force", "--filter", "label="+networkLabel, "--filter", "until=10m")
	if _, err := docker(ctx, nil, "network", "create", "--label", networkLabel, n.id); err != nil {
		return addresses{}, err
	}
	n.network = true
	out, err := docker(ctx, nil, "network", "inspect", "--format", "{{json .IPAM.Config}}", n.id)
	if err != nil {
		return addresses{}, err
	}
	var pools []struct{ Subnet, Gateway string }
	if err := json.Unmarshal([]byte(out), &pools); err != nil {
		return addresses{}, fmt.Errorf("docker network inspect: %w", err)
	}
	for _, pool := range pools {
		if subnet, err := netip.ParsePrefix(pool.Subnet); err == nil && subnet.Addr().Is4() {
			return addresses{gateway: pool.Gateway, pods: upperHalf(subnet).String()}, nil
		}
	}
	return addresses{}, fmt.Errorf("docker network inspect: no IPv4 in %s", out)
}

// upperHalf is the part of a network that Docker gives away last.
func upperHalf(subnet netip.Prefix) netip.Prefix {
	first := subnet.Masked().Addr().As4()
	bits := subnet.Bits() + 1
	binary.BigEndian.PutUint32(first[:], binary.BigEndian.Uint32(first[:])|1<<(32-bits))
	return netip.PrefixFrom(netip.AddrFrom4(first), bits)
}

// forward lets the node reach a server that listens on loopback only.
type forward struct {
	listener net.Listener
	mu       sync.Mutex
	open     map[net.Conn]bool
}

func (n *Node) forward(gateway, target string) (string, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(gateway, "0")) //nolint:noctx // at once
	if err != nil {
		return "", &UnavailableError{fmt.Errorf("listen for the node: %w; the Docker engine must run on this machine", err)}
	}
	f := &forward{listener: listener, open: map[net.Conn]bool{}}
	n.forwards = append(n.forwards, f)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go f.serve(conn, target)
		}
	}()
	return listener.Addr().String(), nil
}

func (f *forward) serve(conn net.Conn, target string) {
	server, err := net.Dial("tcp", target) //nolint:noctx // on loopback, at once
	if err != nil {
		_ = conn.Close()
		return
	}
	f.mu.Lock()
	f.open[conn], f.open[server] = true, true
	f.mu.Unlock()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{conn, server}, {server, conn}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1])
			if half, ok := pair[0].(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
	f.mu.Lock()
	delete(f.open, conn)
	delete(f.open, server)
	f.mu.Unlock()
	_, _ = conn.Close(), server.Close()
}

func (f *forward) close() {
	_ = f.listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.open {
		_ = conn.Close()
	}
}
