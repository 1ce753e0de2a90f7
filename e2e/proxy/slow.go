package proxy

import (
	"fmt"
	"io"
	"net"
	"time"
)

// Slow listens in front of an address and gives every byte half a round trip of
// delay in each direction, as a distant server does: time that is spent waiting
// adds up, throughput is untouched. The CONNECT request of a proxy's client
// stands for the handshake of TCP, which a relay cannot delay.
func Slow(target string, roundTrip time.Duration) (address string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // on loopback, at once
	if err != nil {
		return "", nil, fmt.Errorf("slow %q: %w", target, err)
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target) //nolint:noctx // on loopback, at once
			if err != nil {
				_ = client.Close()
				continue
			}
			go delay(server, client, roundTrip/2)
			go delay(client, server, roundTrip/2)
		}
	}()
	return listener.Addr().String(), func() { _ = listener.Close() }, nil
}

// chunk is what was read at once, and when it may arrive.
type chunk struct {
	data []byte
	due  time.Time
}

// delay copies one direction, and closes both connections at its end.
func delay(to, from net.Conn, wait time.Duration) {
	const inFlight = 4096 // chunks; more than a test ever has under way
	chunks := make(chan chunk, inFlight)
	go func() {
		defer close(chunks)
		for {
			data := make([]byte, 64<<10)
			n, err := from.Read(data)
			if n > 0 {
				chunks <- chunk{data[:n], time.Now().Add(wait)}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range chunks {
		time.Sleep(time.Until(c.due))
		if _, err := to.Write(c.data); err != nil {
			break
		}
	}
	_ = to.Close()
	_ = from.Close()
	_, _ = io.Copy(io.Discard, from)
	for range chunks {
		continue // until the reader has ended
	}
}
