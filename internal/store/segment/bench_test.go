package segment

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"vigil/internal/media"
)

// big is a quarter second of 4 Mbit/s.
func big() *media.Batch {
	b := media.NewBatch(125_000)
	b.Tracks = testTracks
	for i := range 6 {
		b.Units = append(b.Units, media.Unit{Track: 1, DTS: media.Ticks(i+1) * 3600, Arrived: testStart, Data: b.Payload()[i*20_000 : (i+1)*20_000]})
	}
	b.Units = append(b.Units, media.Unit{Track: 2, RandomAccess: true, DTS: 1, Arrived: testStart, Data: b.Payload()[120_000:]})
	b.Fragment = b.Front(200)
	return b
}

func bigFile(n int) (file []byte, s Summary) {
	w := NewWriter(testInfo, testKey, testID, wrapKey.Wrap(nil, testKey, testID[:]))
	file = must(w.Init(w.Header(nil), testTracks, nil))
	b := big()
	for range n {
		file = must(w.Append(file, b))
	}
	return w.Finish(file, media.CutLength)
}

// BenchmarkAppend is sealing and both digests of a batch: the cost of the
// write path but for the disk.
func BenchmarkAppend(b *testing.B) {
	batch := big()
	dst := make([]byte, 0, 256<<10)
	b.SetBytes(int64(len(batch.Fragment)))
	b.ReportAllocs()
	var w *Writer
	for b.Loop() {
		if w == nil || w.records() == 240 { // a minute
			if w != nil {
				w.Finish(nil, media.CutLength)
			}
			w = NewWriter(testInfo, testKey, testID, make([]byte, WrappedSize))
			must(w.Init(w.Header(nil), testTracks, nil))
		}
		dst = must(w.Append(dst[:0], batch))
	}
}

// BenchmarkAppendSmall is the same for one picture of 600 bytes: a second
// stream at night.
func BenchmarkAppendSmall(b *testing.B) {
	batch := batch(1, rand.New(rand.NewPCG(1, 1)))
	w := NewWriter(testInfo, testKey, testID, make([]byte, WrappedSize))
	must(w.Init(w.Header(nil), testTracks, nil))
	dst := make([]byte, 0, 256<<10)
	b.ReportAllocs()
	for b.Loop() {
		if w.number == MaxRecords {
			w.number, w.index = 1, w.index[:0]
		}
		dst = must(w.Append(dst[:0], batch))
	}
}

// BenchmarkRecover reads a minute of 4 Mbit/s that has no end.
func BenchmarkRecover(b *testing.B) {
	file, _ := bigFile(240)
	file = file[:len(file)-TrailerSize-1]
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if rec, err := Recover(bytes.NewReader(file), int64(len(file)), unwrap); err != nil || len(rec.Entries) != 240 {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is what a seek costs before the first fragment.
func BenchmarkOpen(b *testing.B) {
	file, _ := bigFile(240)
	b.ReportAllocs()
	for b.Loop() {
		must(Open(bytes.NewReader(file), int64(len(file)), unwrap))
	}
}

// BenchmarkRead opens a minute and reads all of it.
func BenchmarkRead(b *testing.B) {
	file, _ := bigFile(240)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		r := must(Open(bytes.NewReader(file), int64(len(file)), unwrap))
		for i := range r.Index() {
			buf = must(r.Fragment(buf[:0], i))
		}
	}
}

// BenchmarkVerify is a scrub of a minute.
func BenchmarkVerify(b *testing.B) {
	file, s := bigFile(240)
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if err := Verify(bytes.NewReader(file), s.Sealed); err != nil {
			b.Fatal(err)
		}
	}
}
