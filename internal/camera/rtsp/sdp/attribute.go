package sdp

import (
	"strconv"
	"strings"
)

// known are the attributes that are read; their names are compared without
// regard to case, as no camera means two things by them.
var known = map[string]bool{
	"rtpmap": true, "fmtp": true, "control": true, "key-mgmt": true, "crypto": true,
	"recvonly": true, "sendonly": true, "sendrecv": true, "inactive": true,
}

// mendAttribute normalises the form of an a= line: case of the name, blanks
// around it and its colon, "control=x" for "control:x". Payload types in
// rtpmap and fmtp are set apart from what follows by one blank.
func mendAttribute(l line) line {
	at := strings.IndexAny(l.value, ":=")
	name, value := l.value, ""
	if at >= 0 {
		name, value = l.value[:at], strings.TrimSpace(l.value[at+1:])
	}
	name = strings.ToLower(strings.TrimSpace(name))
	if !known[name] {
		return l
	}
	if name == "rtpmap" || name == "fmtp" {
		if pt, rest, ok := cutPayloadType(value); ok {
			value = strconv.Itoa(int(pt)) + " " + rest
		}
	}
	l.value = name
	if at >= 0 {
		l.value += ":" + value
	}
	return l
}

// attribute returns the value of an attribute line of that name.
func attribute(l line, name string) (string, bool) {
	if l.key != 'a' {
		return "", false
	}
	return strings.CutPrefix(l.value, name+":")
}

// payloadType reads a payload type: 0 to 127.
func payloadType(s string) (uint8, bool) {
	n, err := strconv.ParseUint(s, 10, 7)
	return uint8(n), err == nil
}

// cutPayloadType cuts "96 rest", "96;rest" and "96rest".
func cutPayloadType(s string) (pt uint8, rest string, ok bool) {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	pt, ok = payloadType(s[:n])
	return pt, strings.Trim(s[n:], " ;:"), ok
}

// An rtpmap is "H264/90000/1", in parts; zero where not said.
type rtpmap struct {
	name     string
	clock    int
	channels int
}

// parseRTPMap reads what follows the payload type: blanks around slashes or in
// place of them, a missing name or clock rate, blanks or a semicolon after it.
func parseRTPMap(s string) rtpmap {
	parts := strings.FieldsFunc(s, func(r rune) bool { return r == '/' || r == ' ' || r == ';' })
	var m rtpmap
	if len(parts) > 0 && !isNumber(parts[0]) {
		m.name, parts = parts[0], parts[1:]
	}
	if len(parts) > 0 {
		m.clock = number(parts[0], 1<<20)
	}
	if len(parts) > 1 {
		m.channels = number(parts[1], 64)
	}
	return m
}

// number reads a positive decimal up to most; 0 when it is none.
func number(s string, most int) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > most {
		return 0
	}
	return n
}

// parseFMTP reads "k=v; k=v": keys in any case, blanks anywhere or in place of
// semicolons (H3C), quotes around values, keys without values, no parameters at
// all (Ubiquiti).
func parseFMTP(s string) map[string]string {
	m := map[string]string{}
	add := func(k, v string) {
		k = strings.ToLower(strings.TrimSpace(k))
		if k == "" || len(m) == 64 {
			return
		}
		if _, twice := m[k]; !twice {
			m[k] = strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	for kv := range strings.SplitSeq(s, ";") {
		k, v, _ := strings.Cut(kv, "=")
		for from := 0; ; {
			i := strings.IndexByte(v[from:], ' ')
			if i < 0 {
				break
			}
			from += i + 1
			if name, value, ok := strings.Cut(v[from:], "="); ok && isToken(name) && value != "" && value[0] != '=' && strings.TrimSpace(v[:from]) != "" {
				add(k, v[:from])
				k, v, from = name, value, 0
			}
		}
		add(k, v)
	}
	return m
}
