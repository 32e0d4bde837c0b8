package depay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"
	"github.com/pion/rtp"

	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// An au is an access unit of a test file, with its parameter sets.
type au struct {
	nals [][]byte
	pts  int64
}

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// readMedia returns the access units of a file, Annex B or MP4.
func readMedia(tb testing.TB, name string) (media.Codec, []au) {
	tb.Helper()
	b := read(tb, "media/"+name)
	codec := media.H264
	if strings.Contains(name, "265") {
		codec = media.H265
	}
	if !strings.HasSuffix(name, ".mp4") {
		return codec, splitAnnexB(codec, b)
	}
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(b)); err != nil {
		tb.Fatal(err)
	}
	t := p.Tracks[0]
	var out []au
	dts := int64(0)
	offsets := composition(b)
	for i, s := range t.Samples {
		payload, err := s.GetPayload()
		if err != nil {
			tb.Fatal(err)
		}
		u := au{pts: (dts + offsets(i)) * 90000 / int64(t.TimeScale)}
		if strings.Contains(name, "signed") { // its times are those of a writer that did not know them
			u.pts = int64(i) * 3000
		}
		if !s.IsNonSyncSample {
			switch c := t.Codec.(type) {
			case *codecs.H264:
				u.nals = append(u.nals, c.SPS, c.PPS)
			case *codecs.H265:
				u.nals = append(u.nals, c.VPS, c.SPS, c.PPS)
			}
		}
		u.nals = append(u.nals, unpack(tb, payload)...)
		out = append(out, u)
		dts += int64(s.Duration)
	}
	return codec, out
}

// composition reads the first ctts box, which pmp4 does only in version 1.
func composition(file []byte) func(i int) int64 {
	var offsets []int64
	if at := bytes.Index(file, []byte("ctts")); at >= 0 {
		b := file[at+8:]
		n := binary.BigEndian.Uint32(b)
		for b = b[4:]; n > 0; n-- {
			for range binary.BigEndian.Uint32(b) {
				offsets = append(offsets, int64(int32(binary.BigEndian.Uint32(b[4:]))))
			}
			b = b[8:]
		}
	}
	return func(i int) int64 {
		if i < len(offsets) {
			return offsets[i]
		}
		return 0
	}
}

// splitAnnexB is a simple splitter: a new unit at each NAL unit that may stand
// in front of a picture, or is a first slice.
func splitAnnexB(codec media.Codec, b []byte) []au {
	var out []au
	has := false
	for _, nal := range bytes.Split(b, []byte{0, 0, 1}) {
		nal = bytes.TrimRight(nal, "\x00")
		if len(nal) == 0 {
			continue
		}
		var vcl, first, front bool
		if codec == media.H264 {
			t := nal[0] & 0x1f
			vcl, front = t >= 1 && t <= 5, t >= 6 && t <= 9
			first = vcl && nal[1]&0x80 != 0
		} else {
			t := nal[0] >> 1
			vcl, front = t < 32, t >= 32 && t <= 35 || t == 39
			first = vcl && nal[2]&0x80 != 0
		}
		if len(out) == 0 || has && (first || front) {
			out = append(out, au{pts: int64(len(out)) * 3000})
			has = false
		}
		has = has || vcl
		out[len(out)-1].nals = append(out[len(out)-1].nals, nal)
	}
	return out
}

func unpack(tb testing.TB, b []byte) [][]byte {
	tb.Helper()
	var out [][]byte
	for len(b) > 0 {
		if len(b) < 4 || int(binary.BigEndian.Uint32(b)) > len(b)-4 || binary.BigEndian.Uint32(b) == 0 {
			tb.Fatalf("bad length in a sample: % x", b[:min(len(b), 8)])
		}
		n := int(binary.BigEndian.Uint32(b))
		out = append(out, b[4:4+n])
		b = b[4+n:]
	}
	return out
}

// kept are the NAL units that belong into a sample.
func kept(codec media.Codec, nals [][]byte) [][]byte {
	var out [][]byte
	for _, n := range nals {
		drop := false
		if codec == media.H264 {
			switch n[0] & 0x1f {
			case 7, 8, 9, 12:
				drop = true
			}
		} else {
			switch n[0] >> 1 {
			case 32, 33, 34, 35, 38:
				drop = true
			}
		}
		if !drop {
			out = append(out, n)
		}
	}
	return out
}

