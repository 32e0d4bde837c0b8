package sdp

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"vigil/internal/media"
)

// plain is a text nobody refuses; the cases spoil it.
const plain = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\na=control:*\r\n" +
	"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n" +
	"a=fmtp:96 packetization-mode=1;profile-level-id=42001E;sprop-parameter-sets=Z0IAHvQCgC3I,aM48gA==\r\n" +
	"m=audio 0 RTP/AVP 8\r\na=control:track2\r\na=rtpmap:8 PCMA/8000\r\n"

// TestMends spoils the plain text in every way seen in the field. What comes
// out must be the same, and the mend noted.
func TestMends(t *testing.T) {
	replace := func(old, with string) func(string) string {
		return func(s string) string {
			if !strings.Contains(s, old) {
				panic(old)
			}
			return strings.Replace(s, old, with, 1)
		}
	}
	cases := []struct {
		name  string
		spoil func(string) string
		note  string
	}{
		{"plain", replace("", ""), ""},
		{"no version", replace("v=0\r\n", ""), "no-version"},
		{"version 1", replace("v=0", "v=1"), "version"},
		{"version behind the medias", func(s string) string { return s[5:] + "v=0\r\n" }, ""},
		{"no origin", replace("o=- 1 1 IN IP4 192.0.2.1\r\n", ""), ""},
		{"origin of words", replace("o=- 1 1 IN IP4 192.0.2.1", "o=camera of the door"), "line-left-out"},
		{"origin number out of range", replace("o=- 1 1", "o=- 1 99999999999999999999999"), "line-left-out"},
		{"empty origin", replace("o=- 1 1 IN IP4 192.0.2.1", "o="), "line-left-out"},
		{"IPV4", replace("c=IN IP4 0.0.0.0", "c=IN IPV4 0.0.0.0"), ""},
		{"IPv4 in other case", replace("c=IN IP4 0.0.0.0", "c=in ipv4 0.0.0.0"), "line-left-out"},
		{"no time", replace("t=0 0\r\n", ""), ""},
		{"time of words", replace("t=0 0", "t=now forever"), "line-left-out"},
		{"repeat without time", replace("t=0 0", "r=0 0"), ""},
		{"bandwidth in words", replace("t=0 0", "b=AS:unlimited\r\nb=foo\r\nt=0 0"), "line-left-out"},
		{"uri with blanks", replace("t=0 0", "u=http://[::1\r\nt=0 0"), "line-left-out"},
		{"unknown line", replace("t=0 0", "x=1\r\nt=0 0\r\nhello\r\n=\r\n"), "not-a-line"},
		{"unknown line in media", replace("a=control:track1", "t=0 0\r\ns=x\r\nv=0\r\nz=1\r\na=control:track1"), "line-left-out"},
		{"LF", func(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }, ""},
		{"CR", func(s string) string { return strings.ReplaceAll(s, "\r\n", "\r") }, ""},
		{"CR CR LF", func(s string) string { return strings.ReplaceAll(s, "\r\n", "\r\r\n") }, ""},
		{"empty lines", func(s string) string { return "\r\n" + strings.ReplaceAll(s, "\r\n", "\r\n \r\n\t\r\n") }, ""},
		{"no end of the last line", func(s string) string { return strings.TrimSpace(s) }, ""},
		{"byte order mark", func(s string) string { return "\ufeff" + s }, "byte-order-mark"},
		{"zero at the end", func(s string) string { return s + "\x00\x00" }, "control-bytes"},
		{"blanks around lines", func(s string) string { return strings.ReplaceAll(s, "\r\n", " \t\r\n  ") }, ""},
		{"blanks around equals", func(s string) string { return strings.ReplaceAll(s, "a=", "a = ") }, ""},
		{"upper-case keys", func(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "a=", "A="), "m=", "M=") }, ""},
		{"upper-case attributes", func(s string) string {
			return strings.NewReplacer("rtpmap", "RTPMAP", "fmtp", "FmTp", "control", "Control").Replace(s)
		}, ""},
		{"upper-case parameters", func(s string) string {
			return strings.NewReplacer("sprop-parameter-sets", "SPROP-Parameter-Sets", "packetization-mode", "Packetization-Mode").Replace(s)
		}, ""},
		{"blanks in rtpmap", replace("a=rtpmap:96 H264/90000", "a=rtpmap: 96  h264 / 90000 "), ""},
		{"tab in rtpmap", replace("a=rtpmap:96 H264/90000", "a=rtpmap:96\tH264/90000\t"), ""},
		{"no blank in rtpmap", replace("a=rtpmap:96 H264/90000", "a=rtpmap:96H264/90000"), ""},
		{"no clock", replace("H264/90000", "H264"), ""},
		{"wrong clock", replace("H264/90000", "H264/25"), "clock-rate"},
		{"channels of a video", replace("H264/90000", "H264/90000/1"), ""},
		{"control=", replace("a=control:track1", "a=control=track1"), ""},
		{"blank control", replace("a=control:track1", "a=control: track1 "), ""},
		{"control twice", replace("a=control:track1", "a=control:track1\r\na=control:track9"), ""},
		{"control bytes in fmtp", replace("packetization-mode=1", "\x01packet\x02ization-mode=1\x7f"), "control-bytes"},
		{"bytes that are no text", replace("packetization-mode=1", "packetization-mode=1;\xff\xfe"), "control-bytes"},
		{"line end in fmtp", replace(";sprop-param", "; \r\nsprop-param"), "broken-line"},
		{"line end in base64", replace("Z0IAHv", "Z0I\nAHv"), "broken-line"},
		{"blanks in fmtp", replace("96 packetization-mode=1;profile-level-id=42001E;sprop-parameter-sets=", "96   packetization-mode = 1 ;; profile-level-id=42001E ; sprop-parameter-sets = "), ""},
		{"quotes in fmtp", replace("Z0IAHvQCgC3I,aM48gA==", `"Z0IAHvQCgC3I,aM48gA=="`), ""},
		{"no padding", replace("aM48gA==", "aM48gA"), ""},
		{"comma at the end", replace("aM48gA==", "aM48gA==,"), ""},
		{"start codes", replace("Z0IAHvQCgC3I,aM48gA==", "AAAAAWdCAB70AoAtyA==,AAAAAWjOPIA="), ""},
		{"sets in one", replace("Z0IAHvQCgC3I,aM48gA==", "AAAAAWdCAB70AoAtyAAAAAFozjyA"), ""},
		{"sets in the other order", replace("Z0IAHvQCgC3I,aM48gA==", "aM48gA==,Z0IAHvQCgC3I"), ""},
		{"zeros behind a set", replace("aM48gA==", "aM48gAAAAA=="), ""},
		{"profile in lower case", replace("m=video 0 RTP/AVP", "m=Video 0 rtp/avp"), ""},
		{"blanks in m=", replace("m=video 0 RTP/AVP 96", "m=  video  0   RTP/AVP\t96 \t"), ""},
		{"port range", replace("m=video 0 ", "m=video 49170/2 "), ""},
		{"no port", replace("m=video 0 ", "m=video "), "no-port"},
		{"word as port", replace("m=video 0 ", "m=video any "), "no-port"},
		{"port out of range", replace("m=video 0 ", "m=video 99999 "), ""},
		{"no transport", replace("m=video 0 RTP/AVP 96", "m=video 0 96"), "no-transport"},
		{"unknown transport", replace("m=video 0 RTP/AVP 96", "m=video 0 RTSP/AVP 96"), "transport"},
		{"RTP/AVP/TCP", replace("m=video 0 RTP/AVP 96", "m=video 0 RTP/AVP/TCP 96"), ""},
		{"word as payload type", replace("RTP/AVP 96", "RTP/AVP H264"), "payload-type"},
		{"smart payload type", replace("RTP/AVP 96", "RTP/AVP smart/1/90000"), "payload-type"},
		{"no payload type", replace("RTP/AVP 96", "RTP/AVP"), "payload-type"},
		{"commas between payload types", replace("RTP/AVP 96", "RTP/AVP 96,97"), ""},
		{"payload type twice", replace("RTP/AVP 96", "RTP/AVP 96 96"), ""},
		{"payload type out of range", replace("RTP/AVP 96", "RTP/AVP 300 96"), "payload-type"},
		{"other formats first", replace("RTP/AVP 96", "RTP/AVP 34 98 96"), ""},
		{"fmtp in another media", func(s string) string {
			i := strings.Index(s, "a=fmtp")
			j := i + strings.Index(s[i:], "\n") + 1
			return s[:i] + s[j:] + s[i:j]
		}, "misplaced"},
		{"rtpmap before all medias", func(s string) string {
			return "a=rtpmap:96 H264/90000\r\n" + strings.Replace(s, "a=rtpmap:96 H264/90000\r\n", "", 1)
		}, "misplaced"},
		{"no rtpmap but parameters", replace("a=rtpmap:96 H264/90000\r\n", ""), ""},
		{"rtpmap of a static type left out", replace("a=rtpmap:8 PCMA/8000\r\n", ""), ""},
		{"rtpmap for another static type", replace("a=rtpmap:8 PCMA/8000", "a=rtpmap:0 pcma/8000/1"), ""},
		{"PCMA by another name", replace("RTP/AVP 8\r\na=control:track2\r\na=rtpmap:8 PCMA/8000", "RTP/AVP 97\r\na=control:track2\r\na=rtpmap:97 G711A/8000"), ""},
		{"two medias of one type", replace("RTP/AVP 8\r\na=control:track2\r\na=rtpmap:8 PCMA/8000", "RTP/AVP 96\r\na=control:track2\r\na=rtpmap:96 pcma/8000"), ""},
		{"unknown media", func(s string) string {
			return s + "m=image 9 TCP t38\r\nm=vana 0 RTP/AVP 108\r\na=rtpmap:108 video.analysis/90000/500\r\n" +
				"m=application/X 0 RTP/AVP smart/1/90000\r\nm=data\r\nm=\r\nm= \r\n"
		}, "media-left-out"},
		{"unknown media first", func(s string) string {
			return strings.Replace(s, "m=video", "m=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\nm=video", 1)
		}, "media-left-out"},
		{"directions", replace("a=control:track1", "a=recvonly \r\na=control:track1"), ""},
		{"direction in the session", replace("a=control:*", "a=control:*\r\na=recvonly"), ""},
		{"all sendonly", func(s string) string {
			return strings.ReplaceAll(s, "a=control:track", "a=sendonly\r\na=control:track")
		}, ""},
		{"bad key-mgmt", replace("a=control:track1", "a=key-mgmt:mikey !!!\r\na=control:track1"), "key-mgmt"},
		{"a reply behind it", func(s string) string {
			return s[:strings.Index(s, "m=audio")] + "\r\nRTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n" + s[strings.Index(s, "m=audio"):]
		}, "not-a-line"},
		{"port below zero", replace("m=video 0 ", "m=video -1353744643 "), "no-port"},
		{"connection of bytes", replace("a=control:track1", "c=IN IP4 '&\xf0\x9f\x01\r\na=control:track1"), ""},
		{"transport the other way round", replace("RTP/AVP 96", "TCP/RTP/AVP 96"), ""},
		{"session name in Latin-1", replace("s=x", "s=K\xfcche"), "control-bytes"},
		{"parameters in two lines", replace("packetization-mode=1;", "packetization-mode=1\r\na=fmtp:96 "), ""},
		{"blanks between parameters", replace("packetization-mode=1;profile-level-id=42001E;", "packetization-mode=1 profile-level-id=42001E  "), ""},
		{"quotes around each set", replace("Z0IAHvQCgC3I,aM48gA==", `"Z0IAHvQCgC3I","aM48gA=="`), ""},
		{"parameters of another type", replace("a=fmtp:96", "a=fmtp:97"), "fmtp-mismatch"},
		{"rtpmap without a name", replace("H264/90000", "/90000"), ""},
		{"rtpmap with a name of the maker", replace("H264/90000", "SmartCodec/90000"), "codec-name"},
		{"semicolon behind rtpmap", replace("H264/90000", "H264;"), ""},
		{"rtpmap of a type that is not listed", replace("a=rtpmap:96 H264/90000", "a=rtpmap:102 H265/90000\r\na=rtpmap:96 H264/90000"), ""},
		{"static type mapped twice", replace("a=rtpmap:8 PCMA/8000", "a=rtpmap:8 PCMU/8000\r\na=rtpmap:8 PCMA/8000"), ""},
		{"long line", replace("a=control:track1", "a=x:"+strings.Repeat("y", 20000)+"\r\na=control:track1"), "line-too-long"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, err := Parse([]byte(c.spoil(plain)))
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Tracks) != 2 || d.Tracks[0].Codec != media.H264 || d.Tracks[1].Codec != media.PCMA || len(d.BackChannels) != 0 {
				t.Fatalf("%+v", d)
			}
			v, a := d.Tracks[0], d.Tracks[1]
			if v.PayloadType != 96 || v.ClockRate != 90000 || v.Control != "track1" || v.Profile != AVP || v.PacketizationMode != 1 {
				t.Errorf("video %+v", v)
			}
			if len(v.ParameterSets) != 2 || len(v.ParameterSets[0]) != 9 || len(v.ParameterSets[1]) != 4 {
				t.Errorf("parameter sets %x", v.ParameterSets)
			}
			if a.ClockRate != 8000 || a.Channels != 1 || a.Control != "track2" {
				t.Errorf("sound %+v", a)
			}
			if d.Control != "*" {
				t.Errorf("control %q", d.Control)
			}
			if c.note != "" && !slices.ContainsFunc(d.Notes, func(n Note) bool { return n.Code == c.note }) {
				t.Errorf("notes %v, want %s", d.Notes, c.note)
			}
			if c.name == "plain" && d.Notes != nil {
				t.Errorf("notes %v about nothing", d.Notes)
			}
		})
	}
}

