package sdp

import (
	"slices"
	"strconv"
	"strings"

	gsdp "github.com/bluenviron/gortsplib/v5/pkg/sdp"
)

// A section is the part of the text of one media.
type section struct {
	kind    string   // "video", "audio", or what stands there
	proto   string   // "RTP/AVP"
	formats []string // payload types, once mended
	lines   []line   // without the m= line
	no      int      // of the m= line
}

// A session is the mended text.
type session struct {
	lines  []line
	medias []section
}

// text returns what gortsplib is given to read. Everything in it was either
// tried on its parser or written by us.
func (s session) text() []byte {
	var b strings.Builder
	b.WriteString("v=0\r\n")
	for _, l := range s.lines {
		b.WriteString(l.text() + "\r\n")
	}
	for _, m := range s.medias {
		kind := m.kind
		if kind != "video" && kind != "audio" {
			kind = "application"
		}
		b.WriteString("m=" + kind + " 0 " + m.proto + " " + strings.Join(m.formats, " ") + "\r\n")
		for _, l := range m.lines {
			b.WriteString(l.text() + "\r\n")
		}
	}
	return []byte(b.String())
}

// mend makes of the lines a text that gortsplib reads.
func mend(lines []line, rec *record) session {
	var s session
	version := false
	for _, l := range lines {
		switch {
		case l.key == 'm':
			if len(s.medias) == maxMedia {
				rec.note("media-left-out", "line", strconv.Itoa(l.no), "reason", "too-many")
				return finish(s, version, rec)
			}
			s.medias = append(s.medias, mendMedia(l, rec))
		case l.key == 'v':
			version = true
			if l.value != "0" {
				rec.note("version", "line", strconv.Itoa(l.no), "text", l.value)
			}
		case len(s.medias) > 0:
			if l, ok := mendMediaLine(l, rec); ok {
				m := &s.medias[len(s.medias)-1]
				m.lines = append(m.lines, l)
			}
		default:
			if l, ok := mendSessionLine(l, rec); ok {
				s.lines = append(s.lines, l)
			}
		}
	}
	return finish(s, version, rec)
}

// finish does the mends that need the whole text.
func finish(s session, version bool, rec *record) session {
	if !version { // no v=: bluenviron/mediamtx#2128
		rec.note("no-version")
	}
	for i := range s.medias {
		mendPayloadTypes(&s.medias[i], rec)
	}
	moveMisplaced(&s, rec)
	return s
}

// mendSessionLine leaves out the lines that gortsplib refuses: o= of Hex
// sessions and of go2rtc's samples, IN IPV4 and c= of Vurix and Uniview, b=
// and t= in words. Nothing in them matters to a recorder, so they are left out
// rather than repaired.
func mendSessionLine(l line, rec *record) (line, bool) {
	if l.key == 'a' {
		return mendAttribute(l), true
	}
	before := ""
	if l.key == 'r' {
		before = "t=0 0\n"
	}
	if !reads(before + l.text()) {
		rec.note("line-left-out", "line", strconv.Itoa(l.no), "text", l.text())
		return line{}, false
	}
	return l, l.key != 'r' // r= is only legal behind t=, which may have gone
}

// mendMediaLine leaves out what may not stand in a media: s= and i= repeated
// there (AlexxIT/WebRTC#417), c= of Avigilon and Uniview.
func mendMediaLine(l line, rec *record) (line, bool) {
	if l.key == 'a' {
		return mendAttribute(l), true
	}
	if !reads("m=video 0 RTP/AVP 96\n" + l.text()) {
		rec.note("line-left-out", "line", strconv.Itoa(l.no), "text", l.text())
		return line{}, false
	}
	return l, true
}

// reads tells whether gortsplib's parser takes a piece of text.
func reads(text string) bool {
	var d gsdp.SessionDescription
	return d.Unmarshal([]byte("v=0\n"+text)) == nil
}

// protos are the parts of a transport that gortsplib knows.
var protos = []string{"UDP", "RTP", "AVP", "SAVP", "SAVPF", "MP2T", "TLS", "DTLS", "SCTP", "AVPF", "TCP"}

