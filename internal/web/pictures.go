package web

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"vigil/internal/audit"
	"vigil/internal/media"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

// Bounds of pictures.
const (
	minWidth       = 16
	maxWidth       = 7680
	maxPictures    = 24 // being made at a time
	picturesPerWho = 8
	lookAgain      = time.Minute // looks of one person at one stream within this are one record
)

// width reads how wide a picture may be; 0: as it is.
func (c *call) width() (int, error) {
	v := c.r.URL.Query().Get("width")
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < minWidth || n > maxWidth {
		return 0, mistake("?width", "out-of-range", "min", strconv.Itoa(minWidth), "max", strconv.Itoa(maxWidth))
	}
	return n, nil
}

// picture takes a place for making one.
func (c *call) picture() (release func(), err error) {
	release, ok := c.slots.both("picture", c.holder(), c.person(), maxPictures, picturesPerWho)
	if !ok {
		p := say(http.StatusServiceUnavailable, "too-many-pictures", "max", strconv.Itoa(picturesPerWho))
		p.retry = 1
		return nil, p
	}
	return release, nil
}

// getPicture sends the stored picture of an instant, or the newest.
//
//vigil:clause 5.5.1.1
func (c *call) getPicture() error {
	var m text.Mistakes
	at, _ := c.instant(&m, "at", false)
	if err := m.Err(); err != nil {
		return err
	}
	width, err := c.width()
	if err != nil {
		return err
	}
	release, err := c.picture()
	if err != nil {
		return err
	}
	defer release()
	p, err := c.Pictures.Find(c.r.Context(), c.stream.ID, at)
	if err != nil {
		return err
	}
	if p == nil {
		return c.nothing()
	}
	if err := c.looked(audit.ViewPlay, p.At); err != nil {
		return err
	}
	tag := fmt.Sprintf(`"%s-%d"`, p.ID, width)
	h := c.w.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "no-store") // a picture of somebody does not stay on the disk of a browser
	h.Set("Vigil-At", strconv.FormatInt(ms(p.At), 10))
	if c.r.Header.Get("If-None-Match") == tag {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	b, err := p.JPEG(c.r.Context(), width)
	if err != nil {
		return err
	}
	return c.sendPicture(b)
}

// getSnapshot sends the newest picture of a camera that can be decoded by
// itself.
//
//vigil:clause 5.5.1.1
func (c *call) getSnapshot() error {
	width, err := c.width()
	if err != nil {
		return err
	}
	release, err := c.picture()
	if err != nil {
		return err
	}
	defer release()
	track, unit, at, err := c.newest()
	if err != nil {
		return err
	}
	if err := c.looked(audit.ViewLive, at); err != nil {
		return err
	}
	b, err := c.Pictures.JPEG(c.r.Context(), c.stream.ID, track, unit, width)
	if err != nil {
		return err
	}
	c.w.Header().Set("Vigil-At", strconv.FormatInt(ms(at), 10))
	return c.sendPicture(b)
}

// newest waits for a live picture, as long as one may take that was not
// watched before.
func (c *call) newest() (track media.Track, unit []byte, at time.Time, err error) {
	if c.camera.Gone() {
		return track, nil, at, notFound()
	}
	r, leave, err := c.Cameras.Watch(c.stream.ID)
	if err != nil {
		return track, nil, at, c.notLive()
	}
	defer leave()
	ctx, cancel := context.WithTimeout(c.r.Context(), liveWait)
	defer cancel()
	for {
		it, err := r.Next(ctx)
		if err != nil {
			return track, nil, at, c.notLive()
		}
		if it.Batch == nil {
			if c.Cameras.State(c.stream.ID).State == wire.Waiting {
				return track, nil, at, c.notLive()
			}
			continue // it was down before; it may come
		}
		for _, u := range it.Batch.Units {
			if u.Track == 1 && u.RandomAccess {
				track, unit, at = it.Batch.Tracks.List[0], bytes.Clone(u.Data), u.DTS.Time()
			}
		}
		it.Batch.Release()
		if unit != nil {
			return track, unit, at, nil
		}
	}
}

func (c *call) sendPicture(b []byte) error {
	h := c.w.Header()
	h.Set("Content-Type", "image/jpeg")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(b)
	return nil
}

// looks remembers who looked at what a moment ago: who moves over a timeline
// looks at hundreds of pictures, and one record says so. Safe for many callers.
type looks struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu
}

const maxLooks = 10_000

// first tells whether it is the first look within a minute.
func (l *looks) first(what string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t, ok := l.last[what]; ok && now.Sub(t) < lookAgain && !now.Before(t) {
		return false
	}
	if len(l.last) >= maxLooks || l.last == nil {
		l.last = map[string]time.Time{} // some are told again
	}
	l.last[what] = now
	return true
}

// looked records that somebody saw pictures of a stream.
func (c *call) looked(a audit.Action, at time.Time) error {
	if !c.looks.first(c.holder()+" "+string(a)+" "+c.stream.ID.String(), time.Now()) {
		return nil
	}
	return c.note(a, c.camera.Name, map[string]string{"stream": c.stream.ID.String(), "picture": at.UTC().Format(time.RFC3339Nano)})
}
