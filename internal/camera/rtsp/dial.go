package rtsp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Time-outs of the steps. A camera that is slower than this is not recorded
// and the next try comes.
const (
	connectTimeout = 5 * time.Second
	replyTimeout   = 10 * time.Second
	soundTimeout   = 3 * time.Second // for setting up the sound, while the video waits
	writeTimeout   = 5 * time.Second
	goodbyeTimeout = time.Second
)

// A Certificate is what a camera showed over TLS, for a person to judge and
// to pin. The texts are the camera's.
type Certificate struct {
	SHA256    []byte // of the DER
	SPKI      []byte // SHA-256 of the public key (SubjectPublicKeyInfo): the pin that outlives a renewal
	Subject   string
	Issuer    string
	Names     []string // at most 16
	NotBefore time.Time
	NotAfter  time.Time
}

func certificate(c *x509.Certificate) *Certificate {
	whole, key := sha256.Sum256(c.Raw), sha256.Sum256(c.RawSubjectPublicKeyInfo)
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	for i := range names {
		names[i] = names[i][:min(len(names[i]), maxArg)]
	}
	subject, issuer := c.Subject.String(), c.Issuer.String()
	return &Certificate{whole[:], key[:], subject[:min(len(subject), maxArg)], issuer[:min(len(issuer), maxArg)],
		names[:min(len(names), 16)], c.NotBefore, c.NotAfter}
}

func (c *Certificate) fail(code string, err error, pairs ...string) *Error {
	e := fail(code, err, append(pairs, "fingerprint", hex.EncodeToString(c.SPKI), "certificate", hex.EncodeToString(c.SHA256),
		"subject", c.Subject, "issuer", c.Issuer, "from", c.NotBefore.UTC().Format(time.RFC3339), "until", c.NotAfter.UTC().Format(time.RFC3339))...)
	e.Certificate = c
	return e
}

// dial connects to the camera and, where the link says so, secures it.
func dial(ctx context.Context, o *Options, to URL) (net.Conn, *Certificate, error) {
	dialing, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	nc, err := o.Dial(dialing, "tcp", to.address())
	if err != nil {
		return nil, nil, dialError(ctx, to, err)
	}
	nc = pacing(nc)
	if !to.TLS() {
		return nc, nil, nil
	}
	tc, cert, err := secure(ctx, o, to, nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	return tc, cert, nil
}

func dialError(ctx context.Context, to URL, err error) error {
	var dns *net.DNSError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &dns):
		return fail(DNSFailed, err, "host", to.host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fail(Refused, err, "address", to.address())
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fail(Unreachable, err, "address", to.address(), "reason", "timeout")
	}
	reason := "other"
	var errno syscall.Errno
	if errors.As(err, &errno) {
		reason = errno.Error()
	}
	return fail(Unreachable, err, "address", to.address(), "reason", reason)
}

// secure does the TLS handshake. The camera is known by an authority or by its
// key; not knowing it is an error that carries what it showed, so that an
// administrator can pin it, and never a silent exception.
//
//vigil:clause 5.3.1.1 5.4.1.1 5.5.2.1
func secure(ctx context.Context, o *Options, to URL, nc net.Conn) (net.Conn, *Certificate, error) {
	var shown *Certificate
	cfg := &tls.Config{
		MinVersion:             tls.VersionTLS12,
		ServerName:             to.host,
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, //nolint:gosec // VerifyConnection below decides
		VerifyConnection: func(state tls.ConnectionState) (err error) {
			shown, err = verify(o, to, state)
			return err
		},
	}
	tc := tls.Client(nc, cfg)
	shaking, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	err := tc.HandshakeContext(shaking)
	if err == nil {
		return tc, shown, nil
	}
	var ours *Error
	var record tls.RecordHeaderError
	var alert *net.OpError
	switch {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case errors.As(err, &ours):
		return nil, nil, ours
	case errors.As(err, &record):
		return nil, nil, fail(SpeaksPlain, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return nil, nil, fail(NoAnswer, err, "step", "tls")
	case errors.As(err, &alert) && alert.Op == "remote error", errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return nil, nil, fail(TLSRefused, err)
	}
	return nil, nil, fail(TLSFailed, err, "reason", strings.TrimPrefix(err.Error(), "tls: "))
}

// verify judges what the camera showed.
func verify(o *Options, to URL, state tls.ConnectionState) (*Certificate, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, fail(TLSFailed, nil, "reason", "no certificate")
	}
	leaf := state.PeerCertificates[0]
	shown := certificate(leaf)
	switch o.Link {
	case LinkInsecure:
		return shown, nil
	case LinkPin: // dates and names do not matter: the key does, and an administrator has seen it
		if bytes.Equal(o.Pin, shown.SPKI) || bytes.Equal(o.Pin, shown.SHA256) {
			return shown, nil
		}
		return nil, shown.fail(TLSPin, nil)
	case LinkCA:
	default:
		return nil, shown.fail(TLSUnknown, nil)
	}
	opts := x509.VerifyOptions{DNSName: to.host, Intermediates: x509.NewCertPool(), CurrentTime: time.Unix(0, o.Clock.Wall())}
	if len(o.CA) > 0 {
		opts.Roots = x509.NewCertPool()
		opts.Roots.AppendCertsFromPEM(o.CA)
	}
	for _, c := range state.PeerCertificates[1:] {
		opts.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(opts)
	if err == nil {
		return shown, nil
	}
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &name):
		return nil, shown.fail(TLSName, err, "host", to.host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return nil, shown.fail(TLSExpired, err)
	}
	return nil, shown.fail(TLSUnknown, err)
}
