// Package fmp4 wraps access units into MP4 (ISO/IEC 14496-12, -14, -15) and
// reads back what it wrote.
//
//	worker -> [fmp4] -> stream -> recorder -> store
//	store -> playback -> [fmp4] -> web
//
// It never looks into an access unit: sample entries carry the configuration
// records that the ingest process made, as they are. That is why the boxes are
// written here and not by a library, whose writers want parsed parameter sets.
package fmp4

import (
	"encoding/binary"
	"fmt"

	"vigil/internal/media"
)

// A box writer: begin remembers where a size goes, end fills it in.
type boxes struct{ b []byte }

func (w *boxes) begin(kind string) int {
	w.b = append(w.b, 0, 0, 0, 0)
	w.b = append(w.b, kind...)
	return len(w.b) - 8
}

func (w *boxes) end(at int)   { binary.BigEndian.PutUint32(w.b[at:], uint32(len(w.b)-at)) }
func (w *boxes) u8(v uint8)   { w.b = append(w.b, v) }
func (w *boxes) u16(v uint16) { w.b = binary.BigEndian.AppendUint16(w.b, v) }
func (w *boxes) u64(v uint64) { w.b = binary.BigEndian.AppendUint64(w.b, v) }
func (w *boxes) zero(n int)   { w.b = append(w.b, make([]byte, n)...) }
func (w *boxes) str(s string) { w.b = append(w.b, s...) }

func (w *boxes) u32(vs ...uint32) {
	for _, v := range vs {
		w.b = binary.BigEndian.AppendUint32(w.b, v)
	}
}

func (w *boxes) matrix() {
	w.u32(0x00010000, 0, 0, 0, 0x00010000, 0, 0, 0, 0x40000000)
}

// Init returns the initialisation segment of a stream (ftyp and moov without
// samples). Every track runs at media.TicksPerSecond.
func Init(tracks []media.Track) ([]byte, error) {
	if err := media.CheckTracks(tracks); err != nil {
		return nil, fmt.Errorf("initialisation segment: %w", err)
	}
	w := &boxes{b: make([]byte, 0, 1024)}
	ftyp := w.begin("ftyp")
	w.str("iso6")
	w.u32(0)
	w.str("iso6mp41")
	w.end(ftyp)

	moov := w.begin("moov")
	w.mvhd(0, len(tracks))
	for _, t := range tracks {
		trak := w.begin("trak")
		w.tkhd(t, 0)
		mdia := w.begin("mdia")
		w.mdhd(0)
		w.hdlr(t)
		minf := w.begin("minf")
		w.mediaHeader(t)
		stbl := w.begin("stbl")
		stsd := w.begin("stsd")
		w.u32(0, 1)
		w.sampleEntry(t)
		w.end(stsd)
		for _, kind := range []string{"stts", "stsc", "stco"} {
			at := w.begin(kind)
			w.u32(0, 0)
			w.end(at)
		}
		stsz := w.begin("stsz")
		w.u32(0, 0, 0)
		w.end(stsz)
		w.end(stbl)
		w.end(minf)
		w.end(mdia)
		w.end(trak)
	}
	mvex := w.begin("mvex")
	for _, t := range tracks {
		at := w.begin("trex")
		w.u32(0, uint32(t.Number), 1, 0, 0, 0)
		w.end(at)
	}
	w.end(mvex)
	w.end(moov)
	return w.b, nil
}

func (w *boxes) mvhd(duration uint64, tracks int) {
	at := w.begin("mvhd")
	w.u32(1 << 24) // version 1: 64-bit duration
	w.u64(0)
	w.u64(0)
	w.u32(media.TicksPerSecond)
	w.u64(duration)
	w.u32(0x00010000)
	w.u16(0x0100)
	w.zero(10)
	w.matrix()
	w.zero(24)
	w.u32(uint32(tracks) + 1)
	w.end(at)
}

func (w *boxes) tkhd(t media.Track, duration uint64) {
	at := w.begin("tkhd")
	w.u32(1<<24 | 3) // version 1; enabled, in the movie
	w.u64(0)
	w.u64(0)
	w.u32(uint32(t.Number), 0)
	w.u64(duration)
	w.zero(12)
	if t.Codec.Video() {
		w.u32(0)
	} else {
		w.u32(0x01000000) // full volume
	}
	w.matrix()
	w.u32(uint32(t.Width)<<16, uint32(t.Height)<<16)
	w.end(at)
}

