package sdp

import (
	"strings"

	"vigil/internal/media"
)

// codecs are the encoding names that are recorded, without regard to case,
// dots and dashes. Where a name is not in the IANA registry it was seen.
var codecs = map[string]media.Codec{
	"h264": media.H264, "avc": media.H264, "xh264": media.H264,
	"h265": media.H265, "hevc": media.H265, "xh265": media.H265,
	"jpeg": media.MJPEG, "mjpeg": media.MJPEG, "mjpg": media.MJPEG,
	"mpeg4generic": media.AAC, "mp4alatm": media.AAC, "aac": media.AAC,
	"opus": media.Opus,
	"pcma": media.PCMA, "g711a": media.PCMA, "alaw": media.PCMA, "pcmalaw": media.PCMA, "g711alaw": media.PCMA,
	"pcmu": media.PCMU, "g711u": media.PCMU, "ulaw": media.PCMU, "mulaw": media.PCMU, "pcmmulaw": media.PCMU, "g711ulaw": media.PCMU, "g711mulaw": media.PCMU,
}

func canonical(name string) string {
	return strings.NewReplacer("-", "", "_", "", ".", "", "+", "").Replace(strings.ToLower(name))
}

func codecOf(name string) media.Codec { return codecs[canonical(name)] }

// A static payload type has a name and a clock without an rtpmap (RFC 3551,
// tables 4 and 5).
type static struct {
	name  string
	clock int
}

const lastSound = 23 // the types above are video

var statics = map[uint8]static{
	0: {"PCMU", 8000}, 3: {"GSM", 8000}, 4: {"G723", 8000}, 5: {"DVI4", 8000}, 6: {"DVI4", 16000}, 7: {"LPC", 8000},
	8: {"PCMA", 8000}, 9: {"G722", 8000}, 10: {"L16", 44100}, 11: {"L16", 44100}, 12: {"QCELP", 8000}, 13: {"CN", 8000},
	14: {"MPA", 90000}, 15: {"G728", 8000}, 16: {"DVI4", 11025}, 17: {"DVI4", 22050}, 18: {"G729", 8000},
	25: {"CelB", 90000}, 26: {"JPEG", 90000}, 28: {"nv", 90000}, 31: {"H261", 90000}, 32: {"MPV", 90000},
	33: {"MP2T", 90000}, 34: {"H263", 90000},
}
