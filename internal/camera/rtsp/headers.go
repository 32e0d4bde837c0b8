package rtsp

import (
	"strconv"
	"strings"
	"time"
)

// Session time-outs (RFC 2326 section 12.37): 60 s where a camera says none.
const (
	defaultTimeout = 60 * time.Second
	maxTimeout     = time.Hour
)

// parseSession reads a Session header: the id as it came, and the time-out, with
// a blank or a comma where the semicolon belongs too.
func parseSession(v string) (id string, timeout time.Duration) {
	id, params, _ := strings.Cut(v, ";")
	if i := strings.IndexAny(id, " ,"); i > 0 {
		if rest := strings.TrimLeft(id[i:], " ,"); strings.HasPrefix(strings.ToLower(rest), "timeout") {
			id, params = id[:i], rest
		}
	}
	id = strings.TrimSpace(id)
	if len(id) > 256 || !plain(id) {
		id = ""
	}
	timeout = defaultTimeout
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(p, "=")
		if strings.EqualFold(strings.TrimSpace(name), "timeout") {
			value = strings.Trim(strings.TrimSpace(value), `"`)
			if i := strings.IndexFunc(value, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
				value = value[:i]
			}
			if s, err := strconv.Atoi(value); err == nil && s > 0 {
				timeout = min(time.Duration(min(s, 1<<20))*time.Second, maxTimeout)
			}
		}
	}
	return id, timeout
}

// A transportReply is what a camera made of our Transport header. What it
// does not say has a zero ok-flag and stays as it was asked for.
type transportReply struct {
	secure      bool // SAVP or SAVPF
	tcp         bool
	udp         bool   // it names ports, or UDP itself
	said        bool   // it names a profile
	interleaved [2]int // channels of RTP and RTCP; -1 not said
	serverPort  [2]int // 0 not said
	ssrc        uint32 //
	hasSSRC     bool   //
}

// parseTransport reads the first transport of a Transport header (RFC 2326
// section 12.39). Seen on cameras: a blank before the SSRC, an odd number of
// its digits, quotes, one number where two belong, the profile behind the
// parameters, no word of TCP beside its channels.
func parseTransport(v string) (t transportReply) {
	t.interleaved = [2]int{-1, -1}
	v, _, _ = strings.Cut(v, ",")
	for p := range strings.SplitSeq(v, ";") {
		name, value, _ := strings.Cut(p, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		value = strings.Trim(strings.TrimSpace(value), `"`)
		if strings.Contains(name, "rtp/") {
			t.said = true
			t.tcp = t.tcp || strings.Contains(name, "tcp")
			t.udp = t.udp || strings.Contains(name, "udp")
			t.secure = strings.Contains(name, "savp")
			continue
		}
		switch name {
		case "client_port":
			t.udp = true
		case "interleaved":
			if a, b, ok := pair(value, 255); ok {
				t.interleaved = [2]int{a, b}
				t.tcp = true
			}
		case "server_port":
			if a, b, ok := pair(value, 65535); ok {
				t.serverPort, t.udp = [2]int{a, b}, true
			}
		case "ssrc":
			value = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(value)), "0x")
			if n, err := strconv.ParseUint(value, 16, 32); err == nil {
				t.ssrc, t.hasSSRC = uint32(n), true
			}
		}
	}
	return t
}

// pair reads "a-b"; a alone means a and a+1.
func pair(s string, most int) (a, b int, ok bool) {
	first, second, both := strings.Cut(s, "-")
	a, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || a < 0 || a > most {
		return 0, 0, false
	}
	b = a + 1
	if both {
		if n, err := strconv.Atoi(strings.TrimSpace(second)); err == nil {
			b = n
		}
	}
	return a, b, b >= 0 && b <= most
}

// rtpInfoSSRC finds the ssrc that some cameras (Reolink) put into RTP-Info for
// the track with this control.
func rtpInfoSSRC(v, control string) (uint32, bool) {
	for entry := range strings.SplitSeq(v, ",") {
		var url, ssrc string
		for p := range strings.SplitSeq(entry, ";") {
			name, value, _ := strings.Cut(p, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "url":
				url = strings.TrimSpace(value)
			case "ssrc":
				ssrc = strings.TrimSpace(value)
			}
		}
		if ssrc == "" || control == "" || !strings.HasSuffix(url, control) {
			continue
		}
		if n, err := strconv.ParseUint(ssrc, 16, 32); err == nil {
			return uint32(n), true
		}
	}
	return 0, false
}

// lists tells whether a comma-separated header has a word.
func lists(v, word string) bool {
	for w := range strings.SplitSeq(v, ",") {
		if strings.EqualFold(strings.TrimSpace(w), word) {
			return true
		}
	}
	return false
}
