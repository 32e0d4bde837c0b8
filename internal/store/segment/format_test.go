package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"testing"

	"vigil/internal/media"
)

var update = flag.Bool("update", false, "write the golden files anew: only for a new version of the format")

// A golden is what testdata/golden.json says of testdata/golden.vseg.
type golden struct {
	Summary   Summary
	Sealed    string
	Roots     []string
	Tracks    []media.Track
	Init      string
	Entries   []string
	Fragments []string // SHA-256
}

func describe(r *Reader) (g golden, err error) {
	s := r.Summary()
	g = golden{Summary: s, Sealed: hex.EncodeToString(s.Sealed[:]), Tracks: r.Tracks(), Init: string(r.Init())}
	for _, t := range s.Tracks {
		g.Roots = append(g.Roots, hex.EncodeToString(t.Root[:]))
	}
	for i, e := range r.Index() {
		g.Entries = append(g.Entries, fmt.Sprintf("%x", e.append(nil, len(g.Tracks))))
		f, err := r.Fragment(nil, i)
		if err != nil {
			return g, err
		}
		sum := sha256.Sum256(f)
		g.Fragments = append(g.Fragments, hex.EncodeToString(sum[:]))
	}
	return g, nil
}

// TestGolden reads a file of the day the format was made.
func TestGolden(t *testing.T) {
	if *update {
		m := build(testInfo, 3, 7, &Gap{Cause: media.CameraLost, FromNs: testStart - 10e9, Lost: 3})
		g := must(describe(must(m.open())))
		if err := os.WriteFile("testdata/golden.vseg", m.file, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/golden.json", append(must(json.MarshalIndent(g, "", "\t")), '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := must(os.ReadFile("testdata/golden.vseg"))
	r, err := Open(bytes.NewReader(file), int64(len(file)), unwrap)
	if err != nil {
		t.Fatal(err)
	}
	got := append(must(json.MarshalIndent(must(describe(r)), "", "\t")), '\n')
	if want := must(os.ReadFile("testdata/golden.json")); !bytes.Equal(got, want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if err := Verify(bytes.NewReader(file), r.Summary().Sealed); err != nil {
		t.Error(err)
	}
}

// TestSealingVectors opens records that another program sealed (Python's
// cryptography, which uses OpenSSL), with the key of this test and the nonce "twelve
// bytes": the associated data is as docs/format/segment.md says.
func TestSealingVectors(t *testing.T) {
	tests := []struct {
		frame  frame
		aad    string
		sealed string
		plain  string
	}{
		{frame{0, 0, kindInit, false}, "01020300000000000000000000000000000000000100",
			"7477656c766520627974657336d16305ffca9b429bfd9cea2d81db44bf22ba5197cf974f549a23dab65f024a4caed8", "what record 0 holds"},
		{frame{0, 1, kindFragment, false}, "01020300000000000000000000000000000000010200",
			"7477656c766520627974657320996403bedf93449afb498dddd0bf1ff07dc645e45331550c38", "a fragment"},
		{frame{0, 2, kindIndex, true}, "01020300000000000000000000000000000000020301",
			"7477656c76652062797465738cecf61cc52f5a27a3bbfdc791c94432", ""},
	}
	for _, tt := range tests {
		aad := appendAAD(nil, testInfo.Segment, tt.frame)
		if got := hex.EncodeToString(aad); got != tt.aad {
			t.Errorf("associated data %s, want %s", got, tt.aad)
		}
		got, err := testKey.Open(nil, must(hex.DecodeString(tt.sealed)), aad)
		if err != nil || string(got) != tt.plain {
			t.Errorf("record %d: %q, %v", tt.frame.number, got, err)
		}
	}
}

// FuzzHeader: parse, then append, gives the same bytes.
func FuzzHeader(f *testing.F) {
	file := must(os.ReadFile("testdata/golden.vseg"))
	f.Add(file[:HeaderSize])
	f.Add([]byte(headerMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHeader(b)
		if err != nil {
			return
		}
		if got := h.append(nil); !bytes.Equal(got, b[:HeaderSize]) {
			t.Errorf("parse, then append:\n got %x\nwant %x", got, b[:HeaderSize])
		}
	})
}

// FuzzTrailer: the same, and the index lies inside the file.
func FuzzTrailer(f *testing.F) {
	file := must(os.ReadFile("testdata/golden.vseg"))
	f.Add(file[len(file)-TrailerSize:], int64(len(file)))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		x, err := parseTrailer(b, size, media.SegmentID{})
		if err != nil {
			return
		}
		if got := append(x.appendHead(nil), x.sealed[:]...); !bytes.Equal(got, b) {
			t.Errorf("parse, then append:\n got %x\nwant %x", got, b)
		}
		if x.index < HeaderSize || x.length < 0 || x.index+x.length != size-TrailerSize || x.records < 0 {
			t.Errorf("believed %+v in a file of %d", x, size)
		}
	})
}

// FuzzRecord: frame and metadata read and written are the same.
func FuzzRecord(f *testing.F) {
	file := must(os.ReadFile("testdata/golden.vseg"))
	r := must(Open(bytes.NewReader(file), int64(len(file)), unwrap))
	for _, e := range r.entries {
		f.Add(e.appendMeta(file[e.Offset:e.Offset+frameSize:e.Offset+frameSize], 2), byte(2))
	}
	f.Fuzz(func(t *testing.T, b []byte, tracks byte) {
		if len(b) < frameSize {
			return
		}
		if x, err := parseFrame(b, int64(len(b))); err == nil {
			if got := x.append(nil); !bytes.Equal(got, b[:frameSize]) || x.length > len(b) {
				t.Errorf("frame: parse, then append:\n got %x\nwant %x", got, b[:frameSize])
			}
		}
		var e Entry
		n := 1 + int(tracks)%media.MaxTracks
		if err := e.parseMeta(b[frameSize:], n); err == nil {
			if got := e.appendMeta(nil, n); !bytes.Equal(got, b[frameSize:frameSize+metaLen(n)]) {
				t.Errorf("metadata: parse, then append:\n got %x\nwant %x", got, b[frameSize:])
			}
		}
	})
}

// FuzzIndex: as if somebody had the key. The same for record 0.
func FuzzIndex(f *testing.F) {
	file := must(os.ReadFile("testdata/golden.vseg"))
	r := must(Open(bytes.NewReader(file), int64(len(file)), unwrap))
	x := index{end: r.summary.EndCause, entries: r.entries}
	for _, t := range r.summary.Tracks {
		x.tallies = append(x.tallies, tally{t.Leaves, t.Samples, t.Bytes, t.Root})
	}
	f.Add(x.append(nil))
	f.Add(r.opening.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := parseIndex(b); err == nil {
			if got := x.append(nil); !bytes.Equal(got, b) {
				t.Errorf("index: parse, then append:\n got %x\nwant %x", got, b)
			}
		}
		if o, err := parseOpening(b); err == nil {
			if got := o.append(nil); !bytes.Equal(got, b) {
				t.Errorf("record 0: parse, then append:\n got %x\nwant %x", got, b)
			}
		}
	})
}

// FuzzRecover reads files nobody wrote: no panic, no memory beyond the file's
// size, and what is recovered opens.
func FuzzRecover(f *testing.F) {
	file := must(os.ReadFile("testdata/golden.vseg"))
	f.Add(file)
	f.Add(file[:len(file)-TrailerSize])
	f.Add(file[:len(file)*2/3])
	f.Add(file[:HeaderSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := readAll(b); err == nil {
			for i := range b {
				if b[i] != file[i] && i < len(b)-32 {
					t.Fatalf("byte %d is another, and the file reads", i)
				}
			}
		}
		rec, err := Recover(bytes.NewReader(b), int64(len(b)), unwrap)
		if err != nil {
			return
		}
		mended := append(bytes.Clone(b[:rec.Valid]), rec.Tail...)
		r, err := Open(bytes.NewReader(mended), int64(len(mended)), unwrap)
		if err != nil || !reflect.DeepEqual(r.Summary(), rec.Summary) {
			t.Fatalf("recovered, and then: %v", err)
		}
	})
}
