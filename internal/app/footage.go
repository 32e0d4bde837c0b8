package app

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"vigil/internal/alert"
	"vigil/internal/catalogue"
	"vigil/internal/durable"
	"vigil/internal/keys"
	"vigil/internal/media"
	"vigil/internal/playback"
	"vigil/internal/store"
	"vigil/internal/store/segment"
	"vigil/internal/store/volume"
	"vigil/internal/web"
)

// library is store and catalogue as playback wants them.
type library struct{ *places }

func (l library) Stored(ctx context.Context, stream media.StreamID, from, to int64, fn func(playback.Stored) error) error {
	var list []playback.Stored
	removed, err := l.catalogue.Removed(stream, from, to) // a hole has its cause in an export too
	if err != nil {
		return err
	}
	for _, g := range removed {
		list = append(list, playback.Stored{Start: g.From, End: g.To, Gone: g.Cause})
	}
	if err := l.catalogue.Segments(stream, from, to, func(g catalogue.Segment) bool {
		list = append(list, playback.Stored{Segment: g.Segment, Leaf: g.Leaf, Start: g.Start, End: g.End})
		return ctx.Err() == nil
	}); err != nil {
		return err
	}
	slices.SortStableFunc(list, func(a, b playback.Stored) int { return cmp.Compare(a.Start, b.Start) })
	for _, s := range list {
		if err := fn(s); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (l library) Open(id media.SegmentID, start int64) (playback.File, error) {
	f, err := l.store.Open(id, start)
	if err != nil { // a nil *File must not become an interface
		return nil, err
	}
	return f, nil
}

func (l library) Live(stream media.StreamID) []playback.Live {
	var out []playback.Live
	for _, f := range l.store.OpenLive(stream) {
		out = append(out, f)
	}
	return out
}

// unreadable turns what playback meets into an alert. Of a disk that is away
// the store tells.
//
//vigil:clause 5.2.8.2
func (p *places) unreadable(_ media.StreamID, id media.SegmentID, err error) {
	var away *volume.Error
	if errors.As(err, &away) {
		return
	}
	g, known, ferr := p.catalogue.Find(id)
	gone := errors.Is(err, store.ErrGone)
	if gone && (ferr != nil || !known) {
		return // it was removed lawfully in the meantime
	}
	kind, args := alert.FileDamaged, map[string]string{"reason": reason(err), "error": err.Error()}
	if gone {
		kind = alert.FileMissing
	}
	if known {
		span(args, g.Start, g.End)
		args["camera"] = p.cameraName(g.Camera)
	}
	p.alerts.Raise(alert.Condition{Kind: kind, Object: id.String(), Camera: g.Camera, Args: args})
}

// reason is the code of why a segment cannot be played.
func reason(err error) string {
	switch {
	case errors.Is(err, segment.ErrDamaged), errors.Is(err, durable.ErrSpecial):
		return string(store.WrongDigest)
	case errors.Is(err, keys.ErrNoKey), errors.Is(err, keys.ErrDestroyed):
		return "no-key"
	}
	return string(store.Unreadable)
}

// span says from when to when, and how long, for the text of an alert.
func span(args map[string]string, start, end int64) {
	args["from"], args["to"] = time.Unix(0, start).UTC().Format(time.RFC3339), time.Unix(0, end).UTC().Format(time.RFC3339)
	args["seconds"] = strconv.FormatInt((end-start+int64(time.Second)-1)/int64(time.Second), 10)
}

// footage is what there is, as the page asks for it.
type footage struct {
	*places
	player *playback.Player
	oldest oldest
}

func (f *footage) Days(_ context.Context, id media.StreamID, zone *time.Location) ([]web.Day, error) {
	list, err := f.catalogue.Days(id, 0, time.Now().Add(48*time.Hour).UnixNano(), zone)
	if err != nil {
		return nil, err
	}
	var days []web.Day
	for _, b := range list {
		days = append(days, web.Day{Day: time.Unix(0, b.From).In(zone).Format(time.DateOnly), Footage: time.Duration(b.Recorded)})
	}
	for _, l := range f.live(id) { // what is being written may be all that a day has
		for at := time.Unix(0, l.from); at.UnixNano() < l.to; {
			y, m, d := at.In(zone).Date()
			next := time.Date(y, m, d+1, 0, 0, 0, 0, zone)
			day, part := at.In(zone).Format(time.DateOnly), min(next.UnixNano(), l.to)-at.UnixNano()
			i, ok := slices.BinarySearchFunc(days, day, func(x web.Day, day string) int { return cmpString(x.Day, day) })
			if !ok {
				days = slices.Insert(days, i, web.Day{Day: day})
			}
			days[i].Footage += time.Duration(part)
			at = next
		}
	}
	return days, nil
}

func cmpString(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// A written is a segment that is not in the ledger yet.
type written struct {
	id       media.SegmentID
	from, to int64 // arrival, ns since the epoch
	before   *segment.Gap
}

func (f *footage) live(id media.StreamID) (list []written) {
	for _, l := range f.store.OpenLive(id) {
		if e := l.Entries(); len(e) > 0 {
			last := e[len(e)-1]
			list = append(list, written{l.Info().Segment, e[0].WallStart, last.WallStart + int64(last.Duration.Duration()), l.Before()})
		}
		l.Close()
	}
	return list
}

// Bounds of a timeline: what a screen of some 2,000 pixels can show.
const (
	pixels  = 2000
	mostGap = 2000               // gaps in one answer
	nearBy  = 96 * time.Hour     // up to here all segments are looked at: a day and as much on both sides, when one has 25 hours
	joined  = int64(time.Second) // the seam of two segments
)

func (f *footage) Timeline(_ context.Context, id media.StreamID, from, to time.Time) (web.Timeline, error) {
	live := f.live(id) // before the catalogue: what is committed in between is met twice, not missed
	a, b := from.UnixNano(), to.UnixNano()
	var t catalogue.Timeline
	var out web.Timeline
	var err error
	if to.Sub(from) <= nearBy {
		t, err = f.catalogue.Timeline(id, a, b, max(to.Sub(from)/pixels, time.Second))
	} else {
		var o catalogue.Outline
		o, err = f.catalogue.Outline(id, a, b, pixels)
		t, out.Cells = o.Timeline, &web.Cells{From: time.Unix(0, o.From), Length: time.Duration(o.Cell), Recorded: make([]time.Duration, len(o.Recorded))}
		for i, n := range o.Recorded {
			out.Cells.Recorded[i] = time.Duration(n)
		}
	}
	if err != nil {
		return out, err
	}
	for _, r := range t.Ranges {
		out.Ranges = append(out.Ranges, web.Range{From: time.Unix(0, r.From), To: time.Unix(0, r.To)})
	}
	for _, w := range live {
		if g := w.before; g != nil { // the ledger will tell it when the segment ends, which can take minutes
			since := g.FromNs
			if since == 0 {
				since = w.from
			}
			t.Gaps = append(t.Gaps, catalogue.Gap{From: since, To: w.from, Cause: g.Cause, Lost: g.Lost})
		}
		from, to := max(w.from, a), min(w.to, b)
		if from < to {
			out.Ranges = put(out.Ranges, web.Range{From: time.Unix(0, from), To: time.Unix(0, to), Open: true})
		}
		out.Cells.Add(from, to)
	}
	out.Gaps = f.gaps(id, t.Gaps, out.Ranges, from, to)
	out.Ranges, out.Gaps = bounded(out.Ranges, out.Gaps, mostGap)
	return out, nil
}

// put adds a range to ranges in order: mostly at their end, but where the clock
// was set back before what was recorded then. It is open only if it ends last of those that it touches.
func put(list []web.Range, r web.Range) []web.Range {
	i, _ := slices.BinarySearchFunc(list, r.From, func(a web.Range, at time.Time) int { return a.From.Compare(at) })
	if i > 0 && !r.From.After(list[i-1].To.Add(time.Duration(joined))) {
		i--
		r.From = list[i].From
	}
	n := i
	for ; n < len(list) && !list[n].From.After(r.To); n++ {
		if !list[n].To.Before(r.To) {
			r.To, r.Open = list[n].To, list[n].Open
		}
	}
	return slices.Replace(list, i, n, r)
}

// bounded keeps the longest gaps, and joins the ranges over the others.
func bounded(ranges []web.Range, gaps []web.Gap, most int) ([]web.Range, []web.Gap) {
	if len(gaps) <= most {
		return ranges, gaps
	}
	long := slices.Clone(gaps)
	slices.SortFunc(long, func(a, b web.Gap) int { return cmp.Compare(b.To.Sub(b.From), a.To.Sub(a.From)) })
	long = long[:most]
	slices.SortFunc(long, func(a, b web.Gap) int { return a.From.Compare(b.From) })
	var out []web.Range
	i := 0
	for _, r := range ranges {
		for i < len(long) && !long[i].To.After(r.From) {
			i++
		}
		n := len(out)
		if n > 0 && (i == 0 || long[i-1].To.Before(out[n-1].To) || long[i-1].To.Equal(out[n-1].To)) {
			out[n-1].To, out[n-1].Open = r.To, r.Open
			continue
		}
		out = append(out, r)
	}
	return out, long
}

// gaps returns every stretch of [from, to) without footage, with its cause
// where one is known, from when the camera was added up to now.
func (f *footage) gaps(id media.StreamID, known []catalogue.Gap, ranges []web.Range, from, to time.Time) []web.Gap {
	c, s := f.settings.Get().Stream(id)
	if c == nil || s == nil {
		return nil
	}
	if now := time.Now(); to.After(now) {
		to = now
	}
	if from.Before(c.Added) {
		from = c.Added
	}
	return gapsBetween(known, ranges, from, to, func() (media.Cause, string) {
		return f.now(c.Gone() || !c.Recording.On || !s.Recorded, id, c.Recording.By)
	})
}

// gapsBetween finds what the ranges leave out of [from, to); now is asked for
// the cause of a gap that lasts. What was removed is a gap of its own, beside one that
// was there before.
func gapsBetween(known []catalogue.Gap, ranges []web.Range, from, to time.Time, now func() (media.Cause, string)) []web.Gap {
	removed, causes := newReasons(known, true), newReasons(known, false)
	var out []web.Gap
	add := func(a, b int64) {
		if b-a < joined {
			return
		}
		g := web.Gap{From: time.Unix(0, a), To: time.Unix(0, b)}
		if k, ok := causes.of(a, b); ok {
			g.Cause, g.Lost = k.Cause, k.Lost
		}
		if g.Cause == "" && g.To.Equal(to) { // it lasts: ask how things are now
			g.Cause, g.By = now()
		}
		out = append(out, g)
	}
	hole := func(a, b int64) {
		for a < b {
			k, ok := removed.of(a, b)
			if !ok {
				break
			}
			if k.From-a < joined { // a hole that is too short to be seen is not kept apart
				k.From = a
			}
			if b-k.To < joined {
				k.To = b
			}
			add(a, k.From)
			out = append(out, web.Gap{From: time.Unix(0, max(a, k.From)), To: time.Unix(0, min(b, k.To)), Cause: k.Cause})
			a = k.To
		}
		add(a, b)
	}
	at := from
	for _, r := range ranges {
		if r.From.After(at) {
			hole(at.UnixNano(), minTime(r.From, to).UnixNano())
		}
		if r.To.After(at) {
			at = r.To
		}
	}
	if at.Before(to) {
		hole(at.UnixNano(), to.UnixNano())
	}
	return out
}

// reasons are known gaps by From, and up to where those before each one reach, so
// that looking one up does not look at all.
type reasons struct {
	list  []catalogue.Gap
	reach []int64
	gone  bool // of what was removed: the first one counts, else the longest
}

func newReasons(known []catalogue.Gap, gone bool) reasons {
	r := reasons{gone: gone}
	for _, k := range known {
		if (k.Segments > 0) == gone {
			r.list = append(r.list, k)
		}
	}
	slices.SortStableFunc(r.list, func(a, b catalogue.Gap) int { return cmp.Compare(a.From, b.From) })
	reach := int64(math.MinInt64)
	for _, k := range r.list {
		reach = max(reach, k.To)
		r.reach = append(r.reach, reach)
	}
	return r
}

// of returns the reason for there being nothing in [a, b): of those that touch it
// the one with most of it, the newest where it is the same. The first segment of all knows no
// beginning of the gap before it, which ends where it does.
func (r reasons) of(a, b int64) (best catalogue.Gap, ok bool) {
	i, _ := slices.BinarySearch(r.reach, a+1)
	most := int64(-1)
	for ; i < len(r.list) && r.list[i].From <= b; i++ {
		k := r.list[i]
		if k.To <= a || k.From == b && k.To != b {
			continue
		}
		n := max(min(k.To, b)-max(k.From, a), 0)
		if r.gone && n < joined {
			continue
		}
		if n >= most {
			best, most, ok = k, n, true
		}
		if r.gone {
			break
		}
	}
	return best, ok
}

// now says why a stream has no footage at this moment.
func (f *footage) now(off bool, id media.StreamID, by string) (media.Cause, string) {
	if off {
		return media.Stopped, by
	}
	if s := f.streams.Stream(id); s != nil {
		if why := s.Stats().Down; why != "" {
			return why, ""
		}
	}
	for _, v := range f.volumes {
		if st := v.Status(); st.State != volume.Online {
			return st.Cause, ""
		}
	}
	return "", ""
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (f *footage) Play(ctx context.Context, id media.StreamID, from, to time.Time, most time.Duration) (*web.Clip, error) {
	plan, err := f.player.Watch(ctx, id, media.TicksOf(from), media.TicksOf(to), media.TicksIn(most))
	if errors.Is(err, playback.ErrNoFootage) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	clip := &web.Clip{Start: plan.Start.Time(), End: plan.End.Time(), Tracks: plan.Tracks, Init: plan.Init}
	if plan.Next != 0 {
		clip.Next = plan.Next.Time()
	}
	p := &puller{pieces: make(chan []byte), done: make(chan struct{})}
	ctx, p.stop = context.WithCancel(ctx)
	go p.push(ctx, plan)
	clip.Fragment, clip.Close = p.next, p.close
	return clip, nil
}

// A puller turns the pushes of a plan into pulls, one fragment in flight.
type puller struct {
	pieces chan []byte
	done   chan struct{}
	stop   context.CancelFunc
	err    error // before done is closed
	buf    []byte
}

func (p *puller) push(ctx context.Context, plan *playback.Plan) {
	defer close(p.done)
	p.err = plan.Play(ctx, func(piece playback.Piece) error {
		p.buf = append(p.buf[:0], piece.Fragment...) // theirs is gone when we return
		select {
		case p.pieces <- p.buf:
		case <-ctx.Done():
			return ctx.Err()
		}
		p.buf = nil
		return nil
	})
}

func (p *puller) next(ctx context.Context) ([]byte, error) {
	select {
	case b := <-p.pieces:
		return b, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.done:
		if p.err != nil {
			return nil, p.err
		}
		return nil, io.EOF
	}
}

func (p *puller) close() error {
	p.stop()
	<-p.done
	return nil
}

// oldest keeps the start of the oldest footage of each stream at hand.
type oldest struct {
	mu   sync.Mutex
	at   time.Time // when it was asked
	list map[media.StreamID]catalogue.Total
}

func (f *footage) totals() map[media.StreamID]catalogue.Total {
	f.oldest.mu.Lock()
	defer f.oldest.mu.Unlock()
	if time.Since(f.oldest.at) > 5*time.Second {
		list, err := f.catalogue.Totals()
		if err == nil {
			f.oldest.list = map[media.StreamID]catalogue.Total{}
			for _, t := range list {
				f.oldest.list[t.Stream] = t
			}
		}
		f.oldest.at = time.Now()
	}
	return f.oldest.list
}

// newest is an instant within the last footage; zero when there is none.
func (f *footage) newest(id media.StreamID) time.Time {
	at := f.totals()[id].Last
	for _, w := range f.live(id) {
		at = max(at, w.to)
	}
	if at == 0 {
		return time.Time{}
	}
	return time.Unix(0, at)
}

func (f *footage) Oldest(id media.StreamID) time.Time {
	if t, ok := f.totals()[id]; ok && t.First != 0 {
		return time.Unix(0, t.First)
	}
	return time.Time{}
}
