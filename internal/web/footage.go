package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"vigil/internal/access"
	"vigil/internal/audit"
	"vigil/internal/media"
	"vigil/internal/settings"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

// wanted finds the stream a query asks for: one of the camera's, else its main
// one.
func (c *call) wanted() (*settings.Stream, error) {
	v := c.r.URL.Query().Get("stream")
	return c.streamOf(v, "?stream")
}

func (c *call) streamOf(id, field string) (*settings.Stream, error) {
	if id == "" {
		return c.camera.Main(), nil
	}
	for i := range c.camera.Streams {
		if s := &c.camera.Streams[i]; s.ID.String() == id {
			return s, nil
		}
	}
	return nil, mistake(field, "wrong-type")
}

func (c *call) getDays() error {
	s, err := c.wanted()
	if err != nil {
		return err
	}
	name := c.r.URL.Query().Get("zone")
	if name == "" {
		name = c.Settings.Get().TimeZone
	}
	if !settings.KnownZone(name) {
		return mistake("?zone", "time-zone")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return err
	}
	days, err := c.Footage.Days(c.r.Context(), s.ID, zone)
	if err != nil {
		return err
	}
	type body struct {
		Day     string `json:"day"`
		Seconds int64  `json:"seconds"`
	}
	list := []body{}
	for _, d := range days {
		list = append(list, body{d.Day, int64(d.Footage / time.Second)})
	}
	return c.answer(http.StatusOK, map[string]any{"zone": name, "days": list})
}

// maxTimeline bounds one answer: a month, and a day of slack for time zones.
const maxTimeline = 32

type rangeBody struct {
	From int64 `json:"from"`
	To   int64 `json:"to"`
	Open bool  `json:"open,omitempty"`
}

type gapBody struct {
	From  int64       `json:"from"`
	To    int64       `json:"to"`
	Cause media.Cause `json:"cause"`
	By    string      `json:"by,omitempty"`
	Lost  uint32      `json:"lost,omitempty"`
}

func gapsBody(list []Gap) []gapBody {
	out := []gapBody{}
	for _, g := range list {
		if g.Cause == "" {
			g.Cause = "unknown"
		}
		out = append(out, gapBody{ms(g.From), ms(g.To), g.Cause, g.By, g.Lost})
	}
	return out
}

func (c *call) getTimeline() error {
	s, err := c.wanted()
	if err != nil {
		return err
	}
	var m text.Mistakes
	from, _ := c.instant(&m, "from", true)
	to, _ := c.instant(&m, "to", true)
	if err := m.Err(); err != nil {
		return err
	}
	if !to.After(from) {
		return mistake("?to", "range")
	}
	if to.Sub(from) > maxTimeline*24*time.Hour {
		return say(http.StatusUnprocessableEntity, "range-too-long", "days", strconv.Itoa(maxTimeline))
	}
	t, err := c.Footage.Timeline(c.r.Context(), s.ID, from, to)
	if err != nil {
		return err
	}
	list := []rangeBody{}
	for _, r := range t.Ranges {
		list = append(list, rangeBody{ms(r.From), ms(r.To), r.Open})
	}
	return c.answer(http.StatusOK, struct {
		Camera media.CameraID `json:"camera"`
		Stream media.StreamID `json:"stream"`
		From   int64          `json:"from"`
		To     int64          `json:"to"`
		Now    int64          `json:"now"`
		Ranges []rangeBody    `json:"ranges"`
		Gaps   []gapBody      `json:"gaps"`
		Cells  *cellsBody     `json:"cells,omitempty"`
	}{c.camera.ID, s.ID, ms(from), ms(to), ms(time.Now()), list, gapsBody(t.Gaps), newCells(t.Cells)})
}

type cellsBody struct {
	From    int64   `json:"from"`
	Length  int64   `json:"length"`
	Seconds []int64 `json:"seconds"`
}

func newCells(c *Cells) *cellsBody {
	if c == nil {
		return nil
	}
	b := &cellsBody{From: ms(c.From), Length: c.Length.Milliseconds(), Seconds: make([]int64, len(c.Recorded))}
	for i, d := range c.Recorded {
		b.Seconds[i] = int64(d.Round(time.Second) / time.Second)
	}
	return b
}

// recheck is how often a long answer asks whether it is still allowed. What ends
// a session ends it at once.
const recheck = time.Second

// A watch is a long answer with video, bounded in number, deadline by
// deadline, ended with the session or the right.
type watch struct {
	*call
	ctx     context.Context
	rc      *http.ResponseController
	checked time.Time
	end     []func()
}

