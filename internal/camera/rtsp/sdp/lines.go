package sdp

import (
	"bytes"
	"strconv"
	"strings"
)

// A line is one "x=value" of the text.
type line struct {
	no    int // in the text, from 1
	key   byte
	value string
}

func (l line) text() string { return string(l.key) + "=" + l.value }

// readLines cuts the text into lines, whatever ends them, and mends what is
// wrong with their form.
func readLines(text []byte, rec *record) ([]line, error) {
	if len(text) > MaxText {
		return nil, refuse(TooLong, "bytes", strconv.Itoa(len(text)))
	}
	text = dropByteOrderMark(text, rec)
	var out []line
	for i, raw := range splitLines(text) {
		if len(out) == maxLines {
			rec.note("lines-left-out", "line", strconv.Itoa(i+1))
			break
		}
		raw = dropControlBytes(raw, i+1, rec)
		if raw == "" {
			continue // empty lines: gortsplib's test "empty lines"
		}
		if len(raw) > maxLine {
			rec.note("line-too-long", "line", strconv.Itoa(i+1))
			continue
		}
		l, ok := readLine(raw, i+1)
		switch {
		case ok:
			out = append(out, l)
		case joinBrokenParameters(out, raw):
			rec.note("broken-line", "line", strconv.Itoa(i+1))
		default:
			rec.note("not-a-line", "line", strconv.Itoa(i+1), "text", raw)
		}
	}
	return out, nil
}

// dropByteOrderMark is for servers that keep their description in a file made
// by a Windows editor (SharpRTSP's sample 1).
func dropByteOrderMark(text []byte, rec *record) []byte {
	if rest, ok := bytes.CutPrefix(text, []byte("\xef\xbb\xbf")); ok {
		rec.note("byte-order-mark")
		return rest
	}
	return text
}

// splitLines takes CR LF, LF (live555 recorders, go2rtc's samples) and CR alone
// as the end of a line.
func splitLines(text []byte) []string {
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' })
}

// dropControlBytes is for control bytes in the middle of fmtp and at the end
// of lines (scottlamb/moonfire-nvr#238). Tabs (VStarcam: after the payload
// type) become blanks; blanks around the line go (Uniview, and H265/90000 of
// bluenviron/mediamtx#2473).
func dropControlBytes(s string, no int, rec *record) string {
	bad := false
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ' || r == 0x7f || r == 0xfffd || r == 0xfeff:
			bad = true
			return -1
		}
		return r
	}, s)
	if bad {
		rec.note("control-bytes", "line", strconv.Itoa(no))
	}
	return strings.Trim(s, " ")
}

// readLine reads "x=value", tolerating blanks around the equals sign and an
// upper-case key.
func readLine(s string, no int) (line, bool) {
	rest := strings.TrimLeft(s[1:], " ")
	if !strings.HasPrefix(rest, "=") {
		return line{}, false
	}
	key := s[0]
	if key >= 'A' && key <= 'Z' {
		key += 'a' - 'A'
	}
	if key < 'a' || key > 'z' {
		return line{}, false
	}
	return line{no: no, key: key, value: strings.TrimLeft(rest[1:], " ")}, true
}

// joinBrokenParameters is for a line end in the middle of an fmtp line: the
// rest comes as a line of its own without a key (scottlamb/moonfire-nvr#238).
// What is no part of parameters is not joined: it would cost the last set.
func joinBrokenParameters(before []line, rest string) bool {
	if len(before) == 0 || strings.HasPrefix(rest, "RTSP/") || strings.ContainsAny(rest, ":<>") {
		return false
	}
	last := &before[len(before)-1]
	if last.key != 'a' || len(last.value) < 4 || !strings.EqualFold(last.value[:4], "fmtp") || len(last.value)+len(rest) > maxLine {
		return false
	}
	if name, _, ok := strings.Cut(rest, "="); ok && isToken(name) && len(name) > 2 && strings.ContainsAny(name, "-") {
		last.value += ";" + rest // a parameter of its own: sprop-parameter-sets=
		return true
	}
	last.value += rest
	return true
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c == '-' || c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z') {
			return false
		}
	}
	return s != ""
}