// TestParameterSetsMissing is for sprop that does not help: the video is taken
// all the same, its sets come in band.
func TestParameterSetsMissing(t *testing.T) {
	for _, sprop := range []string{
		"Z0IAHvQCgC3I,", "Z0IAHvQCgC3I", ",", "", "!!!,???", "A", "AAAA,BBBB", "Z0IAHvQCgC3I,aM48gA==,aM48gA==,!", "aM48gA==",
	} {
		d, err := Parse([]byte(strings.Replace(plain, "Z0IAHvQCgC3I,aM48gA==", sprop, 1)))
		if err != nil {
			t.Errorf("%q: %v", sprop, err)
			continue
		}
		for _, s := range d.Video().ParameterSets {
			if s[0] != 0x67 && s[0] != 0x68 {
				t.Errorf("%q: %x", sprop, s)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	head := "v=0\r\ns=x\r\nt=0 0\r\n"
	cases := []struct {
		text, code string
		args       []string
	}{
		{"", NotSDP, nil},
		{"\r\n\r\n", NotSDP, nil},
		{"<html>404</html>", NotSDP, nil},
		{strings.Repeat("a=x\n", 100000), TooLong, nil},
		{head, NoMedia, nil},
		{head + "m=audio 0 RTP/AVP 0\r\n", NoVideo, []string{"kinds", "audio"}},
		{head + "m=image 9 TCP t38\r\nm=audio 0 RTP/AVP 0\r\n", NoVideo, []string{"kinds", "image,audio"}},
		{head + "m=video 0 RTP/AVP 31\r\n", UnsupportedCodec, []string{"codec", "H261", "track", "1"}},
		{head + "m=audio 0 RTP/AVP 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 MP4V-ES/90000\r\n", UnsupportedCodec, []string{"codec", "MP4V-ES", "track", "2"}},
		{head + "m=video 0 MP2T/AVP 33\r\n", UnsupportedCodec, []string{"codec", "MP2T"}},
		{head + "m=video 0 RTP/AVP 99 98\r\na=rtpmap:98 VP8/90000\r\na=rtpmap:99 AV1/90000\r\n", UnsupportedCodec, []string{"codec", "AV1"}},
		{head + "m=video 0 RTP/AVP 40\r\n", UndeclaredType, []string{"payload", "40", "track", "1"}},
		{head + "m=video 0 RTP/AVP word\r\n", UndeclaredType, []string{"payload", "word"}},
		{head + "m=video 0 RTP/AVP 26\r\na=inactive\r\n", InactiveVideo, []string{"track", "1"}},
	}
	for _, c := range cases {
		_, err := Parse([]byte(c.text))
		var e *Error
		if !errors.As(err, &e) || e.Code != c.code {
			t.Errorf("%.40q: %v, want %s", c.text, err, c.code)
			continue
		}
		for i := 0; i+1 < len(c.args); i += 2 {
			if e.Args[c.args[i]] != c.args[i+1] {
				t.Errorf("%.40q: %v", c.text, e)
			}
		}
	}
}

func TestBackChannels(t *testing.T) {
	d, err := Parse([]byte(plain + "m=audio 0 RTP/AVP 0\r\na=sendonly\r\na=control:back\r\n"))
	if err != nil || len(d.Tracks) != 2 || len(d.BackChannels) != 1 || d.BackChannels[0].Control != "back" {
		t.Errorf("%+v, %v", d, err)
	}
	d, err = Parse([]byte(strings.Replace(plain, "m=audio 0 RTP/AVP 8\r\n", "m=audio 0 RTP/AVP 8\r\na=SendOnly\r\n", 1)))
	if err != nil || len(d.Tracks) != 1 || len(d.BackChannels) != 1 {
		t.Errorf("a back-channel alone: %+v, %v", d, err)
	}
}

// TestOneCodingTwice: a camera may send the coding that was chosen under each
// type it names for it, and change over.
func TestOneCodingTwice(t *testing.T) {
	d, err := Parse([]byte(strings.NewReplacer("RTP/AVP 96", "RTP/AVP 34 96 97 98 99", "a=control:track1",
		"a=rtpmap:97 H265/90000\r\na=rtpmap:98 h264/90000\r\na=rtpmap:99 rtx/90000\r\na=control:track1").Replace(plain)))
	if err != nil || d.Video().PayloadType != 96 || !slices.Equal(d.Video().OtherTypes, []uint8{98}) {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestSecureProfiles(t *testing.T) {
	d, err := Parse(body(t, "sdp/gortsplib-desc-key-mgmt-in-session.sdp"))
	if err != nil || d.Video().MIKEY == nil || d.Video().Profile != SAVP || !d.Video().Profile.Secure() {
		t.Errorf("MIKEY in the session: %+v, %v", d, err)
	}
	crypto := "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4"
	d, err = Parse([]byte(strings.Replace(plain, "m=video 0 RTP/AVP 96\r\n", "m=video 0 RTP/SAVPF 96\r\na=Crypto:"+crypto+"\r\n", 1)))
	if err != nil || d.Video().Profile != SAVPF || !slices.Equal(d.Video().Crypto, []string{crypto}) || d.Tracks[1].Profile != AVP {
		t.Errorf("a=crypto: %+v, %v", d, err)
	}
	d, err = Parse(body(t, "sdp/gortsplib-desc-multiple-formats-for-each-media.sdp"))
	if err != nil || d.Video().Profile != DTLS || d.Video().PayloadType != 100 {
		t.Errorf("WebRTC offer: %+v, %v", d, err)
	}
}

// TestContradiction is for an m= line and an rtpmap that disagree: packets of
// both types are taken.
func TestContradiction(t *testing.T) {
	d, err := Parse([]byte(strings.Replace(plain, "a=rtpmap:96", "a=rtpmap:97", 1)))
	if err != nil || d.Video().Codec != media.H264 || !d.Video().Takes(96) || !d.Video().Takes(97) || d.Video().Takes(98) {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestSound(t *testing.T) {
	video := plain[:strings.Index(plain, "m=audio")]
	cases := []struct {
		text string
		want media.Codec
		rate int
		ch   int
		cfg  string
	}{
		{"97\r\na=rtpmap:97 MPEG4-GENERIC/16000\r\na=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1408; profile=1;", media.AAC, 16000, 0, "\x14\x08"},
		{"97\r\na=rtpmap:97 mpeg4-generic/16000/2\r\na=fmtp:97 mode=AAC_hbr", media.AAC, 16000, 2, "\x14\x10"},
		{"97\r\na=rtpmap:97 mpeg4-generic/8000/1\r\na=fmtp:97 mode=AAC-hbr;config=zz;SizeLength=13", media.AAC, 8000, 1, "\x15\x88"},
		{"97\r\na=rtpmap:97 mpeg4-generic/8000/1\r\na=fmtp:97 mode=CELP-vbr;config=1588", 0, 0, 0, ""},
		{"97\r\na=rtpmap:97 mpeg4-generic", 0, 0, 0, ""},
		{"97\r\na=rtpmap:97 MP4A-LATM/44100/2\r\na=fmtp:97 cpresent=0;config=400024103fc0", media.AAC, 44100, 2, ""},
		{"97\r\na=rtpmap:97 opus/48000", media.Opus, 48000, 2, ""},
		{"97\r\na=rtpmap:97 OPUS/48000/1", media.Opus, 48000, 2, ""},
		{"97\r\na=rtpmap:97 multiopus/48000/6", 0, 0, 0, ""},
		{"97\r\na=rtpmap:97 PCMU/16000/2", media.PCMU, 16000, 2, ""},
		{"0", media.PCMU, 8000, 1, ""},
		{"11\r\na=rtpmap:11 PCM/48000", 0, 0, 0, ""},
		{"97\r\na=rtpmap:97 G726-32/8000", 0, 0, 0, ""},
		{"97", 0, 0, 0, ""},
		{"9 8", media.PCMA, 8000, 1, ""},
		{"8\r\na=rtpmap:8 PCMU/8000/1\r\na=fmtp:8 vad=no", media.PCMU, 8000, 1, ""},
		{"0\r\na=rtpmap:0 MPEG4-GENERIC/16000/2\r\na=fmtp:0 config=1408", media.AAC, 16000, 2, "\x14\x08"},
		{"97\r\na=rtpmap:97 pcm_mulaw/8000", media.PCMU, 8000, 1, ""},
		{"14", 0, 0, 0, ""},
	}
	for _, c := range cases {
		d, err := Parse([]byte(video + "m=audio 0 RTP/AVP " + c.text + "\r\n"))
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if c.want == 0 {
			if len(d.Tracks) != 1 || len(d.Notes) == 0 {
				t.Errorf("%q: taken: %+v", c.text, d)
			}
			continue
		}
		if len(d.Tracks) != 2 {
			t.Errorf("%q: left out: %v", c.text, d.Notes)
			continue
		}
		a := d.Tracks[1]
		if a.Codec != c.want || a.ClockRate != c.rate || a.Channels != c.ch || string(a.AAC.Config) != c.cfg {
			t.Errorf("%q: %+v", c.text, a)
		}
	}
}

// TestDoubt: the codec's name and the parameters contradict each other, and
// there are no sets to decide; with sets the name counts.
func TestDoubt(t *testing.T) {
	for fmtp, doubt := range map[string]bool{
		"profile-level-id=420029; packetization-mode=1; sprop-parameter-sets=":            true,
		"profile-space=0;profile-id=1":                                                    false,
		"packetization-mode=0;sprop-vps=QAEMAf//AWAAAAMAsAAAAwAAAwBarAwAAAMABAAAAwAyqA==": false,
		"":                                  false,
		"sprop-parameter-sets=Z0IAHvQCgC3I": true,
	} {
		d, err := Parse([]byte("m=video 0 RTP/AVP 96\r\na=rtpmap:96 H265/90000\r\na=fmtp:96 " + fmtp + "\r\n"))
		if err != nil || d.Video().Codec != media.H265 || d.Video().Doubt != doubt {
			t.Errorf("%q: %+v, %v", fmtp, d, err)
		}
	}
}

// TestSoundTypeInVideo is for a placeholder in the m= line: the rtpmap tells.
func TestSoundTypeInVideo(t *testing.T) {
	d, err := Parse([]byte(strings.Replace(plain, "RTP/AVP 96", "RTP/AVP 0", 1)))
	if err != nil || d.Video().Codec != media.H264 || !d.Video().Takes(96) || len(d.Video().ParameterSets) != 2 {
		t.Errorf("%+v, %v", d, err)
	}
}
