package playback

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"vigil/internal/fmp4"
	"vigil/internal/media"
	"vigil/internal/store/segment"
)

// A Plan says which fragments of which segments make a range. It holds nothing
// open. Its methods are for many callers.
type Plan struct {
	Stream media.StreamID
	From   media.Ticks   // as asked for, since the epoch
	To     media.Ticks   //
	Start  media.Ticks   // decode time of the first fragment: at or before From, if there is footage
	End    media.Ticks   // where the last fragment ends
	Next   media.Ticks   // not 0: there is more before To, from here on
	Tracks []media.Track // of the first fragment
	Init   []byte        // its initialisation segment
	Silent bool          // of a file: without sound
	Gaps   []Gap         // between From and the end, or Next

	player  *Player
	spans   []span
	payload int64 // bytes of all units
	samples int
	ended   media.Cause // how the segment of the last span ended, as far as that was known
}

// An edge is where the footage of a plan ended when it was made. What was
// stored behind it later does not belong to it.
type edge struct {
	Segment   media.SegmentID `json:"segment"`
	Fragments int             `json:"fragments"` // up to this one of the segment
	Next      media.Ticks     `json:"next,omitempty"`
	Ended     media.Cause     `json:"ended,omitempty"`
}

func (p *Plan) edge() *edge {
	last := &p.spans[len(p.spans)-1]
	return &edge{last.id, last.last, p.Next, p.ended}
}

// there tells whether the record still has every segment of the plan.
func (p *Plan) there(ctx context.Context) (bool, error) {
	wanted := map[media.SegmentID]bool{}
	for _, s := range p.spans {
		wanted[s.id] = true
	}
	for _, l := range p.player.lib.Live(p.Stream) { // before the ledger is asked
		delete(wanted, l.Info().Segment)
		l.Close()
	}
	err := p.player.lib.Stored(ctx, p.Stream, nanos(max(0, p.From-margin)), nanos(p.To+margin), func(s Stored) error {
		if s.Gone == "" {
			delete(wanted, s.Segment)
		}
		return nil
	})
	return len(wanted) == 0, err
}

// A span is a run of fragments of one segment.
type span struct {
	id          media.SegmentID
	start       int64 // to find it by
	young       bool  // the ledger did not have it yet
	first, last int   // entries, half open
	payload     int64 // bytes of its units
	at          int64 // bytes of the units of all spans before
}

// maxRows bounds the segments that one plan looks at; the rest is Next.
const maxRows = 20000

// margin is how far arrival times, by which the ledger knows segments, may be
// from decode times, by which they are shown.
const margin = 10 * media.TicksPerSecond

// Watch plans what a player gets in one go: from the last random access unit
// not after from, or the first footage after it, up to to; at most for that long, with one
// initialisation segment. Footage comes in the order in which it was recorded: where the clock was set back, times go
// back, and what was recorded of one time twice is there twice. It opens every segment in that time: ask for
// little after a jump, for more later. The error wraps ErrNoFootage if there is none.
func (p *Player) Watch(ctx context.Context, stream media.StreamID, from, to, long media.Ticks) (*Plan, error) {
	return p.plan(ctx, &builder{Plan: Plan{Stream: stream, From: from, To: to, player: p}, watch: true, long: long})
}

// Collect plans one file of a range: as much as one movie may have, with
// tracks that keep their settings. Without sound there is none in the file, not
// even unreferenced.
func (p *Player) Collect(ctx context.Context, stream media.StreamID, from, to media.Ticks, sound bool) (*Plan, error) {
	return p.collect(ctx, stream, from, to, sound, nil)
}

// collect plans a file that ends where it ended before; nil: that was not made yet.
func (p *Player) collect(ctx context.Context, stream media.StreamID, from, to media.Ticks, sound bool, upto *edge) (*Plan, error) {
	return p.plan(ctx, &builder{Plan: Plan{Stream: stream, From: from, To: to, Silent: !sound, player: p}, upto: upto})
}

var errEnough = errors.New("enough")

func (p *Player) plan(ctx context.Context, b *builder) (*Plan, error) {
	if b.From < 0 || b.To <= b.From {
		return nil, fmt.Errorf("play %v: %w: from %d to %d", b.Stream, ErrNoFootage, b.From, b.To)
	}
	b.end = b.From
	young := p.lib.Live(b.Stream) // before the ledger is asked: a segment that is committed in between is seen twice, not never
	defer func() {
		for _, l := range young {
			l.Close()
		}
	}()
	var rows []Stored
	err := p.lib.Stored(ctx, b.Stream, nanos(max(0, b.From-margin)), nanos(b.To+margin), func(s Stored) error {
		if len(rows) == maxRows {
			return errEnough
		}
		rows = append(rows, s)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, fmt.Errorf("play %v: %w", b.Stream, err)
	}
	if errors.Is(err, errEnough) {
		b.Next = ticks(rows[maxRows-1].End)
		young = nil
	}
	for _, row := range recorded(rows) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if row.Start > nanos(b.To+margin) {
			continue // To may have come nearer
		}
		if b.stored(row) {
			break
		}
	}
	if !b.full {
		for _, l := range young {
			if !slices.ContainsFunc(rows, func(s Stored) bool { return s.Segment == l.Info().Segment }) && b.live(l) {
				break
			}
		}
	}
	return b.finish()
}

