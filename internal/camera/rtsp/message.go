package rtsp

import (
	"bytes"
	"strconv"
	"strings"
)

// Bounds of what a camera may say at once.
const (
	maxHead   = 64 << 10 // bytes of status line and headers
	maxFields = 128      // header lines; more are not read
	maxBody   = 1 << 20  // bytes; session descriptions have a few thousand
)

// A message is a reply, or a request of the camera. Its parts are copies.
type message struct {
	method string // a request's; "" for a reply
	url    string // a request's
	status int
	reason string
	fields []field
	body   []byte
}

type field struct{ name, value string } // name in lower case, value trimmed

// get returns the first value of a header, "" when absent.
func (m *message) get(name string) string {
	for i := range m.fields {
		if m.fields[i].name == name {
			return m.fields[i].value
		}
	}
	return ""
}

// headEnd returns the length of the head at the start of b with its blank
// line, or -1. Lines end with CR LF or with LF.
func headEnd(b []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], '\n')
		if i < 0 {
			return -1
		}
		from += i + 1
		switch {
		case from < len(b) && b[from] == '\n':
			return from + 1
		case from+1 < len(b) && b[from] == '\r' && b[from+1] == '\n':
			return from + 2
		}
	}
}

// parseHead reads a status or request line and headers (RFC 2326 section 6 and
// 7) as cameras write them: blanks anywhere, lines without a colon, folded
// lines. ok is false when the first line is neither of a reply nor of a request.
func parseHead(head []byte) (m message, ok bool) {
	text := strings.ReplaceAll(string(head), "\r", "")
	first, rest, _ := strings.Cut(text, "\n")
	words := strings.Fields(first)
	switch {
	case len(words) >= 2 && strings.HasPrefix(words[0], "RTSP/"):
		status, err := strconv.Atoi(words[1])
		if err != nil || status < 100 || status > 999 {
			return m, false
		}
		m.status, m.reason = status, strings.Join(words[2:], " ")
	case len(words) >= 3 && strings.HasPrefix(words[len(words)-1], "RTSP/"):
		m.method, m.url = words[0], words[1]
	default:
		return m, false
	}
	for len(rest) > 0 && len(m.fields) < maxFields {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if line != "" && (line[0] == ' ' || line[0] == '\t') {
			if n := len(m.fields); n > 0 {
				m.fields[n-1].value = strings.TrimSpace(m.fields[n-1].value + " " + strings.TrimSpace(line))
			}
			continue
		}
		if name, value, found := strings.Cut(line, ":"); found {
			m.fields = append(m.fields, field{strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)})
		}
	}
	return m, true
}

// bodySize returns what Content-Length says; ok is false when it cannot be.
func (m *message) bodySize() (n int, ok bool) {
	text, _, _ := strings.Cut(m.get("content-length"), ";") // some put a parameter there
	if text = strings.TrimSpace(text); text == "" {
		return 0, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0 && n <= maxBody
}

// cseq returns the number of a message, -1 when it has none that can be read.
func (m *message) cseq() int {
	n, err := strconv.Atoi(m.get("cseq"))
	if err != nil || n < 0 {
		return -1
	}
	return n
}

// appendRequest writes a request. Values are ours or a camera's own text
// without line ends: parseHead leaves none.
func appendRequest(dst []byte, method, url string, fields []field) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, url...)
	dst = append(dst, " RTSP/1.0\r\n"...)
	for _, f := range fields {
		dst = append(dst, f.name...)
		dst = append(dst, ": "...)
		dst = append(dst, f.value...)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}
