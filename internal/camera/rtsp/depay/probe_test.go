package depay

import (
	"testing"

	"vigil/internal/camera/rtsp/sdp"
	"vigil/internal/media"
)

// TestProbe finds the codec of every test file out of its packets.
func TestProbe(t *testing.T) {
	for _, name := range files {
		for _, size := range []int{30, 1400} {
			codec, aus := readMedia(t, name)
			d, err := New(sdp.Media{ClockRate: 90000, Codec: media.H265, Doubt: size == 30}) // in doubt, a name means nothing
			if size != 30 {
				d, err = New(sdp.Media{ClockRate: 90000})
			}
			if err != nil {
				t.Fatal(err)
			}
			if d.Track() != nil || d.Flush() != nil {
				t.Error("something is known")
			}
			d.Restart()
			if name == "h26x-idr-sps-pps-non-idr.h264" {
				aus = append(aus, aus...)
			}
			got := run(t, d, packetise(t, codec, aus, size, 1))
			if len(got) == 0 || d.Track().Codec != codec {
				t.Errorf("%s: %d units", name, len(got))
			}
		}
	}
	for _, b := range []string{"", "41", "419a246c", "80c8000600", "7c85888040", "000000", "ffffffffffff"} {
		if c := guess(unhex(b)); c != 0 {
			t.Errorf("%s: %v", b, c)
		}
	}
	if guess(sps264b) != media.H264 || guess(vps265a) != media.H265 {
		t.Error("plain sets")
	}
}