// recorded puts segments into the order in which they were recorded, which is
// not that of their times where the clock was set back. Removed stretches stay before what followed them.
func recorded(rows []Stored) []Stored {
	type place struct {
		Stored
		leaf uint64
	}
	list := make([]place, len(rows))
	next := ^uint64(0)
	for i, row := range slices.Backward(rows) {
		if row.Gone == "" {
			next = row.Leaf
		}
		list[i] = place{row, next}
	}
	slices.SortStableFunc(list, func(a, b place) int { return cmp.Compare(a.leaf, b.leaf) })
	for i, p := range list {
		rows[i] = p.Stored
	}
	return rows
}

// nanos and ticks convert times since the epoch; the ends of time stay in range.
func nanos(t media.Ticks) int64 { return min(t, maxTime).Time().UnixNano() }
func ticks(ns int64) media.Ticks {
	return media.Ticks(ns/1e9*media.TicksPerSecond + ns%1e9*9/100000)
}

const maxTime = 9_000_000_000 * media.TicksPerSecond // the year 2255

// A builder makes a plan, segment by segment.
type builder struct {
	Plan
	watch bool
	long  media.Ticks
	upto  *edge // nil: all there is

	end    media.Ticks // up to where it is known what there is
	broken bool        // footage is missing: the next fragment must be one that decodes alone
	cause  media.Cause // and why
	full   bool
	known  [media.MaxTracks]media.Track // Number 0: not yet
}

// stored adds a segment of the ledger and tells whether that is the end.
func (b *builder) stored(row Stored) bool {
	if row.Gone != "" {
		b.broken, b.cause = true, row.Gone
		return false
	}
	s, err := b.player.open(b.Stream, row.Segment, row.Start, false)
	if err != nil {
		b.player.report(b.Stream, row.Segment, err)
		b.broken, b.cause = true, causeOf(err)
		return false
	}
	defer s.Close()
	return b.add(s.Reader, span{id: row.Segment, start: row.Start})
}

// live adds a segment that is being written.
func (b *builder) live(l Live) bool {
	entries := l.Entries()
	if len(entries) == 0 {
		return false
	}
	r, err := segment.OpenLive(l, entries, b.player.unwrap)
	if err != nil {
		b.player.report(b.Stream, l.Info().Segment, err)
		b.broken, b.cause = true, causeOf(err)
		return false
	}
	return b.add(r, span{id: l.Info().Segment, start: entries[0].WallStart, young: true})
}

// add adds a segment, as far as the plan is to reach, and tells whether that is the end.
func (b *builder) add(r *segment.Reader, s span) bool {
	entries := r.Index()
	last := b.upto != nil && b.upto.Segment == s.id
	if last {
		entries = entries[:min(b.upto.Fragments, len(entries))]
	}
	end := b.take(r, entries, s)
	b.ended = r.Summary().EndCause
	if last {
		b.full, b.Next, b.ended = true, b.upto.Next, b.upto.Ended
	}
	return end || last
}

func (b *builder) take(r *segment.Reader, entries []segment.Entry, s span) bool {
	i := b.begin(entries)
	if i == len(entries) {
		return false
	}
	if entries[i].DTS >= b.To {
		b.hole(r, i) // up to To, but the cause is known here
		return false // a clock that was set back may bring more
	}
	if !b.fits(r.Tracks()) { // the last picture before may reach a moment into this: how long it is shown is a guess
		switch {
		case entries[0].DTS <= b.From && b.end-entries[0].DTS <= maxHole: // that moment is not what was asked for
			b.spans, b.payload, b.samples, b.Gaps, b.end, b.known = nil, 0, 0, nil, b.From, [media.MaxTracks]media.Track{}
			return b.add(r, s)
		case b.watch && entries[i].DTS < b.end-maxHole:
			return false // the clock and the coding changed: only a file of its own can have it
		}
		return b.stop(entries[i].DTS)
	}
	if len(b.spans) == 0 {
		b.Start, b.Tracks, b.Init = entries[i].DTS, r.Tracks(), r.Init()
	}
	s.first, s.last, s.at = i, i, b.payload
	for ; s.last < len(entries); s.last++ {
		e := &entries[s.last]
		if e.DTS >= b.To && (b.Next == 0 || e.RandomAccess) { // a GOP belongs to where it begins, when there is more
			break
		}
		if b.enough(e, s.last > s.first || len(b.spans) > 0) {
			b.keep(s)
			return b.stop(e.DTS)
		}
		b.hole(r, s.last)
		b.end = max(b.end, e.DTS+e.Duration)
		s.payload += int64(b.units(e))
		for t := range e.Tracks {
			b.samples += e.Tracks[t].Units
		}
	}
	b.keep(s)
	return false
}

