package sdp

import (
	"slices"
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v5/pkg/mikey"
	gsdp "github.com/bluenviron/gortsplib/v5/pkg/sdp"
	psdp "github.com/pion/sdp/v3"

	"vigil/internal/media"
)

// Parse reads a session description and chooses what to record: the first
// video of H.264, H.265 or MJPEG, and the first sound of AAC, Opus or G.711.
// The error is an *Error; the caller adds the camera's name.
func Parse(text []byte) (Description, error) {
	rec := &record{}
	lines, err := readLines(text, rec)
	if err != nil {
		return Description{}, err
	}
	if len(lines) == 0 {
		return Description{}, refuse(NotSDP, "bytes", strconv.Itoa(len(text)))
	}
	mended := mend(lines, rec)
	var d gsdp.SessionDescription
	if err := d.Unmarshal(mended.text()); err != nil { // no text is known that does this; see FuzzParse
		return Description{}, refuse(NotSDP, "detail", err.Error())
	}
	s := newReader(d.Attributes, rec)
	for i, md := range d.MediaDescriptions {
		s.read(i, mended.medias[i], md)
	}
	return s.choose()
}

// A reader turns gortsplib's sections into medias.
type reader struct {
	rec       *record
	control   string
	direction Direction
	mikey     *mikey.Message
	medias    []offer
}

// An offer is a section with the one format of it that we would take, or the
// reason why there is none.
type offer struct {
	Media
	kind   string
	reason *Error
}

func newReader(attributes []psdp.Attribute, rec *record) *reader {
	r := &reader{rec: rec, control: find(attributes, "control"), direction: direction(attributes)}
	r.mikey = r.keys(attributes, "session")
	return r
}

func find(attributes []psdp.Attribute, name string) string {
	for _, a := range attributes {
		if a.Key == name {
			return a.Value
		}
	}
	return ""
}

func direction(attributes []psdp.Attribute) Direction {
	for _, a := range attributes {
		switch d := Direction(a.Key); d {
		case RecvOnly, SendOnly, SendRecv, Inactive:
			return d
		}
	}
	return Unsaid
}

// keys reads a=key-mgmt (RFC 4567).
func (r *reader) keys(attributes []psdp.Attribute, track string) *mikey.Message {
	value := find(attributes, "key-mgmt")
	if value == "" {
		return nil
	}
	method, data, _ := strings.Cut(value, " ")
	b, ok := decodeBase64(data)
	var m mikey.Message
	if !strings.EqualFold(method, "mikey") || !ok || m.Unmarshal(b) != nil {
		r.rec.note("key-mgmt", "track", track, "text", method)
		return nil
	}
	return &m
}

// read adds a section.
func (r *reader) read(i int, sec section, md *psdp.MediaDescription) {
	track := strconv.Itoa(i + 1)
	m := Media{Index: i, Control: find(md.Attributes, "control"), Profile: profile(sec.proto), Direction: direction(md.Attributes)}
	if m.Direction == Unsaid {
		m.Direction = r.direction
	}
	if m.MIKEY = r.keys(md.Attributes, track); m.MIKEY == nil {
		m.MIKEY = r.mikey
	}
	for _, a := range md.Attributes {
		if a.Key == "crypto" && len(m.Crypto) < 8 {
			m.Crypto = append(m.Crypto, a.Value)
		}
	}
	m.Width, m.Height = dimensions(md.Attributes)
	o, seen := offer{Media: m, kind: sec.kind}, false
	bare := false // what was taken is a video of a static type that the text only lists
	for _, f := range md.MediaName.Formats {
		if pt, ok := payloadType(f); ok && bare {
			if rm, said := mapping(md.Attributes, pt); !said || !codecOf(rm.name).Video() {
				continue
			}
		}
		taken, reason := r.format(m, sec.kind, f, md, track)
		if reason == nil && taken.Codec != 0 {
			o.Media, o.reason = taken, nil
			if _, said := mapping(md.Attributes, taken.PayloadType); said || !taken.Codec.Video() {
				break
			}
			seen, bare = true, true // 26 96 34 with a map of 96 alone: that is what will come
			continue
		}
		if !seen { // the first format is what the camera means to send
			o.Media, o.reason, seen = taken, reason, true
		} else if reason == nil && o.reason != nil {
			o.Media, o.reason = taken, nil
		}
	}
	if o.reason == nil && o.Codec.Video() {
		o.OtherTypes = append(o.OtherTypes, alike(o.Media, md)...)
	}
	r.medias = append(r.medias, o)
}

// alike returns the other payload types of a section that the text maps to the same coding: formats stand in the order of
// preference (RFC 4566 5.14), and whichever of them the camera sends (RFC 3264 5.1), the packets read alike.
func alike(m Media, md *psdp.MediaDescription) (types []uint8) {
	for _, f := range md.MediaName.Formats {
		pt, ok := payloadType(f)
		if !ok || m.Takes(pt) || slices.Contains(types, pt) || len(types) == 8 {
			continue
		}
		if rm, said := mapping(md.Attributes, pt); said && codecOf(rm.name) == m.Codec && rm.clock == m.ClockRate {
			types = append(types, pt)
		}
	}
	return types
}

// dimensions reads a=x-dimensions:1920,1080 and a=framesize:96 1920-1080.
func dimensions(attributes []psdp.Attribute) (int, int) {
	value := find(attributes, "x-dimensions")
	if value == "" {
		_, value, _ = strings.Cut(find(attributes, "framesize"), " ")
	}
	w, h, _ := strings.Cut(strings.ReplaceAll(value, "-", ","), ",")
	width, height := number(strings.TrimSpace(w), media.MaxPictureSide), number(strings.TrimSpace(h), media.MaxPictureSide)
	if width == 0 || height == 0 {
		return 0, 0
	}
	return width, height
}

func profile(proto string) Profile {
	p := strings.ToUpper(proto)
	switch {
	case strings.Contains(p, "TLS"):
		return DTLS
	case strings.Contains(p, "SAVPF"):
		return SAVPF
	case strings.Contains(p, "SAVP"):
		return SAVP
	case strings.Contains(p, "AVPF"):
		return AVPF
	}
	return AVP
}
