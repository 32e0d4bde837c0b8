package segment

import (
	"encoding/binary"
	"fmt"

	"vigil/internal/media"
)

// The plaintext of record 0:
//
//	 0  32  SHA-256 of the file's header
//	32  24  cause of the gap before this segment, zero padded; all zero: no gap
//	56   8  arrival of the last unit before the gap, ns since the epoch; 0 unknown
//	64   4  pictures lost in the gap
//	68   1  number of tracks
//	69   3  zero
//	72      each track: number 1 | codec 1 | width 2 | height 2 | sample rate 4 | channels 1 |
//	        length of the codecs parameter 1 | it | length of the configuration 2 | it
//	        the initialisation segment, to the end
type opening struct {
	header [32]byte
	before *Gap
	tracks []media.Track
	init   []byte
}

const openingSize = 72

func (o *opening) append(dst []byte) []byte {
	var gap Gap
	if o.before != nil {
		gap = *o.before
	}
	dst = append(dst, o.header[:]...)
	dst = appendCause(dst, gap.Cause)
	dst = binary.BigEndian.AppendUint64(dst, uint64(gap.FromNs))
	dst = binary.BigEndian.AppendUint32(dst, gap.Lost)
	dst = append(dst, byte(len(o.tracks)), 0, 0, 0)
	for _, t := range o.tracks {
		dst = append(dst, t.Number, byte(t.Codec))
		dst = binary.BigEndian.AppendUint16(dst, uint16(t.Width))
		dst = binary.BigEndian.AppendUint16(dst, uint16(t.Height))
		dst = binary.BigEndian.AppendUint32(dst, uint32(t.SampleRate))
		dst = append(dst, byte(t.Channels), byte(len(t.Codecs)))
		dst = append(dst, t.Codecs...)
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(t.Config)))
		dst = append(dst, t.Config...)
	}
	return append(dst, o.init...)
}

func parseOpening(b []byte) (o opening, err error) {
	if len(b) < openingSize {
		return o, fmt.Errorf("opening of %d bytes", len(b))
	}
	copy(o.header[:], b)
	gap := Gap{FromNs: int64(binary.BigEndian.Uint64(b[56:])), Lost: binary.BigEndian.Uint32(b[64:])}
	if gap.Cause, err = parseCause(b[32:]); err != nil {
		return o, err
	}
	switch {
	case gap.Cause != "" && gap.FromNs >= 0 && gap.FromNs <= maxNs:
		o.before = &gap
	case gap != Gap{}:
		return o, fmt.Errorf("gap %+v", gap)
	}
	n := int(b[68])
	if n == 0 || n > media.MaxTracks || !zero(b[69:openingSize]) {
		return o, fmt.Errorf("%d tracks, %x", n, b[69:openingSize])
	}
	b = b[openingSize:]
	for range n {
		var t media.Track
		if b, err = parseTrack(&t, b); err != nil {
			return o, err
		}
		o.tracks = append(o.tracks, t)
	}
	if err := media.CheckTracks(o.tracks); err != nil {
		return o, err
	}
	if len(b) > MaxInit {
		return o, fmt.Errorf("initialisation segment of %d bytes", len(b))
	}
	o.init = b
	return o, nil
}

// parseTrack reads one track and returns what is behind it.
func parseTrack(t *media.Track, b []byte) ([]byte, error) {
	const fixed = 12
	if len(b) < fixed {
		return nil, fmt.Errorf("track cut short")
	}
	t.Number, t.Codec = b[0], media.Codec(b[1])
	t.Width, t.Height = int(binary.BigEndian.Uint16(b[2:])), int(binary.BigEndian.Uint16(b[4:]))
	t.SampleRate, t.Channels = int(binary.BigEndian.Uint32(b[6:])), int(b[10])
	n := int(b[11])
	if b = b[fixed:]; len(b) < n+2 {
		return nil, fmt.Errorf("track %d cut short", t.Number)
	}
	t.Codecs = string(b[:n])
	m := int(binary.BigEndian.Uint16(b[n:]))
	if b = b[n+2:]; len(b) < m {
		return nil, fmt.Errorf("track %d cut short", t.Number)
	}
	if m > 0 {
		t.Config = b[:m:m]
	}
	return b[m:], nil
}

