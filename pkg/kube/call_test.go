package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"
	"testing"
)

func TestTransient(t *testing.T) {
	t.Parallel()
	wrapped := func(err error) error { return &url.Error{Op: "Patch", URL: "https://c/x", Err: err} }
	for _, tc := range []struct {
		err  error
		want bool
	}{
		{wrapped(io.EOF), true},
		{wrapped(io.ErrUnexpectedEOF), true},
		{wrapped(&net.OpError{Op: "read", Err: syscall.ECONNRESET}), true},
		{wrapped(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), true},
		{wrapped(errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1, ErrCode=NO_ERROR")), true},
		{wrapped(errors.New("http2: client connection lost")), true},
		{fmt.Errorf("stream error when reading response body: %w", errors.New("stream error: stream ID 3; INTERNAL_ERROR")), true},
		{wrapped(context.DeadlineExceeded), true},
		{wrapped(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), true},
		{wrapped(&net.DNSError{Err: "no such host", IsNotFound: true}), false},
		{wrapped(errors.New("Service Unavailable")), true},
		{wrapped(errors.New("Forbidden")), false},
		{wrapped(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), false},
		{wrapped(&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}), false},
		{wrapped(errors.New("oauth2: cannot fetch token: 400 Bad Request")), false},
		{errors.New("encode: unsupported value"), false},
	} {
		if got := Transient(tc.err); got != tc.want {
			t.Errorf("Transient(%v) = %t", tc.err, got)
		}
	}
}
