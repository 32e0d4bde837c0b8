package playback

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"vigil/internal/media"
)

// minutes records n minutes of 8 Mbit/s with a GOP a second.
func minutes(b testing.TB, n int) (*library, media.Ticks) {
	l := newLibrary(b)
	r := l.record(justPictures)
	data := make([]byte, 40_000)
	for m := range n {
		r.begin(nil)
		for s := range 60 * 4 {
			var units []media.Unit
			for i := range 6 {
				units = append(units, media.Unit{Track: 1, RandomAccess: i == 0 && s%4 == 0, DTS: dawn + media.Ticks(m*240+s)*22500 + media.Ticks(i)*3750, Data: data})
			}
			r.add(units)
		}
		r.end(media.CutLength)
	}
	return l, dawn + media.Ticks(n)*60*second
}

// BenchmarkExport is the way from sealed bytes in memory to nowhere, and to a digest.
func BenchmarkExport(b *testing.B) {
	l, end := minutes(b, 5)
	for name, to := range map[string]func(*Plan) error{
		"discard": func(p *Plan) error { _, err := p.Export(context.Background(), io.Discard, nil); return err },
		"hash":    func(p *Plan) error { _, err := p.Export(context.Background(), sha256.New(), nil); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				plan := must(l.player().Collect(context.Background(), l.stream, dawn, end, true))
				b.SetBytes(plan.Payload())
				if err := to(plan); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFollow is an export that is made and read at the same time, as most are.
func BenchmarkFollow(b *testing.B) {
	l, end := minutes(b, 5)
	b.ReportAllocs()
	for b.Loop() {
		plan := must(l.player().Collect(context.Background(), l.stream, dawn, end, true))
		b.SetBytes(plan.Payload())
		x := plan.file()
		d := x.Open(context.Background())
		read := make(chan error, 1)
		go func() {
			_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{d}, make([]byte, 256<<10))
			read <- err
		}()
		if err := errors.Join(x.make(context.Background(), sha256.New(), nil), <-read, d.Close()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPlay is what a viewer costs.
func BenchmarkPlay(b *testing.B) {
	l, end := minutes(b, 2)
	plan := must(l.player().Watch(context.Background(), l.stream, dawn, end, end-dawn))
	b.SetBytes(plan.Payload())
	b.ReportAllocs()
	for b.Loop() {
		if err := plan.Play(context.Background(), func(Piece) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