func (c *call) watch() (*watch, error) {
	release, ok := c.slots.both("video", c.holder(), c.person(), maxStreams, streamsPerWho)
	if !ok {
		return nil, say(http.StatusServiceUnavailable, "too-many-streams", "max", strconv.Itoa(streamsPerWho))
	}
	ctx, cancel := context.WithCancel(c.r.Context())
	w := &watch{call: c, ctx: ctx, rc: http.NewResponseController(c.w), checked: time.Now(), end: []func(){release, cancel}}
	w.rc.SetReadDeadline(time.Time{}) // the request is read; without this HTTP/1 would think the caller gone
	go func() {
		select {
		case <-ctx.Done():
		case <-c.done:
		case <-c.ended():
		}
		cancel()
	}()
	return w, nil
}

// holder is whom places are counted for.
func (c *call) holder() string {
	if c.session != nil {
		return c.session.ID
	}
	return c.who().String()
}

// person is who it is, in whatever session.
func (c *call) person() string { return string(c.who().Kind) + " " + c.who().Name }

// ended is closed with the session; never for the console.
func (c *call) ended() <-chan struct{} {
	if c.session == nil {
		return nil
	}
	return c.session.Done()
}

func (w *watch) close() {
	for _, f := range w.end {
		f()
	}
}

