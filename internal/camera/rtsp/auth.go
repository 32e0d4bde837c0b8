package rtsp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// A credential answers challenges of one kind (RFC 7616, RFC 7617).
type credential struct {
	user, password string
	basic          bool
	hash           func(string) string // hex; nil with basic
	algorithm      string              // as the camera spelled it; "" when it did not
	session        bool                // an algorithm with -sess
	realm, nonce   string
	opaque         string
	hasOpaque      bool
	qop            string // "auth", "auth-int", or "" when the camera did not say
	count          int
	accepted       bool // a request with it was not refused
}

// The ways in, the strongest first.
var digests = []struct {
	name string
	hash func(string) string
}{
	{"SHA-512-256", func(s string) string { h := sha512.Sum512_256([]byte(s)); return hex.EncodeToString(h[:]) }},
	{"SHA-256", func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }},
	{"MD5", legacyMD5},
}

// choose takes the strongest challenge that the options allow (INTEROP row 10):
// SHA-2 before MD5 before Basic. Basic shows the password, so it wants a
// connection whose other end is known, or an administrator who said so; and it
// is never used without TLS where a digest is on offer.
//
//vigil:clause 5.3.1.1
func choose(all []challenge, o *Options) (*credential, *Error) {
	if o.User == "" {
		return nil, fail(AuthNeeded, nil)
	}
	legacyOff, digestOffered := false, false
	for rank, d := range digests {
		for _, c := range all {
			algorithm := c.params["algorithm"]
			name, sess := strings.CutSuffix(strings.ToUpper(algorithm), "-SESS")
			switch name {
			case "":
				name = "MD5"
			case "SHA256":
				name = "SHA-256"
			}
			if c.scheme != "digest" || name != d.name {
				continue
			}
			digestOffered = true
			if rank == len(digests)-1 && !o.LegacyMD5 {
				legacyOff = true
				continue
			}
			qop := c.params["qop"]
			switch {
			case qop == "":
			case lists(qop, "auth"):
				qop = "auth"
			case lists(qop, "auth-int"):
				qop = "auth-int"
			default:
				continue
			}
			opaque, has := c.params["opaque"]
			return &credential{user: o.User, password: o.Password.text, hash: d.hash, algorithm: algorithm, session: sess,
				realm: c.params["realm"], nonce: c.params["nonce"], opaque: opaque, hasOpaque: has, qop: qop}, nil
		}
	}
	var schemes []string
	for _, c := range all {
		schemes = append(schemes, strings.TrimSpace(c.scheme+" "+c.params["algorithm"]))
		if c.scheme != "basic" {
			continue
		}
		switch safe := o.Link == LinkCA || o.Link == LinkPin; {
		case safe, o.Basic && o.Link == LinkInsecure, o.Basic && !digestOffered:
			return &credential{user: o.User, password: o.Password.text, basic: true}, nil
		case !legacyOff:
			return nil, fail(AuthUnsafe, nil)
		}
	}
	if legacyOff {
		return nil, fail(AuthLegacy, nil)
	}
	return nil, fail(AuthUnknown, nil, "schemes", strings.Join(schemes, ", "))
}

// header returns the Authorization for a request.
func (c *credential) header(method, url string) string {
	if c.basic {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.user+":"+c.password))
	}
	a1 := c.user + ":" + unescape(c.realm) + ":" + c.password
	cnonce := ""
	if c.qop != "" || c.session {
		var b [12]byte
		rand.Read(b[:])
		cnonce = hex.EncodeToString(b[:])
	}
	h1 := c.hash(a1)
	if c.session {
		h1 = c.hash(h1 + ":" + c.nonce + ":" + cnonce)
	}
	a2 := method + ":" + url
	if c.qop == "auth-int" {
		a2 += ":" + c.hash("") // no request of ours has a body
	}
	h2 := c.hash(a2)
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username="%s", realm="%s", nonce="%s", uri="%s"`, escape(c.user), c.realm, c.nonce, url)
	if c.qop != "" {
		c.count++
		nc := fmt.Sprintf("%08x", c.count)
		fmt.Fprintf(&b, `, response="%s", qop=%s, nc=%s, cnonce="%s"`, c.hash(h1+":"+c.nonce+":"+nc+":"+cnonce+":"+c.qop+":"+h2), c.qop, nc, cnonce)
	} else {
		fmt.Fprintf(&b, `, response="%s"`, c.hash(h1+":"+c.nonce+":"+h2))
		if c.session {
			fmt.Fprintf(&b, `, cnonce="%s"`, cnonce)
		}
	}
	if c.algorithm != "" {
		fmt.Fprintf(&b, `, algorithm=%s`, token(c.algorithm))
	}
	if c.hasOpaque {
		fmt.Fprintf(&b, `, opaque="%s"`, c.opaque)
	}
	return b.String()
}

var (
	quoter   = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	unquoter = strings.NewReplacer(`\\`, `\`, `\"`, `"`)
)

func escape(s string) string   { return quoter.Replace(s) }
func unescape(s string) string { return unquoter.Replace(s) }

// token keeps an algorithm's letters: the rest of it is the camera's text.
func token(s string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && r <= '~' && r != '"' && r != ',' {
			return r
		}
		return -1
	}, s)
}
