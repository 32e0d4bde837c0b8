package rtsp

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// A URL is a camera's address: a parsed type, so that none of it can become
// part of a command or of another request. The zero URL is no address.
type URL struct {
	scheme string // "rtsp" or "rtsps"
	host   string // name or address, no brackets
	port   string // "" is the scheme's own
	path   string // path and query as the operator typed them: cameras compare text
}

// maxURL bounds an address, the operator's or the camera's.
const maxURL = 2048

var errURL = errors.New("not an address of a camera: want rtsp:// or rtsps://, a host, and no user, password or fragment")

// ParseURL reads an operator's address. No error shows it: people paste
// passwords.
func ParseURL(text string) (URL, error) {
	if len(text) > maxURL || !plain(text) {
		return URL{}, errURL
	}
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Hostname() == "" || u.Opaque != "" || strings.Contains(text, "#") {
		return URL{}, errURL
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme != "rtsp" && scheme != "rtsps" {
		return URL{}, errURL
	}
	rest := text[len(u.Scheme)+len("://"):]
	path := ""
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		path = rest[i:]
	}
	return URL{scheme: scheme, host: u.Hostname(), port: u.Port(), path: path}, nil
}

// plain tells whether s can stand in a request line: printable ASCII, no blank.
func plain(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return true
}

// TLS tells whether the scheme is rtsps.
func (u URL) TLS() bool { return u.scheme == "rtsps" }

// Host returns the name or address without port.
func (u URL) Host() string { return u.host }

// address is what to dial.
func (u URL) address() string {
	port := u.port
	switch {
	case port != "":
	case u.TLS():
		port = "322"
	default:
		port = "554"
	}
	return net.JoinHostPort(u.host, port)
}

// String returns the text of a request line.
func (u URL) String() string {
	host := u.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if u.port != "" {
		host += ":" + u.port
	}
	return u.scheme + "://" + host + u.path
}

// redirected returns the address of a Location header: the same host, and
// never from TLS to plain. A user in it is the camera's and not the administrator's.
func (u URL) redirected(location string) (URL, bool) {
	location = strings.TrimSpace(location)
	if strings.HasPrefix(location, "/") && !strings.HasPrefix(location, "//") {
		_, origin, _ := cutURL(u.String())
		location = origin + location
	}
	to, err := ParseURL(withoutUser(location))
	if err != nil || !strings.EqualFold(to.host, u.host) || u.TLS() && !to.TLS() {
		return URL{}, false
	}
	return to, true
}

// withoutUser takes the user and password out of an address that is to be shown.
func withoutUser(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return s
	}
	host, path, slash := strings.Cut(rest, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	if slash {
		path = "/" + path
	}
	return scheme + "://" + host + path
}

// absolute tells whether a control is an address by itself.
func absolute(s string) bool {
	return len(s) > 7 && strings.EqualFold(s[:7], "rtsp://") || len(s) > 8 && strings.EqualFold(s[:8], "rtsps://")
}

// undouble takes the second scheme out of "rtsp://rtsp://host/" (AlexxIT/go2rtc#208).
func undouble(s string) string {
	for absolute(s) {
		_, rest, _ := strings.Cut(s, "://")
		if !absolute(rest) {
			return s
		}
		s = rest
	}
	return s
}

// bases are the texts that controls may be joined to, the best first: the
// camera's Content-Base where it is an address, the address we asked for, and
// a base without scheme (Anjvision, SV3C) or host, completed.
func bases(contentBase, asked string) []string {
	b := undouble(strings.TrimSpace(contentBase))
	if b == "" || len(b) > maxURL || !plain(b) || strings.HasSuffix(b, "://") || b == asked {
		return []string{asked}
	}
	if absolute(b) {
		return []string{b, asked}
	}
	scheme, origin, _ := cutURL(asked)
	switch {
	case strings.Contains(b, "://"):
		return []string{asked}
	case strings.HasPrefix(b, "/"):
		b = origin + b
	default:
		b = scheme + b
	}
	if b == asked || len(b) > maxURL {
		return []string{asked}
	}
	return []string{asked, b}
}

// cutURL cuts an address into "rtsp://", "rtsp://host:port" and the rest.
func cutURL(s string) (scheme, origin, path string) {
	i := strings.Index(s, "://")
	if i < 0 {
		return "", "", s
	}
	scheme = s[:i+3]
	if n := strings.IndexAny(s[i+3:], "/?"); n >= 0 {
		return scheme, s[:i+3+n], s[i+3+n:]
	}
	return scheme, s, ""
}

// joins are the addresses that a control may mean, the likeliest first; the
// next is tried when a camera answers 404 (INTEROP row 7). Most cameras mean
// plain text, behind a query too; a few mean RFC 3986, or the path before the
// query. An address is taken as it is, then with the host that we know: cameras
// behind NAT name one of their own.
func joins(bases []string, control string) []string {
	control = undouble(strings.TrimSpace(control))
	if len(control) > maxURL || !plain(control) {
		control = ""
	}
	var all []string
	add := func(s string) {
		if len(s) > maxURL {
			return
		}
		for _, have := range all {
			if have == s {
				return
			}
		}
		all = append(all, s)
	}
	if absolute(control) {
		add(control)
		_, _, path := cutURL(control)
		for _, b := range bases {
			_, origin, _ := cutURL(b)
			add(origin + path)
		}
		return all
	}
	if control == "" || control == "*" {
		return bases
	}
	for _, b := range bases {
		switch {
		case strings.HasPrefix(control, "?"), strings.HasSuffix(b, "/") != strings.HasPrefix(control, "/"):
			add(b + control)
		case strings.HasSuffix(b, "/"):
			add(b + control[1:])
		default:
			add(b + "/" + control)
		}
	}
	for _, b := range bases {
		if path, query, ok := strings.Cut(b, "?"); ok {
			add(strings.TrimSuffix(path, "/") + "/" + strings.TrimPrefix(control, "/") + "?" + query)
		}
		if u, err := url.Parse(b); err == nil {
			if ref, err := u.Parse(control); err == nil {
				add(ref.String())
			}
		}
	}
	return all
}
