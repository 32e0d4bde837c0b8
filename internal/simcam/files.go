package simcam

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/g711"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/pmp4"

	"vigil/internal/media"
)

// readMP4 takes the first track of video, or of sound, out of an MP4.
func readMP4(b []byte, video bool) (*film, error) {
	var p pmp4.Presentation
	if err := p.Unmarshal(bytes.NewReader(b)); err != nil {
		return nil, err
	}
	for _, t := range p.Tracks {
		f := &film{clock: int(t.TimeScale)}
		c := &cutter{}
		switch codec := t.Codec.(type) {
		case *codecs.H264:
			f.codec = media.H264
			c.sets = [][]byte{codec.SPS, codec.PPS}
		case *codecs.H265:
			f.codec = media.H265
			c.sets = [][]byte{codec.VPS, codec.SPS, codec.PPS}
		case *codecs.MPEG4Audio:
			f.codec, f.aac, f.channels = media.AAC, &codec.Config, codec.Config.ChannelCount
			if f.clock != codec.Config.SampleRate {
				return nil, fmt.Errorf("sound in units of 1/%d s", f.clock)
			}
		case *codecs.Opus:
			f.codec, f.channels = media.Opus, codec.ChannelCount
			if f.clock != opusClock {
				return nil, fmt.Errorf("sound in units of 1/%d s", f.clock)
			}
		default:
			continue
		}
		if f.codec.Video() != video {
			continue
		}
		c.codec, f.sets = f.codec, c.sets
		for i, s := range t.Samples {
			data, err := s.GetPayload()
			if err != nil {
				return nil, fmt.Errorf("sample %d: %w", i, err)
			}
			var u unit
			if video {
				nals, err := splitLengths(data)
				if err != nil {
					return nil, fmt.Errorf("sample %d: %w", i, err)
				}
				u = c.cut(nals)
			} else {
				u = cutSound(f.codec, data)
			}
			u.at, u.cto = f.length, int64(s.PTSOffset)
			f.length += int64(s.Duration)
			f.units = append(f.units, u)
		}
		if video {
			f.retime()
		}
		return f.check()
	}
	return nil, fmt.Errorf("no track that can be played")
}

// retime brings a film to the clock of RTP video.
func (f *film) retime() {
	for i := range f.units {
		u := &f.units[i]
		u.at = u.at * videoClock / int64(f.clock)
		u.cto = u.cto * videoClock / int64(f.clock)
	}
	f.length = f.length * videoClock / int64(f.clock)
	f.clock = videoClock
}

// splitLengths splits a sample into its NAL units, each behind 4 bytes of length.
func splitLengths(b []byte) (nals [][]byte, err error) {
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, fmt.Errorf("%d bytes too many", len(b))
		}
		n := binary.BigEndian.Uint32(b)
		if n < 2 || uint64(n) > uint64(len(b)-4) {
			return nil, fmt.Errorf("NAL unit of %d bytes", n)
		}
		nals = append(nals, b[4:4+n])
		b = b[4+n:]
	}
	return nals, nil
}

// readAnnexB takes a raw stream without reordered pictures: it has no times.
func readAnnexB(b []byte, codec media.Codec, rate float64) (*film, error) {
	f := &film{codec: codec, clock: videoClock}
	c := &cutter{codec: codec}
	step := int64(videoClock / rate)
	var au [][]byte
	slices := 0
	flush := func() {
		if slices == 0 {
			return
		}
		u := c.cut(au)
		if f.sets == nil && c.known() {
			f.sets = append(f.sets, c.sets...)
		}
		u.at = f.length
		f.length += step
		f.units = append(f.units, u)
		au, slices = nil, 0
	}
	for _, n := range splitStartCodes(b) {
		if len(n) < 3 {
			continue
		}
		switch kindOf(codec, n) {
		case nalSet, nalAUD, nalSEI:
			flush()
		case nalSlice, nalKey:
			firstOfPicture := n[1]&0x80 != 0 // first_mb_in_slice is 0
			if codec == media.H265 {
				firstOfPicture = n[2]&0x80 != 0 // first_slice_segment_in_pic_flag
			}
			if firstOfPicture {
				flush()
			}
			slices++
		}
		au = append(au, n)
	}
	flush()
	return f.check()
}

// splitStartCodes splits an Annex B stream into its NAL units.
func splitStartCodes(b []byte) (nals [][]byte) {
	for _, n := range bytes.Split(b, []byte{0, 0, 1}) {
		if n = bytes.TrimRight(n, "\x00"); len(n) > 0 {
			nals = append(nals, n)
		}
	}
	return nals
}

// readG711 cuts raw sound of 8000 Hz, mono, into frames of 20 ms.
func readG711(b []byte, codec media.Codec) (*film, error) {
	const frame = 160
	f := &film{codec: codec, clock: 8000, channels: 1}
	for ; len(b) >= frame; b = b[frame:] {
		u := cutSound(codec, b[:frame])
		u.at = f.length
		f.length += frame
		f.units = append(f.units, u)
	}
	return f.check()
}

func toMuLaw(alaw []byte) []byte {
	var a g711.Alaw
	a.Unmarshal(alaw)
	b, _ := g711.Mulaw(a).Marshal() // never fails
	return b
}

// readADTS takes AAC-LC behind ADTS headers.
func readADTS(b []byte) (*film, error) {
	var ps mpeg4audio.ADTSPackets
	if err := ps.Unmarshal(b); err != nil {
		return nil, err
	}
	f := &film{codec: media.AAC}
	for _, p := range ps {
		if f.aac == nil {
			f.aac = &mpeg4audio.AudioSpecificConfig{Type: p.Type, SampleRate: p.SampleRate, ChannelConfig: p.ChannelConfig, ChannelCount: p.ChannelCount}
			f.clock, f.channels = p.SampleRate, p.ChannelCount
		}
		u := cutSound(media.AAC, p.AU)
		u.at = f.length
		f.length += mpeg4audio.SamplesPerAccessUnit
		f.units = append(f.units, u)
	}
	return f.check()
}

const opusClock = 48000 // always: RFC 7587 4.1

// readOgg takes the Opus packets out of an Ogg file: RFC 3533, RFC 7845.
func readOgg(b []byte) (*film, error) {
	f := &film{codec: media.Opus, clock: opusClock}
	var part []byte
	count := 0
	for page := 0; len(b) > 0; page++ {
		if len(b) < 27 || string(b[:4]) != "OggS" || len(b) < 27+int(b[26]) {
			return nil, fmt.Errorf("page %d is no Ogg page", page)
		}
		lacing := b[27 : 27+int(b[26])]
		b = b[27+len(lacing):]
		for _, n := range lacing {
			if len(b) < int(n) {
				return nil, fmt.Errorf("page %d is cut off", page)
			}
			part = append(part, b[:n]...)
			b = b[n:]
			if n == 255 {
				continue
			}
			switch {
			case count == 0 && (len(part) < 19 || string(part[:8]) != "OpusHead"):
				return nil, fmt.Errorf("not Opus")
			case count == 0:
				f.channels = int(part[9])
			case count > 1 && len(part) > 0: // 1 is OpusTags
				u := cutSound(media.Opus, part)
				u.at = f.length
				f.length += opus.PacketDuration2(part)
				f.units = append(f.units, u)
			}
			count++
			part = nil
		}
	}
	return f.check()
}
