package simcam

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// newCertificate makes a self-signed certificate for the loopback addresses.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "simcam"},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// CertificatePEM returns the camera's certificate, which is its own authority;
// nil without TLS.
func (c *Camera) CertificatePEM() []byte {
	if der := c.certificate(); der != nil {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return nil
}

// Fingerprint returns the SHA-256 of the certificate in lower-case hex; ""
// without TLS.
func (c *Camera) Fingerprint() string {
	if der := c.certificate(); der != nil {
		sum := sha256.Sum256(der)
		return hex.EncodeToString(sum[:])
	}
	return ""
}

func (c *Camera) certificate() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.cert.Certificate) == 0 {
		return nil
	}
	return c.cert.Certificate[0]
}

// NewCertificate gives the camera another certificate, as a factory reset
// does; it is used by connections from now on.
func (c *Camera) NewCertificate() error {
	cert, err := newCertificate()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.cert.Certificate) == 0 {
		return fmt.Errorf("new certificate: no TLS")
	}
	c.cert = cert
	return nil
}

// tlsConfig looks the certificate up at each handshake.
func (c *Camera) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			cert := c.cert
			return &cert, nil
		},
	}
}
