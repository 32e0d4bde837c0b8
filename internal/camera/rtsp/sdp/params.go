package sdp

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"vigil/internal/media"
)

// maxSets is the number of parameter sets of one kind taken from a text.
const maxSets = 16

// parameterSets returns the sets of sprop-parameter-sets (RFC 6184) or of
// sprop-vps, -sps and -pps (RFC 7798), in that order. What is no parameter set
// is left out and noted: a comma without a PPS (Hikvision), base64 that is none
// (VStarcam), sets behind start codes, several in one.
func parameterSets(codec media.Codec, params map[string]string, rec *record, track string) [][]byte {
	keys := []string{"sprop-vps", "sprop-sps", "sprop-pps"}
	if codec == media.H264 {
		keys = []string{"sprop-parameter-sets"}
	}
	var sets [][]byte
	for _, key := range keys {
		value := params[key]
		if value == "" {
			continue
		}
		bad := false
		for part := range strings.SplitSeq(value, ",") {
			b, ok := decodeBase64(part)
			if !ok || len(b) == 0 {
				bad = true
				continue
			}
			for _, nal := range splitStartCodes(b) {
				if setOrder(codec, nal) < 0 || len(nal) > media.MaxConfig/4 || len(sets) == maxSets {
					bad = true
					continue
				}
				sets = append(sets, nal)
			}
		}
		if bad {
			rec.note("parameter-sets", "track", track, "text", key+"="+value)
		}
	}
	slices.SortStableFunc(sets, func(a, b []byte) int { return setOrder(codec, a) - setOrder(codec, b) })
	return sets
}

// setOrder returns the place of a parameter set in a configuration; -1 for
// another NAL unit.
func setOrder(codec media.Codec, nal []byte) int {
	if len(nal) < 3 {
		return -1
	}
	if codec == media.H264 {
		switch nal[0] & 0x1f {
		case 7:
			return 1
		case 8:
			return 2
		}
		return -1
	}
	switch nal[0] >> 1 & 0x3f {
	case 32:
		return 0
	case 33:
		return 1
	case 34:
		return 2
	}
	return -1
}

// splitStartCodes cuts at Annex B start codes, which do not belong here but
// come, and drops the zeros at the end that no NAL unit has.
func splitStartCodes(b []byte) [][]byte {
	var out [][]byte
	for _, nal := range bytes.Split(b, []byte{0, 0, 1}) {
		if nal = bytes.TrimRight(nal, "\x00"); len(nal) > 0 {
			out = append(out, nal)
		}
	}
	return out
}

// decodeBase64 reads either alphabet, with or without padding, blanks and the
// quotes that some put around each set (SharpRTSP's sample 4).
func decodeBase64(s string) ([]byte, bool) {
	s = strings.NewReplacer("-", "+", "_", "/", " ", "", "=", "", `"`, "", "'", "").Replace(s)
	if len(s)%4 == 1 {
		return nil, false
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	return b, err == nil
}

// aacOf reads the parameters of RFC 3640 (AAC-hbr and AAC-lbr) and RFC 6416.
// It returns false when the mode is another one.
func aacOf(m *Media, rec *record, track string) bool {
	p := m.Params
	config, err := hex.DecodeString(strings.ReplaceAll(p["config"], " ", ""))
	if err != nil || len(config) > 256 {
		rec.note("config", "track", track, "text", p["config"])
		config = nil
	}
	if canonical(m.Name) == "mp4alatm" {
		m.AAC.LATM = true
		if p["cpresent"] == "0" || len(config) > 0 {
			m.AAC.MuxConfig = config
		}
		return true
	}
	a := &m.AAC
	a.Config = config
	a.ConstantSize = number(p["constantsize"], 8191)
	lengths := [...]struct {
		key string
		to  *int
		hbr int
		lbr int
	}{
		{"sizelength", &a.SizeLength, 13, 6},
		{"indexlength", &a.IndexLength, 3, 2},
		{"indexdeltalength", &a.IndexDeltaLength, 3, 2},
	}
	mode := canonical(p["mode"])
	if mode != "" && mode != "aachbr" && mode != "aaclbr" && p["sizelength"] == "" && a.ConstantSize == 0 {
		return false
	}
	for _, l := range lengths {
		switch text, said := p[l.key]; {
		case said:
			*l.to = number(text, 32)
		case a.ConstantSize > 0:
		case mode == "aaclbr":
			*l.to = l.lbr
		default:
			*l.to = l.hbr
		}
	}
	if a.SizeLength == 0 && a.ConstantSize == 0 {
		a.SizeLength, a.IndexLength, a.IndexDeltaLength = 13, 3, 3
		rec.note("aac-lengths", "track", track)
	}
	if len(a.Config) < 2 {
		made, ok := makeConfig(m.ClockRate, max(m.Channels, 1))
		if !ok {
			return false
		}
		rec.note("config-made", "track", track)
		a.Config = made
	}
	return true
}

// makeConfig makes the AudioSpecificConfig of plain AAC-LC.
func makeConfig(rate, channels int) ([]byte, bool) {
	if channels == 8 {
		channels = 7
	}
	c := mpeg4audio.AudioSpecificConfig{Type: mpeg4audio.ObjectTypeAACLC, SampleRate: rate, ChannelConfig: uint8(min(channels, 7))}
	b, err := c.Marshal()
	return b, err == nil && rate > 0
}
