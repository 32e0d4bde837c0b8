package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// The page, built by `make ui`. Its places are behind #, so every file has one
// address and any other address is 404.
//
//go:embed all:ui/dist
var dist embed.FS

// A page holds the files of the page.
type page struct{ files map[string]pageFile }

type pageFile struct {
	kind string
	tag  string
	raw  []byte
	gz   []byte // nil: not worth it
}

// kinds are fixed here: the machine's table of types must not decide what a
// browser runs.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
	".png": "image/png", ".ico": "image/x-icon", ".woff2": "font/woff2", ".json": "application/json", ".txt": "text/plain; charset=utf-8",
	".webmanifest": "application/manifest+json",
}

func newPage() (*page, error) {
	p := &page{files: map[string]pageFile{}}
	root, err := fs.Sub(dist, "ui/dist")
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		kind := kinds[path.Ext(name)]
		if kind == "" {
			return nil // nothing we would know how to serve
		}
		raw, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(raw)
		f := pageFile{kind: kind, raw: raw, tag: `"` + hex.EncodeToString(sum[:12]) + `"`}
		if b := squeeze(raw); len(b) < len(raw)*9/10 {
			f.gz = b
		}
		p.files["/"+name] = f
		if name == "index.html" {
			p.files["/"] = f
		}
		return nil
	})
	return p, err
}

func squeeze(raw []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is one it knows
	_, _ = w.Write(raw)
	w.Close()
	return b.Bytes()
}

func (p *page) serve(c *call) error {
	f, ok := p.files[c.r.URL.Path]
	switch {
	case !ok:
		return notFound()
	case c.r.Method != http.MethodGet && c.r.Method != http.MethodHead:
		c.w.Header().Set("Allow", "GET, HEAD")
		return say(http.StatusMethodNotAllowed, "method-not-allowed")
	}
	h := c.w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("ETag", f.tag)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if strings.HasPrefix(c.r.URL.Path, "/assets/") { // their names have a digest
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body := f.raw
	if f.gz != nil && strings.Contains(c.r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = f.gz
	}
	if strings.Contains(c.r.Header.Get("If-None-Match"), f.tag) {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodGet {
		c.w.Write(body)
	}
	return nil
}

// policy lets the page load what this server sends, and nothing else: no
// inline script or style, no frames, no plug-ins. blob: is what Media Source Extensions play from.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; font-src 'self'; connect-src 'self'; " +
	"manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secure sets the headers of every answer.
//
//vigil:clause 5.2.5.1
func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=(), usb=()")
}