// mendMedia reads an m= line: kinds nobody registered (m=vana,
// AlexxIT/go2rtc#1278), slashes in the kind (application/TP-LINK and
// application/MERCURY), a port that is missing or no number, a transport that
// is missing or in lower case, commas between payload types.
func mendMedia(l line, rec *record) section {
	m := section{no: l.no}
	fields := strings.FieldsFunc(l.value, func(r rune) bool { return r == ' ' || r == ',' || r == ';' })
	if len(fields) > 64 {
		fields = fields[:64]
	}
	if len(fields) > 0 {
		kind, _, _ := strings.Cut(strings.ToLower(fields[0]), "/")
		m.kind, fields = kind, fields[1:]
	}
	if len(fields) > 0 && isPort(fields[0]) {
		fields = fields[1:]
	} else {
		rec.note("no-port", "line", strconv.Itoa(l.no), "text", l.value)
		if len(fields) > 1 && isTransport(fields[1]) { // a word in place of the port
			fields = fields[1:]
		}
	}
	m.proto = string(AVP)
	switch {
	case len(fields) > 0 && isTransport(fields[0]):
		m.proto, fields = strings.ToUpper(fields[0]), fields[1:]
	case len(fields) > 0 && !isNumber(fields[0]) && strings.Contains(fields[0], "/") && len(fields) > 1:
		rec.note("transport", "line", strconv.Itoa(l.no), "text", fields[0])
		fields = fields[1:]
	default:
		rec.note("no-transport", "line", strconv.Itoa(l.no), "text", l.value)
	}
	m.formats = slices.Clone(fields)
	return m
}

func isPort(s string) bool {
	a, b, more := strings.Cut(s, "/")
	return isNumber(a) && (!more || isNumber(b))
}

func isTransport(s string) bool {
	for p := range strings.SplitSeq(strings.ToUpper(s), "/") {
		if !slices.Contains(protos, p) {
			return false
		}
	}
	return true
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 31)
	return err == nil
}

// mendPayloadTypes is for a word where payload types belong: smart/1/90000 of
// Mercury and TP-LINK (bluenviron/gortsplib#271, bluenviron/mediamtx#990), a
// codec's name, or nothing at all. The section's own rtpmaps tell.
func mendPayloadTypes(m *section, rec *record) {
	var types, words []string
	for _, f := range m.formats {
		if pt, ok := payloadType(f); ok {
			if text := strconv.Itoa(int(pt)); !slices.Contains(types, text) {
				types = append(types, text)
			}
		} else {
			words = append(words, f)
		}
	}
	if len(types) == 0 {
		for _, l := range m.lines {
			if v, ok := attribute(l, "rtpmap"); ok {
				if pt, _, ok := cutPayloadType(v); ok {
					if text := strconv.Itoa(int(pt)); !slices.Contains(types, text) {
						types = append(types, text)
					}
				}
			}
		}
	}
	if len(words) > 0 || len(m.formats) == 0 {
		rec.note("payload-type", "line", strconv.Itoa(m.no), "text", strings.Join(m.formats, " "))
	}
	if len(types) == 0 {
		types = []string{"-"} // nothing to go by: refused by name later, if it matters
		if len(words) > 0 {
			types = words[:1]
		}
	}
	m.formats = types
}

// moveMisplaced is for rtpmap and fmtp lines that stand in another media's
// section, or before all of them (AlexxIT/WebRTC#419: the video's fmtp comes
// last): they go where their payload type is declared, if that is one place.
func moveMisplaced(s *session, rec *record) {
	move := func(from []line, own int) []line {
		return slices.DeleteFunc(from, func(l line) bool {
			name, value, _ := strings.Cut(l.value, ":")
			if l.key != 'a' || name != "rtpmap" && name != "fmtp" {
				return false
			}
			pt, _, ok := cutPayloadType(value)
			if !ok || pt < 96 || own >= 0 && s.medias[own].has(pt) {
				return false
			}
			to := -1
			for i := range s.medias {
				if s.medias[i].has(pt) {
					if to >= 0 {
						return false
					}
					to = i
				}
			}
			if to < 0 || s.medias[to].describes(name, pt) {
				return false
			}
			rec.note("misplaced", "line", strconv.Itoa(l.no), "text", l.text())
			s.medias[to].lines = append(s.medias[to].lines, l)
			return true
		})
	}
	s.lines = move(s.lines, -1)
	for i := range s.medias {
		// What is moved is appended to another section, which DeleteFunc is not
		// working on: a line never moves to where it is.
		s.medias[i].lines = move(s.medias[i].lines, i)
	}
}

func (m *section) has(pt uint8) bool { return slices.Contains(m.formats, strconv.Itoa(int(pt))) }

// describes tells whether the section has an rtpmap or fmtp of its own for pt.
func (m *section) describes(name string, pt uint8) bool {
	for _, l := range m.lines {
		if v, ok := attribute(l, name); ok {
			if own, _, ok := cutPayloadType(v); ok && own == pt {
				return true
			}
		}
	}
	return false
}