func (w *boxes) mdhd(duration uint64) {
	at := w.begin("mdhd")
	w.u32(1 << 24)
	w.u64(0)
	w.u64(0)
	w.u32(media.TicksPerSecond)
	w.u64(duration)
	w.u32(0x55c40000) // language "und"
	w.end(at)
}

func (w *boxes) hdlr(t media.Track) {
	at := w.begin("hdlr")
	w.u32(0, 0)
	if t.Codec.Video() {
		w.str("vide")
	} else {
		w.str("soun")
	}
	w.zero(13) // reserved, and an empty name
	w.end(at)
}

// mediaHeader writes vmhd or smhd, and the dinf that says the data is here.
func (w *boxes) mediaHeader(t media.Track) {
	if t.Codec.Video() {
		at := w.begin("vmhd")
		w.u32(1)
		w.zero(8)
		w.end(at)
	} else {
		at := w.begin("smhd")
		w.zero(8)
		w.end(at)
	}
	dinf := w.begin("dinf")
	dref := w.begin("dref")
	w.u32(0, 1)
	url := w.begin("url ")
	w.u32(1)
	w.end(url)
	w.end(dref)
	w.end(dinf)
}

// sampleEntry writes the sample description of one track.
func (w *boxes) sampleEntry(t media.Track) {
	kind := map[media.Codec]string{
		media.H264: "avc1", media.H265: "hvc1", media.MJPEG: "mp4v",
		media.AAC: "mp4a", media.Opus: "Opus", media.PCMA: "alaw", media.PCMU: "ulaw",
	}[t.Codec]
	at := w.begin(kind)
	w.zero(6)
	w.u16(1) // data reference
	if t.Codec.Video() {
		w.zero(16)
		w.u16(uint16(t.Width))
		w.u16(uint16(t.Height))
		w.u32(0x00480000, 0x00480000, 0) // 72 dpi
		w.u16(1)
		w.zero(32) // compressor name
		w.u16(24)
		w.u16(0xffff)
	} else {
		w.zero(8)
		w.u16(uint16(t.Channels))
		w.u16(16)
		w.u32(0)
		w.u32(uint32(min(t.SampleRate, 0xffff)) << 16)
	}
	switch t.Codec {
	case media.H264:
		w.raw("avcC", t.Config)
	case media.H265:
		w.raw("hvcC", t.Config)
	case media.Opus:
		w.raw("dOps", t.Config)
	case media.MJPEG:
		w.esds(t, 0x6c, 0x11) // JPEG, visual stream
	case media.AAC:
		w.esds(t, 0x40, 0x15) // MPEG-4 audio, audio stream
	}
	w.end(at)
}

func (w *boxes) raw(kind string, body []byte) {
	at := w.begin(kind)
	w.b = append(w.b, body...)
	w.end(at)
}

// esds writes the elementary stream descriptor of ISO/IEC 14496-1, with
// lengths in the four-byte form that every reader knows.
func (w *boxes) esds(t media.Track, objectType, streamType uint8) {
	length := func(n int) { w.b = append(w.b, 0x80|byte(n>>21), 0x80|byte(n>>14), 0x80|byte(n>>7), byte(n&0x7f)) }
	config := 0
	if len(t.Config) > 0 {
		config = 5 + len(t.Config)
	}
	at := w.begin("esds")
	w.u32(0)
	w.u8(3) // ES_Descriptor
	length(3 + 5 + 13 + config + 6)
	w.u16(uint16(t.Number))
	w.u8(0)
	w.u8(4) // DecoderConfigDescriptor
	length(13 + config)
	w.u8(objectType)
	w.u8(streamType)
	w.zero(3 + 4 + 4) // buffer size and rates: unknown
	if config > 0 {
		w.u8(5) // DecoderSpecificInfo
		length(len(t.Config))
		w.b = append(w.b, t.Config...)
	}
	w.u8(6) // SLConfigDescriptor
	length(1)
	w.u8(2)
	w.end(at)
}
