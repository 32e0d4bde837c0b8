package sdp

import (
	"strconv"
	"strings"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	psdp "github.com/pion/sdp/v3"

	"vigil/internal/media"
)

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