// The plaintext of the index, the last record:
//
//	 0   4  number of entries
//	 4   1  number of tracks n
//	 5   3  zero
//	 8  24  cause of the end, zero padded
//	32      each entry: offset of the record in the file 8 | its length, framing included 4 | metadata as in the record
//	        n times: leaves 4 | samples 8 | bytes 8 | root of the RFC 6962 tree 32
//
// Records lie end to end: offsets and lengths must add up.
const (
	indexSize = 32
	placeSize = 12
	tallySize = 52
	maxIndex  = indexSize + MaxRecords*(placeSize+maxMeta) + media.MaxTracks*tallySize
)

type index struct {
	end     media.Cause
	entries []Entry
	tallies []tally
}

// A tally is what the index keeps of a whole track.
type tally struct {
	leaves  int
	samples int64
	bytes   int64
	root    [32]byte
}

// appendIndexHead and the two below are what the writer puts together;
// entries it has encoded as they came.
func appendIndexHead(dst []byte, entries, tracks int, end media.Cause) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(entries))
	dst = append(dst, byte(tracks), 0, 0, 0)
	return appendCause(dst, end)
}

func (e *Entry) append(dst []byte, tracks int) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.Offset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.Length))
	return e.appendMeta(dst, tracks)
}

func (t *tally) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.leaves))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.samples))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.bytes))
	return append(dst, t.root[:]...)
}

func (x *index) append(dst []byte) []byte {
	dst = appendIndexHead(dst, len(x.entries), len(x.tallies), x.end)
	for i := range x.entries {
		dst = x.entries[i].append(dst, len(x.tallies))
	}
	for i := range x.tallies {
		dst = x.tallies[i].append(dst)
	}
	return dst
}

// parse reads one entry of an index.
func (e *Entry) parse(b []byte, tracks int) error {
	offset, length := binary.BigEndian.Uint64(b), binary.BigEndian.Uint32(b[8:])
	if offset > MaxSize || length > MaxRecord {
		return fmt.Errorf("record of %d bytes at %d", length, offset)
	}
	e.Offset, e.Length = int64(offset), int(length)
	return e.parseMeta(b[placeSize:], tracks)
}

func parseIndex(b []byte) (x index, err error) {
	if len(b) < indexSize {
		return x, fmt.Errorf("index of %d bytes", len(b))
	}
	n, tracks := int64(binary.BigEndian.Uint32(b)), int(b[4])
	if tracks == 0 || tracks > media.MaxTracks || !zero(b[5:8]) || n > MaxRecords {
		return x, fmt.Errorf("index of %d entries, %d tracks", n, tracks)
	}
	each := placeSize + metaLen(tracks)
	if int64(len(b)) != indexSize+n*int64(each)+int64(tracks*tallySize) {
		return x, fmt.Errorf("index of %d entries, %d tracks in %d bytes", n, tracks, len(b))
	}
	if x.end, err = parseCause(b[8:]); err != nil {
		return x, err
	}
	b = b[indexSize:]
	x.entries = make([]Entry, n)
	for i := range x.entries {
		if err := x.entries[i].parse(b, tracks); err != nil {
			return x, fmt.Errorf("entry %d: %w", i, err)
		}
		b = b[each:]
	}
	x.tallies = make([]tally, tracks)
	for i := range x.tallies {
		t := &x.tallies[i]
		leaves, samples, bytes := binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint64(b[12:])
		if int64(leaves) > n || samples > uint64(n)*media.MaxUnits || bytes > MaxSize {
			return x, fmt.Errorf("track %d: %d leaves, %d samples, %d bytes", i+1, leaves, samples, bytes)
		}
		t.leaves, t.samples, t.bytes = int(leaves), int64(samples), int64(bytes)
		copy(t.root[:], b[20:])
		b = b[tallySize:]
	}
	return x, nil
}