// packetise makes packets of access units with gortsplib's encoders.
func packetise(tb testing.TB, codec media.Codec, aus []au, size, mode int) []Packet {
	tb.Helper()
	encode := func() func([][]byte) ([]*rtp.Packet, error) {
		if codec == media.H264 {
			e := &rtph264.Encoder{PayloadType: 96, PayloadMaxSize: size, PacketizationMode: mode}
			if err := e.Init(); err != nil {
				tb.Fatal(err)
			}
			return e.Encode
		}
		e := &rtph265.Encoder{PayloadType: 96, PayloadMaxSize: size}
		if err := e.Init(); err != nil {
			tb.Fatal(err)
		}
		return e.Encode
	}()
	var out []Packet
	for _, u := range aus {
		pkts, err := encode(u.nals)
		if err != nil {
			tb.Fatal(err)
		}
		for _, p := range pkts {
			out = append(out, Packet{Payload: p.Payload, Time: uint32(u.pts), Marker: p.Marker, Arrived: u.pts})
		}
	}
	return out
}

// A result is a unit with its data copied.
type result struct {
	Unit
	nals [][]byte
}

// run pushes packets and flushes.
func run(tb testing.TB, d Depacketizer, pkts []Packet) []result {
	tb.Helper()
	var out []result
	take := func(units []Unit) {
		for _, u := range units {
			u.Data = bytes.Clone(u.Data)
			r := result{Unit: u}
			if c := d.Track(); c != nil && (c.Codec == media.H264 || c.Codec == media.H265) {
				r.nals = unpack(tb, u.Data)
			}
			out = append(out, r)
		}
	}
	for i, p := range pkts {
		units, err := d.Push(p)
		if err != nil {
			tb.Logf("packet %d: %v", i, err)
		}
		take(units)
	}
	take(d.Flush())
	return out
}

