package app

import (
	"context"
	"errors"
	"io"
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
	if err := l.catalogue.Segments(stream, from, to, func(g catalogue.Segment) bool {
		list = append(list, playback.Stored{Segment: g.Segment, Leaf: g.Leaf, Start: g.Start, End: g.End})
		return ctx.Err() == nil
	}); err != nil {
		return err
	}
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

// resolutions of a timeline: what a screen of some 2,000 pixels can show.
const pixels = 2000

func (f *footage) Timeline(_ context.Context, id media.StreamID, from, to time.Time) ([]web.Range, []web.Gap, error) {
	live := f.live(id) // before the catalogue: what is committed in between is met twice, not missed
	t, err := f.catalogue.Timeline(id, from.UnixNano(), to.UnixNano(), max(to.Sub(from)/pixels, time.Second))
	if err != nil {
		return nil, nil, err
	}
	var ranges []web.Range
	for _, r := range t.Ranges {
		ranges = append(ranges, web.Range{From: time.Unix(0, r.From), To: time.Unix(0, r.To)})
	}
	for _, w := range live {
		if g := w.before; g != nil { // the ledger will tell it when the segment ends, which can take minutes
			since := g.FromNs
			if since == 0 {
				since = w.from
			}
			t.Gaps = append(t.Gaps, catalogue.Gap{From: since, To: w.from, Cause: g.Cause, Lost: g.Lost})
		}
		a, b := max(w.from, from.UnixNano()), min(w.to, to.UnixNano())
		if n := len(ranges); n > 0 && a <= ranges[n-1].To.UnixNano()+int64(time.Second) && b > ranges[n-1].To.UnixNano() {
			ranges[n-1].To, ranges[n-1].Open = time.Unix(0, b), true
		} else if a < b && (n == 0 || b > ranges[n-1].To.UnixNano()) {
			ranges = append(ranges, web.Range{From: time.Unix(0, a), To: time.Unix(0, b), Open: true})
		}
	}
	return ranges, f.gaps(id, t.Gaps, ranges, from, to), nil
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
// the cause of a gap that lasts.
func gapsBetween(known []catalogue.Gap, ranges []web.Range, from, to time.Time, now func() (media.Cause, string)) []web.Gap {
	var out []web.Gap
	add := func(a, b time.Time) {
		if b.Sub(a) < time.Second { // the seam of two segments
			return
		}
		g := web.Gap{From: a, To: b}
		for _, k := range known { // the last that touches is the newest
			// The first segment of all knows no beginning of the gap before it.
			if (k.From < b.UnixNano() || k.From == k.To && k.To == b.UnixNano()) && k.To > a.UnixNano() {
				g.Cause, g.Lost = k.Cause, k.Lost
			}
		}
		if g.Cause == "" && b.Equal(to) { // it lasts: ask how things are now
			g.Cause, g.By = now()
		}
		out = append(out, g)
	}
	at := from
	for _, r := range ranges {
		if r.From.After(at) {
			add(at, minTime(r.From, to))
		}
		if r.To.After(at) {
			at = r.To
		}
	}
	if at.Before(to) {
		add(at, to)
	}
	return out
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
