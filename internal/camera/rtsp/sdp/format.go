package sdp

import (
	"encoding/hex"
	"maps"
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
	st, fixed := statics[pt]
	fixed = fixed && (kind == "audio" && pt <= lastSound || kind == "video" && pt > lastSound)
	rm, said := mapping(md.Attributes, pt)
	if !said && !fixed {
		if other, otherMap, ok := onlyOther(md); ok { // the m= line and the only rtpmap disagree
			r.rec.note("rtpmap-mismatch", "track", track, "payload", text)
			about, rm, said = other, otherMap, true
			m.OtherTypes = []uint8{other}
		}
	}
	m.Params = r.parameters(md, pt, about, track)
	m.Name, m.ClockRate, m.Channels = rm.name, rm.clock, rm.channels
	switch {
	case fixed && !said:
		m.Name = st.name
	case fixed && codecOf(m.Name) != codecOf(st.name): // GW: PCMU under 8; Anpviz: AAC under 0. The text is believed, as others do
		r.rec.note("static-type", "track", track, "payload", text, "codec", m.Name)
		st.clock = 0
	}
	if fixed && m.ClockRate == 0 {
		m.ClockRate = st.clock
	}
	if codecOf(m.Name) == 0 && kind == "video" || m.Name == "" {
		if name := nameFromParams(m.Params); name != "" {
			if m.Name != "" {
				r.rec.note("codec-name", "track", track, "codec", m.Name)
			}
			m.Name = name
		}
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

// mapping returns the rtpmap of a payload type. Of several the first counts, or
// the one that a static type has anyway (H3C: rtpmap:0 PCMA, then PCMU).
func mapping(attributes []psdp.Attribute, pt uint8) (m rtpmap, said bool) {
	for _, text := range formatAttributes(attributes, "rtpmap", pt) {
		one := parseRTPMap(text)
		if one.name == "" {
			continue
		}
		if st, fixed := statics[pt]; fixed && canonical(one.name) == canonical(st.name) {
			return one, true
		}
		if !said {
			m, said = one, true
		}
	}
	return m, said
}

// parameters returns those of a payload type, from all its fmtp lines; where it
// has none, from the only fmtp line of a section with one format.
func (r *reader) parameters(md *psdp.MediaDescription, pt, about uint8, track string) map[string]string {
	for _, own := range []uint8{about, pt} {
		if m := parseFMTP(strings.Join(formatAttributes(md.Attributes, "fmtp", own), ";")); len(m) > 0 {
			return m
		}
	}
	var only string
	lines := 0
	for _, a := range md.Attributes {
		if a.Key == "fmtp" {
			_, only, _ = cutPayloadType(a.Value)
			lines++
		}
	}
	if lines != 1 || len(md.MediaName.Formats) != 1 {
		return map[string]string{}
	}
	m := parseFMTP(only)
	if len(m) > 0 {
		r.rec.note("fmtp-mismatch", "track", track)
	}
	return m
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

// formatAttributes returns what the attributes of that name say about a payload
// type.
func formatAttributes(attributes []psdp.Attribute, name string, pt uint8) (all []string) {
	for _, a := range attributes {
		if a.Key == name {
			if own, rest, ok := cutPayloadType(a.Value); ok && own == pt {
				all = append(all, rest)
			}
		}
	}
	return all
}

// nameFromParams tells the codec of a format without rtpmap, or of a video with
// a name nobody knows, by parameters that only one has.
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
	if other := nameFromParams(m.Params); len(m.ParameterSets) == 0 && other != "" && codecOf(other) != m.Codec {
		m.Doubt = true // Ezviz C6N calls its H.264 H265 (AlexxIT/go2rtc#264)
		rec.note("codec-doubt", "track", track, "codec", m.Name, "parameters", other)
	}
	m.Numbered = m.Codec == media.H265 && number(m.Params["sprop-max-don-diff"], 32767) > 0
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

// read lets gortsplib read the format, from a text made of what was understood.
// It refuses parameter sets that are legal and rare, so without them at last.
func (m *Media) read(kind string) format.Format {
	params := maps.Clone(m.Params)
	if m.Codec == media.AAC && !m.AAC.LATM && m.AAC.SizeLength > 0 {
		params["sizelength"] = strconv.Itoa(m.AAC.SizeLength) // what was assumed is said
		params["config"] = hex.EncodeToString(m.AAC.Config)
	}
	if f := m.readWith(kind, params); f != nil {
		return f
	}
	maps.DeleteFunc(params, func(k, _ string) bool { return strings.HasPrefix(k, "sprop-") })
	return m.readWith(kind, params)
}

func (m *Media) readWith(kind string, params map[string]string) format.Format {
	md := &psdp.MediaDescription{MediaName: psdp.MediaName{Media: kind}}
	pt := strconv.Itoa(int(m.PayloadType))
	if st, fixed := statics[m.PayloadType]; fixed && codecOf(st.name) != m.Codec {
		pt = "96" // gortsplib believes the type
	}
	clock := strconv.Itoa(m.ClockRate)
	if m.Channels > 0 {
		clock += "/" + strconv.Itoa(m.Channels)
	}
	var kv []string
	for k, v := range params {
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