func newVideo(tb testing.TB, codec media.Codec, sets ...[]byte) Depacketizer {
	tb.Helper()
	d, err := New(sdp.Media{Codec: codec, ClockRate: 90000, ParameterSets: sets})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func equalNALs(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func heads(nals [][]byte) string {
	var s []string
	for _, n := range nals {
		s = append(s, fmt.Sprintf("%02x+%d", n[0], len(n)))
	}
	return strings.Join(s, " ")
}

var files = []string{
	"h26x-idr-sps-pps-non-idr.h264", "h26x-30-240p-vp-sps-pps.h264", "h26x-30-640x480-no-bframes.h265",
	"androidx-h265_bframes.mp4", "bbb-pyramid-cut.mp4", "onvif-camera-h264-signed.mp4",
}

// TestMedia packetises real media and compares what comes out NAL for NAL, in
// every size of packet, with and without markers.
func TestMedia(t *testing.T) {
	for _, name := range files {
		codec, aus := readMedia(t, name)
		for _, size := range []int{100, 1400, 60000} {
			for _, how := range []string{"plain", "no markers", "marker on every packet"} {
				t.Run(fmt.Sprintf("%s/%d/%s", name, size, how), func(t *testing.T) {
					pkts := packetise(t, codec, aus, size, 1)
					for i := range pkts {
						switch how {
						case "no markers":
							pkts[i].Marker = false
						case "marker on every packet":
							pkts[i].Marker = true
						}
					}
					var sets [][]byte
					if strings.Contains(name, "non-idr") { // they come behind the first IDR picture
						sets = parameterSets(codec, aus)
					}
					got := run(t, newVideo(t, codec, sets...), pkts)
					compare(t, codec, aus, got)
				})
			}
		}
	}
}

func parameterSets(codec media.Codec, aus []au) (sets [][]byte) {
	for _, u := range aus {
		for _, n := range u.nals {
			if codec == media.H264 && (n[0]&0x1f == 7 || n[0]&0x1f == 8) || codec == media.H265 && n[0]>>1 >= 32 && n[0]>>1 <= 34 {
				sets = append(sets, n)
			}
		}
	}
	return sets
}

func compare(t *testing.T, codec media.Codec, aus []au, got []result) {
	t.Helper()
	if len(got) != len(aus) {
		t.Fatalf("%d units of %d", len(got), len(aus))
	}
	last := int64(-1 << 62)
	for i, u := range got {
		want := kept(codec, aus[i].nals)
		if !u.RandomAccess && len(u.nals) > len(want) {
			want = withoutDelimiters(codec, aus[i].nals) // sets that changed before a picture that is no random access unit stay
		}
		if !equalNALs(u.nals, want) {
			t.Fatalf("unit %d: %s, want %s", i, heads(u.nals), heads(want))
		}
		if u.Arrived != aus[i].pts && !u.NoPicture {
			t.Errorf("unit %d: arrived %d, want %d", i, u.Arrived, aus[i].pts)
		}
		if u.Lost != 0 {
			t.Errorf("unit %d: %d lost", i, u.Lost)
		}
		if u.DTS <= last || u.DTS > u.PTS || u.PTS-u.DTS > 90000 {
			t.Errorf("unit %d: decoded at %d after %d, shown at %d", i, u.DTS, last, u.PTS)
		}
		last = u.DTS
	}
	if got[0].Track == nil || !got[0].RandomAccess {
		t.Errorf("first unit: %+v", got[0].Unit)
	}
	checked := *got[0].Track
	checked.Number = 1
	if err := checked.Check(); err != nil {
		t.Error(err)
	}
}

func withoutDelimiters(codec media.Codec, nals [][]byte) [][]byte {
	var out [][]byte
	for _, n := range nals {
		if codec == media.H264 && n[0]&0x1f != 9 || codec == media.H265 && n[0]>>1 != 35 {
			out = append(out, n)
		}
	}
	return out
}

// TestPresentationTimes: with B-frames the time stamps are kept as they are and
// decode times follow.
func TestPresentationTimes(t *testing.T) {
	for _, name := range []string{"androidx-h265_bframes.mp4", "bbb-pyramid-cut.mp4"} {
		codec, aus := readMedia(t, name)
		got := run(t, newVideo(t, codec), packetise(t, codec, aus, 1400, 1))
		reordered := false
		for i, u := range got {
			if want := got[0].PTS + aus[i].pts - aus[0].pts; u.PTS != want {
				t.Errorf("%s unit %d: shown at %d, want %d", name, i, u.PTS, want)
			}
			reordered = reordered || i > 0 && u.PTS < got[i-1].PTS
		}
		if !reordered {
			t.Errorf("%s: nothing is reordered", name)
		}
	}
}

// TestSignedMessages: the messages of ONVIF Media Signing come out byte for
// byte, start codes inside them included, and the last one without a picture.
func TestSignedMessages(t *testing.T) {
	codec, aus := readMedia(t, "onvif-camera-h264-signed.mp4")
	got := run(t, newVideo(t, codec), packetise(t, codec, aus, 1400, 1))
	inside := 0
	for _, u := range got {
		for _, n := range u.nals {
			if n[0]&0x1f == 6 && bytes.Contains(n, startCode) {
				inside++
			}
		}
	}
	if inside == 0 {
		t.Error("no message with a start code inside")
	}
	if last := got[len(got)-1]; !last.NoPicture || last.nals[0][0]&0x1f != 6 {
		t.Errorf("the last message: %+v", last)
	}
}

// TestConfigAsInFile: avcC and hvcC are those that the file's muxer made.
func TestConfigAsInFile(t *testing.T) {
	for name, want := range map[string]struct {
		codecs        string
		width, height int
	}{
		"bbb-pyramid-cut.mp4":          {"avc1.64001f", 800, 640},
		"onvif-camera-h264-signed.mp4": {"avc1.640029", 480, 640},
		"androidx-h265_bframes.mp4":    {"hvc1.1.6.L90.90", 854, 480},
	} {
		codec, aus := readMedia(t, name)
		track := run(t, newVideo(t, codec), packetise(t, codec, aus[:1], 1400, 1))[0].Track
		file := read(t, "media/"+name)
		ours := track.Config
		if strings.Contains(name, "signed") {
			ours = ours[:len(ours)-4] // its writer left the last part out
		}
		if codec == media.H264 && !bytes.Contains(file, ours) {
			t.Errorf("%s: %x is not in the file", name, track.Config)
		}
		if codec == media.H265 {
			i := bytes.Index(file, []byte("hvcC"))
			theirs := file[i+4:]
			if !bytes.Equal(theirs[:13], track.Config[:13]) || !bytes.Equal(theirs[16:19], track.Config[16:19]) {
				t.Errorf("%s: %x, file has %x", name, track.Config[:23], theirs[:23])
			}
		}
		if track.Codecs != want.codecs || track.Width != want.width || track.Height != want.height {
			t.Errorf("%s: %s, %d x %d", name, track.Codecs, track.Width, track.Height)
		}
	}
}
