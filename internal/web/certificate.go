package web

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
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"vigil/internal/audit"
	"vigil/internal/document"
)

// How long our own certificate lasts, and when it is made anew, with the same
// key. Longer than Apple's 825 days is refused by browsers even when a person trusts it.
const (
	certLife  = 800 * 24 * time.Hour
	certRenew = 30 * 24 * time.Hour
)

// A Certificate is the recorder's own: ECDSA P-256, made on this machine at
// the first start, its private key sealed. Safe for many callers.
type Certificate struct {
	file document.File

	mu   sync.Mutex
	cert *tls.Certificate // guarded by mu
}

type certificateDoc struct {
	Certificate []byte `json:"certificate"` // DER
	Key         []byte `json:"key"`         // PKCS #8
}

// The document of the certificate.
const (
	CertificateKind    = "tls"
	CertificateVersion = 1
)

// OpenCertificate reads the certificate or makes it. The key of the file is for the
// purpose "tls".
//
//vigil:clause 5.3.1.1
func OpenCertificate(file document.File) (*Certificate, error) {
	file.Kind, file.Version = CertificateKind, CertificateVersion
	c := &Certificate{file: file}
	var d certificateDoc
	switch _, err := file.Load(&d); {
	case errors.Is(err, fs.ErrNotExist):
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		return c, c.make(key)
	case err != nil:
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(d.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w: %w", document.ErrDamaged, err)
	}
	leaf, err := x509.ParseCertificate(d.Certificate)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w: %w", document.ErrDamaged, err)
	}
	own, ok := key.(*ecdsa.PrivateKey)
	if !ok || !own.PublicKey.Equal(leaf.PublicKey) {
		return nil, fmt.Errorf("certificate: %w: not its key", document.ErrDamaged)
	}
	c.cert = &tls.Certificate{Certificate: [][]byte{d.Certificate}, PrivateKey: own, Leaf: leaf}
	return c, c.renew(time.Now())
}

// make signs a certificate for this machine's names and addresses and keeps
// it.
func (c *Certificate) make(key *ecdsa.PrivateKey) error {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	name, _ := os.Hostname() // without a name there are addresses
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Vigil " + name, Organization: []string{"Vigil"}},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(certLife), // a browser's clock may be behind
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, SignatureAlgorithm: x509.ECDSAWithSHA256, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if name != "" && name != "localhost" {
		t.DNSNames = append(t.DNSNames, name, name+".local")
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			t.IPAddresses = append(t.IPAddresses, n.IP)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	defer clear(raw)
	if err := c.file.Save(certificateDoc{der, raw}); err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	c.cert = &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	return nil
}

// renew needs mu, or is Open.
func (c *Certificate) renew(now time.Time) error {
	if c.cert.Leaf.NotAfter.Sub(now) > certRenew {
		return nil
	}
	return c.make(c.cert.PrivateKey.(*ecdsa.PrivateKey))
}

// Get is for TLS. A renewal that fails leaves the
// old one, which is better than none.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.renew(time.Now()) // tried again at the next handshake
	return c.cert, nil
}

// Fingerprint is the SHA-256 of the certificate (DER), which people compare
// with what their browser shows.
func (c *Certificate) Fingerprint() [32]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sha256.Sum256(c.cert.Certificate[0])
}

// Renew makes the certificate anew, with the same key and the names and
// addresses that the machine has now.
func (c *Certificate) Renew() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.make(c.cert.PrivateKey.(*ecdsa.PrivateKey))
}

// leaf is the certificate as it is now.
func (c *Certificate) leaf() *x509.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cert.Leaf
}

// getCertificate shows the recorder's own certificate, for people to compare and
// to trust. It is no secret: every handshake shows it.
func (c *call) getCertificate() error { return c.showCertificate(http.StatusOK) }

func (c *call) showCertificate(status int) error {
	leaf := c.Own.leaf()
	sum := sha256.Sum256(leaf.Raw)
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return c.answer(status, map[string]any{
		"sha256": hex.EncodeToString(sum[:]), "subject": leaf.Subject.String(), "names": names, "notBefore": ms(leaf.NotBefore), "notAfter": ms(leaf.NotAfter),
		"pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})),
	})
}

// certificateRenew stands in the audit log.
const certificateRenew audit.Action = "certificate.renew"

// renewCertificate makes it anew before its time: the machine has another name
// or address. Browsers that trusted the old one ask again.
//
//vigil:clause 5.3.1.1
func (c *call) renewCertificate() error {
	old := c.Own.Fingerprint()
	if err := c.record(certificateRenew, "", audit.OK, "", map[string]string{"old": hex.EncodeToString(old[:])}); err != nil {
		return err
	}
	if err := c.Own.Renew(); err != nil {
		_ = c.record(certificateRenew, "", audit.Failed, "storage", nil) // the disk's error is what counts
		return err
	}
	return c.showCertificate(http.StatusOK)
}

// Expires is when it ends.
func (c *Certificate) Expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cert.Leaf.NotAfter
}
