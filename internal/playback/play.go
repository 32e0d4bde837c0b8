package playback

import (
	"context"
	"fmt"

	"vigil/internal/fmp4"
	"vigil/internal/media"
	"vigil/internal/store/segment"
)

// A cursor reads planned fragments, in any order; in theirs it opens each
// segment once. It belongs to one goroutine.
type cursor struct {
	plan *Plan
	once bool // what is read is much, and will hardly be read again soon
	at   int  // span that is open; -1: none
	src  source
	buf  []byte
}

func (p *Plan) cursor(once bool) *cursor { return &cursor{plan: p, once: once, at: -1} }

func (c *cursor) close() {
	if c.at >= 0 {
		if f, ok := c.src.Closer.(File); ok && c.once { // not one that is being written
			f.Forget()
		}
		c.src.Close()
	}
	c.at = -1
}

// span opens the segment of a span.
func (c *cursor) span(ctx context.Context, s int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.at == s {
		return nil
	}
	c.close()
	x := &c.plan.spans[s]
	src, err := c.plan.player.open(c.plan.Stream, x.id, x.start, x.young)
	if err != nil {
		return err
	}
	if len(src.Index()) < x.last {
		src.Close()
		return &segment.Damage{Segment: x.id, Record: segment.InIndex, Err: fmt.Errorf("%d fragments, there were %d", len(src.Index()), x.last)}
	}
	c.src, c.at = src, s
	return nil
}

// fragment reads a fragment of the span that is open. It is good until the
// next call.
func (c *cursor) fragment(ctx context.Context, i int) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, err := c.src.Fragment(c.buf[:0], i)
	c.buf = b[:0]
	if err != nil {
		return nil, err
	}
	return b, nil
}

// A Piece is one fragment on its way to a player.
type Piece struct {
	Fragment []byte // prft, moof, mdat; good until the function returns
	Entry    *segment.Entry
	Gap      *Gap // not nil: directly before, footage that the plan had could not be shown
}

// Play reads the fragments of a plan one after the other, each verified before
// fn gets it. A fragment that does not authenticate is reported; what cannot be decoded without
// it is left out, and the next piece has the gap. It ends with fn's error or ctx's.
//
//vigil:clause 5.2.8.2
func (p *Plan) Play(ctx context.Context, fn func(Piece) error) error {
	c := p.cursor(false)
	defer c.close()
	var gap *Gap // since when nothing is shown
	end := p.Start
	for s := range p.spans {
		x := &p.spans[s]
		if err := c.span(ctx, s); err != nil {
			if gap = p.lost(ctx, gap, x, end, err); gap == nil {
				return err
			}
			continue
		}
		for i := x.first; i < x.last; i++ {
			e := &c.src.Index()[i]
			if gap != nil && !e.RandomAccess {
				continue
			}
			b, err := c.fragment(ctx, i)
			if err != nil {
				if gap = p.lost(ctx, gap, x, end, err); gap == nil {
					return err
				}
				continue
			}
			if gap != nil {
				gap.To = e.DTS
			}
			if err := fn(Piece{b, e, gap}); err != nil {
				return err
			}
			gap, end = nil, e.DTS+e.Duration
		}
	}
	return nil
}

// lost reports what cannot be read and begins a gap, or goes on with one. It
// returns nil when it is only that nobody wants to read on.
func (p *Plan) lost(ctx context.Context, gap *Gap, x *span, end media.Ticks, err error) *Gap {
	if ctx.Err() != nil {
		return nil
	}
	p.player.report(p.Stream, x.id, err)
	if gap == nil {
		gap = &Gap{From: end, To: p.End, Cause: causeOf(err)}
	}
	return gap
}

// parse finds the samples of a planned fragment that go into a file, and the
// bytes they are. These must be as many as the index says: places in the file depend on that.
func (p *Plan) parse(f *fmp4.Fragment, b []byte, x *span, i int, e *segment.Entry) ([]byte, error) {
	err := f.Parse(b)
	if err != nil {
		return nil, &segment.Damage{Segment: x.id, Record: i + 1, Err: err}
	}
	want, end := p.units(e), len(b)
	if p.Silent { // the pictures come first
		f.Parts = f.Parts[:1]
		end = f.Payload + want
	}
	if p.Silent && f.Parts[0].Track != 1 || end-f.Payload != want || end > len(b) || !within(f, end) {
		return nil, &segment.Damage{Segment: x.id, Record: i + 1, Err: fmt.Errorf("%d bytes of units, the index says %d", len(b)-f.Payload, want)}
	}
	return b[f.Payload:end], nil
}

// within tells whether all samples lie before a place.
func within(f *fmp4.Fragment, end int) bool {
	for i := range f.Parts {
		last := f.Parts[i].Samples[len(f.Parts[i].Samples)-1]
		if last.Offset+last.Size > end {
			return false
		}
	}
	return true
}

// units counts the bytes of a fragment's units that go into a file.
func (p *Plan) units(e *segment.Entry) (n int) {
	if p.Silent {
		return e.Tracks[0].Bytes
	}
	for i := range e.Tracks {
		n += e.Tracks[i].Bytes
	}
	return n
}