// begin chooses the first fragment of a segment.
func (b *builder) begin(entries []segment.Entry) int {
	n := len(entries)
	if n == 0 {
		return 0
	}
	if len(b.spans) == 0 { // the last that decodes alone and is not after From, else the first that is
		if last := &entries[n-1]; last.DTS+last.Duration <= b.From {
			return n
		}
		at := n
		for i := range entries {
			if e := &entries[i]; e.RandomAccess && (at == n || e.DTS <= b.From) {
				at = i
			}
		}
		return at
	}
	i := 0
	for i < n && entries[i].DTS < b.From { // a clock was set back, to before what was asked for
		i++
	}
	if i > 0 || b.broken || entries[0].DTS-b.end > maxHole {
		for i < n && !entries[i].RandomAccess {
			i++
		}
	}
	return i
}

// fits tells whether a segment's tracks can follow those before. In one file
// sound may come and go, in one response of fragments not.
func (b *builder) fits(tracks []media.Track) bool {
	if b.watch && len(b.spans) > 0 && len(tracks) != len(b.Tracks) {
		return false
	}
	if b.Silent {
		tracks = tracks[:1]
	}
	for i := range tracks {
		t := &tracks[i]
		if known := &b.known[t.Number-1]; known.Number != 0 && !fmp4.Same(known, t) {
			return false
		}
	}
	for _, t := range tracks {
		b.known[t.Number-1] = t
	}
	return true
}

// enough tells whether the plan ends before a fragment.
func (b *builder) enough(e *segment.Entry, began bool) bool {
	if b.watch {
		return began && e.RandomAccess && e.DTS-b.Start >= b.long
	}
	if e.RandomAccess && began {
		return b.samples > softSamples
	}
	return b.samples > fmp4.MaxSamples-media.MaxUnits
}

// softSamples is where a file ends if a GOP begins, so that it does not end
// within one later.
const softSamples = fmp4.MaxSamples - fmp4.MaxSamples/16

// hole notes a gap before a fragment, if there is one.
func (b *builder) hole(r *segment.Reader, i int) {
	e := &r.Index()[i]
	to := min(e.DTS, b.To)
	if to-b.end > maxHole {
		g := Gap{From: b.end, To: to, Cause: b.cause, Lost: e.Lost}
		if before := r.Summary().Before; i == 0 && before != nil {
			g.Lost = before.Lost
			if g.Cause == "" {
				g.Cause = before.Cause
			}
		}
		if g.Cause == "" && i == 0 {
			g.Cause = b.why() // the first after a start knows no better: killed, or stopped
		}
		if g.Cause == "" {
			g.Cause = e.New
		}
		if g.Cause == "" && e.Lost > 0 {
			g.Cause = media.Network
		}
		b.Gaps = append(b.Gaps, g)
		b.end = to
	}
	b.broken, b.cause = false, ""
}

// why is the reason for which the last segment ended with nothing behind it.
func (b *builder) why() media.Cause {
	if b.ended == media.CutLength || b.ended == media.CutCodec {
		return ""
	}
	return b.ended
}

func (b *builder) keep(s span) {
	if s.last > s.first {
		b.spans = append(b.spans, s)
		b.payload += s.payload
		b.End = b.end
	}
}

// stop says that there is more from next on, and whether nothing can come any
// more. Where a clock was set back, what was recorded of the same time later still belongs here.
func (b *builder) stop(next media.Ticks) bool {
	b.Next, b.full = next, !b.watch
	if b.watch {
		b.To = next
	}
	return b.full
}

func (b *builder) finish() (*Plan, error) {
	if len(b.spans) == 0 {
		return nil, fmt.Errorf("play %v: %w", b.Stream, ErrNoFootage)
	}
	if b.Next == 0 && b.To-b.end > maxHole {
		b.Gaps = append(b.Gaps, Gap{From: b.end, To: b.To, Cause: cmp.Or(b.cause, b.why())})
	}
	plan := b.Plan
	return &plan, nil
}