// send writes a piece. Video that runs is use of the session; a right that was taken
// away ends it within a second.
//
//vigil:clause 5.4.3.1
func (w *watch) send(b []byte) error {
	if now := time.Now(); now.Sub(w.checked) >= recheck {
		w.checked = now
		if w.session != nil {
			subject, err := w.Auth.Subject(w.session)
			if err != nil {
				return err
			}
			if err := access.Allow(subject, w.right); err != nil {
				return err
			}
			w.Auth.Used(w.session)
		}
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	return sendPiece(w.w, w.rc, b, writeTime)
}

// liveWait is how long a stream that was not connected may take to show its
// first picture.
const liveWait = 12 * time.Second

// watchLive sends what a camera sends now.
//
//vigil:clause 5.5.1.1
func (c *call) watchLive() error {
	recode, err := c.recode()
	if err != nil {
		return err
	}
	w, err := c.watch()
	if err != nil {
		return err
	}
	defer w.close()
	if c.camera.Gone() {
		return notFound()
	}
	r, leave, err := c.Cameras.Watch(c.stream.ID)
	if err != nil {
		return c.notLive()
	}
	defer leave()
	first, cancel := context.WithTimeout(w.ctx, liveWait)
	defer cancel()
	var tracks *media.Tracks
	var out *outlet
	for {
		ctx := w.ctx
		if tracks == nil {
			ctx = first
		}
		it, err := r.Next(ctx)
		if err != nil {
			if tracks == nil && w.ctx.Err() == nil {
				return c.notLive()
			}
			return nil
		}
		if it.Batch == nil { // nothing comes for now
			if tracks == nil {
				if st := c.Cameras.State(c.stream.ID); st.State == wire.Waiting {
					return c.notLive()
				}
				continue // it was down before; it may come
			}
			return nil
		}
		b := it.Batch
		if tracks == nil {
			tracks = b.Tracks
			if out, err = w.outlet(tracks.List, tracks.Init, recode); err != nil {
				b.Release()
				return err
			}
			defer out.close()
			if err = c.note(audit.ViewLive, c.camera.Name, map[string]string{"stream": c.stream.ID.String()}); err != nil {
				b.Release()
				return err
			}
			c.w.Header().Set("Vigil-Start", strconv.FormatInt(ms(b.Units[0].DTS.Time()), 10))
			err = out.begin()
		} else if b.Tracks != tracks {
			b.Release()
			return nil // another coding: the caller asks again
		}
		if err == nil {
			err = out.fragment(b.Fragment)
		}
		b.Release()
		if err != nil {
			return nil // the caller left, or may not any more; the answer has begun
		}
	}
}

func (c *call) notLive() error {
	why := c.Cameras.State(c.stream.ID).Why
	p := say(http.StatusServiceUnavailable, "stream-not-live", "why", "")
	if n := note(c.lang, "camera", why.Code, why.Args); n != nil {
		p.args["why"] = n.Text
	}
	p.retry = 5
	return p
}

// mostAtOnce bounds one answer with stored video: a caller that wants more asks
// again, and the log shows what was watched.
const mostAtOnce = 10 * time.Minute

// watchStored sends stored footage.
//
//vigil:clause 5.5.1.1
func (c *call) watchStored() error {
	var m text.Mistakes
	from, _ := c.instant(&m, "from", true)
	to, ok := c.instant(&m, "to", false)
	if err := m.Err(); err != nil {
		return err
	}
	if !ok {
		to = time.Now()
		if !to.After(from) {
			return c.nothing() // the future
		}
	}
	if !to.After(from) {
		return mistake("?to", "range")
	}
	recode, err := c.recode()
	if err != nil {
		return err
	}
	w, err := c.watch()
	if err != nil {
		return err
	}
	defer w.close()
	// A page that has enough for now gives an answer back and asks on later: the rest of what was recorded as watched is not
	// recorded again, and ends the answer. What is watched a second time is.
	who := c.holder() + " " + c.stream.ID.String()
	known, goesOn := c.watched.goesOn(who, from, time.Now())
	goesOn = goesOn && known.Before(to)
	if !goesOn {
		known = to
	}
	clip, err := c.Footage.Play(w.ctx, c.stream.ID, from, known, mostAtOnce)
	if err == nil && clip == nil && goesOn {
		goesOn = false
		clip, err = c.Footage.Play(w.ctx, c.stream.ID, from, to, mostAtOnce)
	}
	if err != nil {
		return err
	}
	if clip == nil {
		return c.nothing()
	}
	defer clip.Close()
	if goesOn && clip.Next.IsZero() {
		clip.Next = known
	}
	out, err := w.outlet(clip.Tracks, clip.Init, recode)
	if err != nil {
		return err
	}
	defer out.close()
	detail := map[string]string{"stream": c.stream.ID.String(), "from": clip.Start.UTC().Format(time.RFC3339Nano), "to": clip.End.UTC().Format(time.RFC3339Nano)}
	if !goesOn {
		if err := c.note(audit.ViewPlay, c.camera.Name, detail); err != nil {
			return err
		}
		c.watched.add(who, from, clip.End, time.Now())
	}
	h := c.w.Header()
	h.Set("Vigil-Start", strconv.FormatInt(ms(clip.Start), 10))
	h.Set("Vigil-End", strconv.FormatInt(ms(clip.End), 10))
	if !clip.Next.IsZero() {
		h.Set("Vigil-Next", strconv.FormatInt(ms(clip.Next.Add(time.Millisecond-1)), 10)) // or what was before it comes again, and for ever where the coding changes
	}
	err = out.begin()
	for err == nil {
		var b []byte
		if b, err = clip.Fragment(w.ctx); err == nil {
			err = out.fragment(b)
		}
	}
	if errors.Is(err, io.EOF) {
		if err = out.end(); err == nil {
			return nil
		}
	}
	if w.ctx.Err() == nil {
		c.Log.Warn("playback broke off", "camera", c.camera.ID, "err", err)
	}
	panic(http.ErrAbortHandler) // the caller must see that this is not the end
}

// watched remembers up to when footage was recorded as watched by whom, and from
// where it was asked for last. Safe for many callers.
type watched struct {
	mu   sync.Mutex
	last map[string]watchedPart // guarded by mu
}

type watchedPart struct{ asked, to, at time.Time }

const goesOnFor = time.Hour // a picture that stands for longer is a new look

// goesOn tells up to when the footage from an instant on is recorded as watched, if
// somebody goes on with it.
func (w *watched) goesOn(who string, from, now time.Time) (to time.Time, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.last[who]
	age := now.Sub(p.at)
	if !from.After(p.asked) || !from.Before(p.to) || age < 0 || age > goesOnFor {
		return to, false
	}
	p.asked = from
	w.last[who] = p
	return p.to, true
}

// add remembers in whole milliseconds, in which one asks: what goes on does so
// later than what was asked for.
func (w *watched) add(who string, asked, to, now time.Time) {
	to = to.Truncate(time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.last) >= maxLooks || w.last == nil {
		w.last = map[string]watchedPart{} // some are recorded again
	}
	w.last[who] = watchedPart{asked, to, now}
}

// mediaType is the type of a stream with these tracks (RFC 6381). A coding that
// has no registered name gets one that no browser claims, so that the page can say
// plainly what it cannot play.
func mediaType(tracks []media.Track) string {
	var names []string
	for _, t := range tracks {
		if t.Codecs != "" {
			names = append(names, t.Codecs)
		} else {
			names = append(names, strings.ToLower(t.Codec.String()))
		}
	}
	return `video/mp4; codecs="` + strings.Join(names, ", ") + `"`
}
