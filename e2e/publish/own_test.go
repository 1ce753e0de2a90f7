package publish_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/org/deploy-model-action/e2e/cloudtest"
	"github.com/org/deploy-model-action/e2e/localcloud"
)

var inside struct {
	once   sync.Once
	engine *engine
	err    error
}

// own is an engine of the tests' own, where this process may start one: it is
// empty, and all that it reaches is the local cloud, where it has the seed's
// login and pulls by the real names. Elsewhere it is the machine's.
func own(t *testing.T) *engine {
	t.Helper()
	c := cloudtest.Cloud(t)
	inside.once.Do(func() {
		if inside.engine, inside.err = startEngine(c); inside.err != nil {
			fmt.Fprintf(os.Stderr, "no Docker engine of the tests' own, so the machine's is used: %v\n", inside.err)
		}
	})
	if inside.err != nil {
		return machine(t)
	}
	return inside.engine
}

// engineScript ends with its input, which is that of a process that is gone: an
// engine that a test leaves behind would keep its disk.
const engineScript = `ip link set lo up || exit
dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" --host "unix://$1/docker.sock" --bridge none --iptables=false >"$1/log" 2>&1 & pid=$!
cat >/dev/null
kill $pid; wait $pid; rm -rf "$1"`

// startEngine starts an engine in a network namespace of its own, in which
// there is nothing but the cloud's proxy: an engine changes the interfaces and
// the filters of its network, and those of the machine are not ours.
func startEngine(c *localcloud.Cloud) (*engine, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("only root may start one")
	}
	for _, name := range []string{"dockerd", "containerd", "ip"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp("", "engine") // short, for the socket
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), "sh", "-c", engineScript, "engine", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it ends by itself, and cleans up
	cmd.Env = os.Environ()
	for name, value := range c.Env("engine") {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	alive, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	address := strings.TrimPrefix(c.Proxy.URL, "http://")
	door, err := isolated(cmd, address)
	if err != nil {
		return nil, errors.Join(err, alive.Close(), os.RemoveAll(dir))
	}
	go relay(door, address)
	e := &engine{host: "unix://" + filepath.Join(dir, "docker.sock"), registry: localcloud.Registry, keep: alive}
	e.env = append(os.Environ(), "DOCKER_HOST="+e.host, "DOCKER_BUILDKIT=0", "DOCKER_CONFIG="+filepath.Join(c.Dir, "docker"))
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, err = e.run(context.Background(), "version"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			return nil, errors.Join(fmt.Errorf("dockerd does not answer: %w: %s", err, log[max(0, len(log)-500):]), alive.Close())
		}
	}
	key, err := os.Open(c.CredentialsFile)
	if err != nil {
		return nil, err
	}
	defer key.Close()
	login := exec.CommandContext(context.Background(), "docker", "login", "--username", "_json_key", "--password-stdin", localcloud.Registry)
	login.Env, login.Stdin = e.env, key
	if out, err := login.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("docker login: %w: %s", err, out)
	}
	return e, nil
}

// isolated starts the command in a new network namespace, and listens there. Of
// this process, only one thread is there, which does nothing else any more. It
// may not end: what it started before, such as the control plane, is to be killed
// when its parent is, and that means the thread.
func isolated(cmd *exec.Cmd, address string) (net.Listener, error) {
	type result struct {
		listener net.Listener
		err      error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread()
		defer func() { select {} }()
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			done <- result{err: fmt.Errorf("a network of its own: %w", err)}
			return
		}
		if err := cmd.Start(); err != nil {
			done <- result{err: err}
			return
		}
		var r result
		for range 50 { // loopback is not up at once
			if r.listener, r.err = net.Listen("tcp", address); r.err == nil {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		done <- r
	}()
	r := <-done
	return r.listener, r.err
}

// relay passes connections on.
func relay(from net.Listener, to string) {
	for {
		client, err := from.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			_ = client.Close()
			continue
		}
		both := func(a, b net.Conn) {
			_, _ = io.Copy(a, b)
			_, _ = a.Close(), b.Close()
		}
		go both(client, server)
		go both(server, client)
	}
}
