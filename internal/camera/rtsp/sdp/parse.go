package sdp

import (
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
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
	for _, f := range md.MediaName.Formats {
		taken, reason := r.format(m, sec.kind, f, md, track)
		if reason == nil && taken.Codec != 0 {
			o.Media, o.reason = taken, nil
			break
		}
		if !seen { // the first format is what the camera means to send
			o.Media, o.reason, seen = taken, reason, true
		} else if reason == nil && o.reason != nil {
			o.Media, o.reason = taken, nil
		}
	}
	r.medias = append(r.medias, o)
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

// format reads one format of a section.
func (r *reader) format(m Media, kind, text string, md *psdp.MediaDescription, track string) (Media, *Error) {
	pt, ok := payloadType(text)
	if !ok {
		return m, refuse(UndeclaredType, "payload", text, "track", track, "kind", kind)
	}
	m.PayloadType = pt
	about := pt
	rm, said := mapping(md.Attributes, pt)
	if _, fixed := statics[pt]; !said && !fixed {
		if other, otherMap, ok := onlyOther(md); ok { // the m= line and the only rtpmap disagree
			r.rec.note("rtpmap-mismatch", "track", track, "payload", text)
			about, rm, said = other, otherMap, true
			m.OtherTypes = []uint8{other}
		}
	}
	m.Params = parseFMTP(formatAttribute(md.Attributes, "fmtp", about))
	if about != pt && len(m.Params) == 0 {
		m.Params = parseFMTP(formatAttribute(md.Attributes, "fmtp", pt))
	}
	m.Name, m.ClockRate, m.Channels = rm.name, rm.clock, rm.channels
	if st, fixed := statics[pt]; fixed && (kind == "video" || kind == "audio") {
		if !said || pt == 0 || pt == 8 { // rtpmap:0 pcma is not believed
			m.Name = st.name
		}
		if m.ClockRate == 0 {
			m.ClockRate = st.clock
		}
	}
	if m.Name == "" {
		m.Name = nameFromParams(m.Params)
	}
	m.Codec = codecOf(m.Name)
	switch {
	case m.Name == "" && kind == "video" && pt >= 96:
		r.rec.note("undeclared-payload", "track", track, "payload", text) // AJA, and Avigilon's text that is cut off
		m.ClockRate = 90000
		return m, nil
	case m.Name == "":
		return m, refuse(UndeclaredType, "payload", text, "track", track, "kind", kind)
	case m.Codec == 0:
		return m, refuse(UnsupportedCodec, "codec", m.Name, "track", track, "kind", kind)
	case m.Codec.Video():
		m.video(r.rec, track)
	case !m.sound(r.rec, track):
		return m, refuse(UnsupportedCodec, "codec", m.Name, "track", track, "kind", kind)
	}
	m.Format = m.read(kind)
	return m, nil
}

// mapping returns the rtpmap of a payload type.
func mapping(attributes []psdp.Attribute, pt uint8) (rtpmap, bool) {
	m := parseRTPMap(formatAttribute(attributes, "rtpmap", pt))
	return m, m.name != ""
}

// onlyOther returns the rtpmap of a section that has one format and one rtpmap
// for another payload type.
func onlyOther(md *psdp.MediaDescription) (pt uint8, m rtpmap, ok bool) {
	if len(md.MediaName.Formats) != 1 {
		return 0, m, false
	}
	for _, a := range md.Attributes {
		if a.Key != "rtpmap" {
			continue
		}
		other, rest, good := cutPayloadType(a.Value)
		if !good || ok {
			return 0, rtpmap{}, false
		}
		pt, m, ok = other, parseRTPMap(rest), true
	}
	return pt, m, ok
}

func formatAttribute(attributes []psdp.Attribute, name string, pt uint8) string {
	for _, a := range attributes {
		if a.Key == name {
			if own, rest, ok := cutPayloadType(a.Value); ok && own == pt {
				return rest
			}
		}
	}
	return ""
}

// nameFromParams tells the codec of a format without rtpmap by parameters that
// only one has.
func nameFromParams(params map[string]string) string {
	switch {
	case params["sprop-parameter-sets"] != "", params["packetization-mode"] != "":
		return "H264"
	case params["sprop-sps"] != "", params["sprop-vps"] != "":
		return "H265"
	}
	return ""
}

// video fills in what the codec needs. The clock is 90 kHz whatever the text
// says (RFC 6184, 7798, 2435).
func (m *Media) video(rec *record, track string) {
	if m.ClockRate != 90000 {
		if m.ClockRate != 0 {
			rec.note("clock-rate", "track", track, "clock", strconv.Itoa(m.ClockRate))
		}
		m.ClockRate = 90000
	}
	m.Channels = 0
	if m.Codec == media.MJPEG {
		return
	}
	m.ParameterSets = parameterSets(m.Codec, m.Params, rec, track)
	if m.Codec == media.H264 {
		if m.PacketizationMode = number(m.Params["packetization-mode"], 2); m.PacketizationMode == 2 {
			rec.note("interleaved", "track", track) // some say so and do not do it
		}
	}
}

// sound fills in what the codec needs and tells whether it can be recorded.
func (m *Media) sound(rec *record, track string) bool {
	switch m.Codec {
	case media.PCMA, media.PCMU:
		if m.ClockRate == 0 {
			m.ClockRate = 8000
		}
		m.Channels = max(m.Channels, 1)
	case media.Opus:
		m.ClockRate = 48000 // RFC 7587, 4.1
		m.Channels = max(m.Channels, 2)
		return m.Channels == 2 // more is multiopus, which has tables of its own
	case media.AAC:
		if m.Channels > 8 {
			m.Channels = 0 // the configuration tells
		}
		return aacOf(m, rec, track) && m.ClockRate > 0
	}
	return m.Channels <= 8
}

// read lets gortsplib read the format, from a text made of what was understood:
// it refuses parameter sets that are legal and rare, among others.
func (m *Media) read(kind string) format.Format {
	md := &psdp.MediaDescription{MediaName: psdp.MediaName{Media: kind}}
	pt := strconv.Itoa(int(m.PayloadType))
	clock := strconv.Itoa(m.ClockRate)
	if m.Channels > 0 {
		clock += "/" + strconv.Itoa(m.Channels)
	}
	var kv []string
	for k, v := range m.Params {
		kv = append(kv, k+"="+v)
	}
	md.Attributes = []psdp.Attribute{
		{Key: "rtpmap", Value: pt + " " + m.Name + "/" + clock},
		{Key: "fmtp", Value: pt + " " + strings.Join(kv, ";")},
	}
	f, err := format.Unmarshal(md, pt)
	if err != nil {
		return nil
	}
	if _, generic := f.(*format.Generic); generic {
		return nil
	}
	return f
}
