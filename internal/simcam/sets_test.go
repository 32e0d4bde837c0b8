package simcam

import (
	"bytes"
	"slices"
	"testing"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"

	"vigil/internal/simcam/footage"
)

func TestSwitchChangesTheSize(t *testing.T) {
	c, f := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	before := setsOf(t, r, f.nextNumber())
	command(t, c, "switch v clock")
	eventually(t, "the other film", func() bool { return f.Counters().Source == "clock" })
	after := setsOf(t, r, f.nextNumber())
	if bytes.Equal(before, after) {
		t.Error("the SPS did not change")
	}
	small, _ := loadFilm(footage.All, "clock-small", 0)
	big, _ := loadFilm(footage.All, "clock", 0)
	if !bytes.Equal(before, small.sets[0]) || !bytes.Equal(after, big.sets[0]) {
		t.Error("an SPS of neither film")
	}
	// stamps rise over the change
	s := f.Sent(0)
	for i := 1; i < len(s); i++ {
		if d := int32(s[i].Stamp - s[i-1].Stamp); d <= 0 || d > 2*videoClock+7200 {
			t.Errorf("stamp of picture %d: %d after the one before", s[i].Number, d)
		}
	}
	r2 := play(t, c, "v", gortsplib.ProtocolTCP)
	if got := r2.desc.Medias[0].Formats[0].(*format.H264).SPS; !bytes.Equal(got, big.sets[0]) {
		t.Error("the SDP still describes the film before")
	}
	if err := c.Command("switch v clock-h265"); err == nil {
		t.Error("switched to another codec")
	}
	command(t, c, "calm")
	eventually(t, "the first film again", func() bool { return f.Counters().Source == "clock-small" })
}

// setsOf waits for the next SPS in band.
func setsOf(t *testing.T, r *reader, from uint64) (sps []byte) {
	t.Helper()
	eventually(t, "an SPS", func() bool {
		for _, p := range r.since(from) {
			if p.Payload[0]&0x1f == avcSPS {
				sps = p.Payload
				return true
			}
		}
		return false
	})
	return sps
}

func TestParameterSets(t *testing.T) {
	for _, film := range []string{"clock-small", "clock-h265-small"} {
		t.Run(film, func(t *testing.T) {
			c, f := small(t, func(c *Config) { c.Streams[0].Source, c.Streams[0].Sets = film, SetsBand })
			codec := f.video.film.codec
			told := func() bool {
				switch f := play(t, c, "v", gortsplib.ProtocolTCP).desc.Medias[0].Formats[0].(type) {
				case *format.H264:
					return f.SPS != nil && f.PPS != nil
				case *format.H265:
					return f.VPS != nil && f.SPS != nil && f.PPS != nil
				}
				t.Fatal("what is this?")
				return false
			}
			inBand := func() bool {
				r := play(t, c, "v", gortsplib.ProtocolTCP)
				key := f.nextNumber()
				eventually(t, "a key picture", func() bool {
					for _, s := range f.Sent(key) {
						if s.Key {
							key = s.Number
							return true
						}
					}
					return false
				})
				r.pictures(t, key+1, 1)
				return slices.ContainsFunc(r.packets(), func(p rtp.Packet) bool { return kindOf(codec, p.Payload) == nalSet })
			}
			for _, want := range []struct {
				sets      Sets
				sdp, band bool
			}{{SetsBand, false, true}, {SetsSDP, true, false}, {SetsBoth, true, true}} {
				command(t, c, "sets v "+string(want.sets))
				if sdp, band := told(), inBand(); sdp != want.sdp || band != want.band {
					t.Errorf("%s: in the SDP %v, in band %v", want.sets, sdp, band)
				}
			}
		})
	}
}
