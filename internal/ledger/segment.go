package ledger

import (
	"fmt"

	"vigil/internal/media"
)

// SegmentMeta is what a segment leaf tells: all that the catalogue needs, so
// that it is rebuilt without opening a segment. Times named Start and End are
// ns since the epoch on our clock.
type SegmentMeta struct {
	Segment  media.SegmentID
	Stream   media.StreamID
	Camera   media.CameraID
	KeyID    [16]byte // the camera-day key that wraps the segment's
	Start    int64    // wall time of the first unit
	End      int64    // wall time when the last unit is over
	First    media.Ticks
	Last     media.Ticks // decode times of the first and the last unit
	Duration media.Ticks // of media, gaps taken out
	// CameraStart and CameraEnd are the camera's clock at Start and End, ns
	// since the epoch; 0 unknown.
	CameraStart, CameraEnd int64
	Bytes                  int64 // of the file
	Records                uint32
	Sealed                 Digest // SHA-256 of the file's sealed bytes; public
	Tracks                 []SegmentTrack
	EndCause               media.Cause
	Before                 *Gap // what is missing directly before Start; nil: nothing
	Recovered              bool // closed at start after a crash, not by its writer
	Copies                 uint8
}

// A SegmentTrack is one track of a segment.
type SegmentTrack struct {
	Number  uint8
	Codec   media.Codec
	Samples uint32
	Bytes   int64
	Root    Digest // RFC 6962 tree over its fragments' samples; public
}

// A Gap is a stretch without footage that ends where a segment starts.
type Gap struct {
	Cause media.Cause
	From  int64  // ns since the epoch, our clock; 0 unknown
	Lost  uint32 // pictures known to be lost, 0 unknown
}

// Version 1 of a segment's metadata:
//
//	0    version, 1
//	1    segment, stream, camera, key id: 16 bytes each
//	65   start, end, first, last, duration, camera start, camera end, bytes: 8 bytes each
//	129  records, 4 bytes
//	133  recovered, copies, number of tracks: 1 byte each
//	136  per track: number 1, codec 1, samples 4, bytes 8
//	     end cause: length 1, text
//	     gap: 0, or 1 and cause (length 1, text), from 8, lost 4
//
// The digests of the leaf: sealed, then a root for each track in order.
const segmentVersion = 1

// Leaf returns the leaf for a segment.
func (m SegmentMeta) Leaf() (Leaf, error) {
	if len(m.Tracks) > media.MaxTracks || m.Bytes < 0 {
		return Leaf{}, fmt.Errorf("segment %v: %d tracks, %d bytes", m.Segment, len(m.Tracks), m.Bytes)
	}
	l := Leaf{Kind: Segment, Digests: make([]Digest, 1, 1+len(m.Tracks)), Meta: m.AppendMeta(make([]byte, 0, 256))}
	l.Digests[0] = m.Sealed
	for _, t := range m.Tracks {
		l.Digests = append(l.Digests, t.Root)
	}
	return l, nil
}

// AppendMeta appends the metadata, which is all but the digests.
func (m SegmentMeta) AppendMeta(b []byte) []byte {
	b = append(b, segmentVersion)
	b = append(append(b, m.Segment[:]...), m.Stream[:]...)
	b = append(append(b, m.Camera[:]...), m.KeyID[:]...)
	b = put64(put64(b, m.Start), m.End)
	b = put64(put64(put64(b, m.First), m.Last), m.Duration)
	b = put64(put64(put64(b, m.CameraStart), m.CameraEnd), m.Bytes)
	b = put32(b, m.Records)
	b = append(putBool(b, m.Recovered), m.Copies, byte(len(m.Tracks)))
	for _, t := range m.Tracks {
		b = put64(put32(append(b, t.Number, byte(t.Codec)), t.Samples), t.Bytes)
	}
	b = putCause(b, m.EndCause)
	b = putBool(b, m.Before != nil)
	if g := m.Before; g != nil {
		b = put32(put64(putCause(b, g.Cause), g.From), g.Lost)
	}
	return b
}

// ParseSegment reads a segment leaf.
func ParseSegment(l Leaf) (m SegmentMeta, err error) {
	p, err := open(l, Segment, segmentVersion, 1)
	if err != nil {
		return m, err
	}
	m.Segment, m.Stream, m.Camera, m.KeyID = p.id(), p.id(), p.id(), p.id()
	m.Start, m.End = p.i64(), p.i64()
	m.First, m.Last, m.Duration = media.Ticks(p.i64()), media.Ticks(p.i64()), media.Ticks(p.i64())
	m.CameraStart, m.CameraEnd, m.Bytes = p.i64(), p.i64(), p.size()
	m.Records = p.u32()
	m.Recovered, m.Copies = p.bool(), p.u8()
	n := int(p.u8())
	if n > media.MaxTracks || n != len(l.Digests)-1 {
		return m, fmt.Errorf("segment of %d tracks with %d digests: %w", n, len(l.Digests), ErrMeta)
	}
	m.Sealed = l.Digests[0]
	if n > 0 {
		m.Tracks = make([]SegmentTrack, n)
	}
	for i := range m.Tracks {
		m.Tracks[i] = SegmentTrack{Number: p.u8(), Codec: media.Codec(p.u8()), Samples: p.u32(), Bytes: p.size(), Root: l.Digests[1+i]}
	}
	m.EndCause = p.cause()
	if p.bool() {
		m.Before = &Gap{Cause: p.cause(), From: p.i64(), Lost: p.u32()}
	}
	return m, p.done(Segment)
}
