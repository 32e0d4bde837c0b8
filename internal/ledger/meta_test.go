package ledger

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"vigil/internal/media"
)

func d(b byte) (x Digest) {
	for i := range x {
		x[i] = b
	}
	return x
}

func examples() map[string]Leaf {
	seg := SegmentMeta{
		Segment: media.SegmentID{1}, Stream: media.StreamID{2}, Camera: media.CameraID{3}, KeyID: [16]byte{4},
		Start: 1790000000000000001, End: 1790000060000000000, First: 161100000000000, Last: 161100005396400, Duration: 5400000,
		CameraStart: 1790000000120000000, CameraEnd: 1790000060125000000, Bytes: 30123456, Records: 120, Sealed: d(5),
		Tracks: []SegmentTrack{
			{Number: 1, Codec: media.H264, Samples: 1500, Bytes: 29000000, Root: d(6)},
			{Number: 2, Codec: media.AAC, Samples: 960, Bytes: 900000, Root: d(7)},
		},
		EndCause: media.CutLength, Before: &Gap{Cause: media.CameraLost, From: 1789999990000000000, Lost: 250}, Recovered: true, Copies: 2,
	}
	bare := SegmentMeta{Segment: media.SegmentID{1}, Sealed: d(1)}
	pulse := PulseMeta{At: 1790000005000000000, Open: []OpenSegment{
		{Segment: media.SegmentID{1}, Stream: media.StreamID{2}, Records: 10, Bytes: 2500000, Until: 1790000004900000000, Sealed: d(8)},
		{Segment: media.SegmentID{9}, Stream: media.StreamID{8}, Records: 1, Bytes: 250000, Until: 1790000004800000000, Sealed: d(9)},
	}}
	must := func(l Leaf, err error) Leaf {
		if err != nil {
			panic(err)
		}
		return l
	}
	return map[string]Leaf{
		"segment":      must(seg.Leaf()),
		"segment-bare": must(bare.Leaf()),
		"pulse":        must(pulse.Leaf()),
		"pulse-empty":  must(PulseMeta{At: 1}.Leaf()),
		"tombstone": TombstoneMeta{Segment: media.SegmentID{1}, Stream: media.StreamID{2}, Camera: media.CameraID{3}, Start: 5, End: 6, Bytes: 7,
			Sealed: d(5), At: 8, Why: media.Deleted, By: "person amy", Reason: "個資請求"}.Leaf(),
		"hold":  HoldMeta{Hold: [16]byte{1}, At: 2, Camera: media.CameraID{3}, From: 4, To: 5, Released: true, By: "person bo", Reason: "case 7"}.Leaf(),
		"audit": AuditMeta{First: 10, Last: 12, Head: d(3)}.Leaf(),
		"key":   KeyEventMeta{At: 1, Event: "created", Key: [16]byte{2}, Camera: media.CameraID{3}, Day: 20718, By: "system keys"}.Leaf(),
		"start": StartMeta{At: 1, Version: "1.0.0 (abcdef)", Program: d(4), Clean: true, Clock: "synchronised"}.Leaf(),
	}
}

// parse reads any leaf and writes it again.
func parse(l Leaf) (any, Leaf, error) {
	switch l.Kind {
	case Segment:
		m, err := ParseSegment(l)
		if err != nil {
			return m, l, err
		}
		again, err := m.Leaf()
		return m, again, err
	case Pulse:
		m, err := ParsePulse(l)
		if err != nil {
			return m, l, err
		}
		again, err := m.Leaf()
		return m, again, err
	case Tombstone:
		m, err := ParseTombstone(l)
		return m, m.Leaf(), err
	case Hold:
		m, err := ParseHold(l)
		return m, m.Leaf(), err
	case AuditBatch:
		m, err := ParseAudit(l)
		return m, m.Leaf(), err
	case KeyEvent:
		m, err := ParseKeyEvent(l)
		return m, m.Leaf(), err
	default:
		m, err := ParseStart(l)
		return m, m.Leaf(), err
	}
}

func TestMetaGolden(t *testing.T) {
	for name, l := range examples() {
		l.Salt = Salt{1, 2, 3}
		l.Commitment = Commit(l.Salt, l.Meta)
		golden(t, "leaf-"+name+".hex", []byte(hex.EncodeToString(l.AppendPublic(nil))+"\n"+hex.EncodeToString(l.Meta)+"\n"))
		m, again, err := parse(l)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(again.Meta, l.Meta) || !reflect.DeepEqual(again.Digests, l.Digests) {
			t.Errorf("%s: %+v makes\n%x\nwant\n%x", name, m, again.Meta, l.Meta)
		}
		p, err := ParsePublic(l.AppendPublic(nil))
		if err != nil || !p.Lost || p.Kind != l.Kind || !reflect.DeepEqual(p.Digests, l.Digests) || !p.Shows(l.Salt, l.Meta) {
			t.Errorf("%s: public leaf: %+v, %v", name, p, err)
		}
		for cut := range l.Meta {
			l := l
			l.Meta = l.Meta[:cut]
			if _, _, err := parse(l); err == nil {
				t.Errorf("%s cut to %d bytes: parsed", name, cut)
			}
		}
		l.Meta = append([]byte{l.Meta[0] + 1}, l.Meta[1:]...)
		if _, _, err := parse(l); err == nil {
			t.Errorf("%s of a newer version: parsed", name)
		}
	}
}

func TestMetaBounds(t *testing.T) {
	if _, err := (PulseMeta{Open: make([]OpenSegment, MaxOpen+1)}).Leaf(); err == nil {
		t.Error("pulse of too many segments")
	}
	if l, err := (PulseMeta{Open: make([]OpenSegment, MaxOpen)}).Leaf(); err != nil || l.check() != nil {
		t.Errorf("full pulse: %v", err)
	}
	if _, err := (SegmentMeta{Tracks: make([]SegmentTrack, media.MaxTracks+1)}).Leaf(); err == nil {
		t.Error("segment of too many tracks")
	}
	m := TombstoneMeta{By: strings.Repeat("a", 5000), Why: media.Cause(strings.Repeat("b", 300))}
	got, err := ParseTombstone(m.Leaf())
	if err != nil || len(got.By) != maxText || len(got.Why) != maxCause {
		t.Errorf("long texts: %d, %d, %v", len(got.By), len(got.Why), err)
	}
}

func FuzzMeta(f *testing.F) {
	for _, l := range examples() {
		f.Add(byte(l.Kind), byte(len(l.Digests)), l.Meta)
	}
	f.Fuzz(func(t *testing.T, kind, digests byte, meta []byte) {
		l := Leaf{Kind: Kind(kind), Digests: make([]Digest, digests%MaxDigests), Meta: meta}
		if !l.Kind.Valid() || len(meta) > MaxMeta {
			return
		}
		if _, again, err := parse(l); err == nil && !bytes.Equal(again.Meta, meta) {
			t.Errorf("parse, then append:\n got %x\nwant %x", again.Meta, meta)
		}
	})
}

func FuzzPublicLeaf(f *testing.F) {
	for _, l := range examples() {
		f.Add(l.AppendPublic(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := ParsePublic(b); err == nil && !bytes.Equal(l.AppendPublic(nil), b) {
			t.Errorf("parse, then append: %x, want %x", l.AppendPublic(nil), b)
		}
	})
}
