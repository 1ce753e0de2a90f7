package retry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Network reports whether an error is a connection that was not made, or was
// lost, and may be there at the next try. What is not known here, such as a
// certificate that does not verify or a token that cannot be had, is final.
func Network(err error) bool {
	var certificate *tls.CertificateVerificationError
	if err == nil || errors.As(err, &certificate) || errors.Is(err, context.Canceled) {
		return false
	}
	var operation *net.OpError
	if errors.As(err, &operation) && strings.HasSuffix(operation.Op, " error") {
		return false // "remote error", "local error": a TLS alert
	}
	var name *net.DNSError
	if errors.As(err, &name) {
		return name.IsTemporary || name.IsTimeout
	}
	for _, known := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded,
		syscall.ECONNRESET, syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EPIPE, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	if timedOut(err) {
		return true
	}
	text := err.Error()
	for _, known := range []string{
		// HTTP/2 in net/http has no types for these.
		"http2: ", "stream error", "GOAWAY", "http: server closed", "server closed idle connection", "transport connection broken",
		// What a proxy answered to CONNECT.
		"Bad Gateway", "Service Unavailable", "Gateway Timeout", "Too Many Requests",
	} {
		if strings.Contains(text, known) {
			return true
		}
	}
	return false
}

// timedOut reports whether any error of the chain is a timeout: a *url.Error asks
// only the one right below it, and errors.As would stop there.
func timedOut(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if t, ok := err.(interface{ Timeout() bool }); ok && t.Timeout() {
			return true
		}
	}
	return false
}

// Status reports whether an HTTP status says that the server is overloaded or
// broken, and not that it refuses.
func Status(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// longestAfter bounds what a server may ask for.
const longestAfter = time.Hour

// After is the pause that an answer's Retry-After asks for, in seconds or as a
// date (RFC 9110 §10.2.3); 0 if it has none.
func After(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(max(0, min(seconds, int(longestAfter/time.Second)))) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(0, time.Until(at)), longestAfter)
	}
	return 0
}
