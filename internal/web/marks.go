package web

import (
	"net/http"
	"strconv"
	"time"

	"vigil/internal/access"
	"vigil/internal/audit"
	"vigil/internal/mark"
	"vigil/internal/media"
	"vigil/internal/text"
)

// What is done to marks, for the audit log.
const (
	markPut     audit.Action = "mark.put"
	markRemove  audit.Action = "mark.remove"
	markRestore audit.Action = "mark.restore"
)

// listMarks lists the marks of cameras that the caller may watch.
func (c *call) listMarks() error {
	var m text.Mistakes
	from, _ := c.instant(&m, "from", false)
	to, bounded := c.instant(&m, "to", false)
	if err := m.Err(); err != nil {
		return err
	}
	list := []mark.Mark{}
	for _, x := range c.Marks.List() {
		if x.At >= ms(from) && (!bounded || x.At < ms(to)) && c.mayWatch(x) {
			list = append(list, x)
		}
	}
	return c.answer(http.StatusOK, map[string]any{"marks": list, "max": mark.Max})
}

// mayWatch tells whether the caller may watch all cameras of a mark: its text can
// be about any of them.
func (c *call) mayWatch(m mark.Mark) bool {
	for _, id := range m.Cameras {
		if c.Settings.Get().Camera(id) == nil || !c.may(access.Playback, id) {
			return false
		}
	}
	return true
}

// putMark puts one on a camera of the path, and on others with it.
func (c *call) putMark() error {
	in := struct {
		At   int64            `json:"at"`
		Text string           `json:"text"`
		With []media.CameraID `json:"with"`
	}{At: -1}
	if err := c.body(&in); err != nil {
		return err
	}
	if in.At < 0 || in.At > maxInstant {
		return mistake("/at", "instant")
	}
	m := mark.Mark{Cameras: append([]media.CameraID{c.camera.ID}, in.With...), At: in.At, Text: in.Text, By: c.who().Name}
	if !c.mayWatch(m) {
		return access.ErrDenied
	}
	m, err := c.Marks.Put(m)
	if err != nil {
		return err
	}
	if err := c.marked(markPut, m); err != nil {
		return err
	}
	return c.answer(http.StatusCreated, m)
}

func (c *call) removeMark() error {
	if err := c.ofMark(false); err != nil {
		return err
	}
	if err := c.Marks.Remove(c.mark.ID); err != nil {
		return err
	}
	if err := c.marked(markRemove, c.mark); err != nil {
		return err
	}
	return c.nothing()
}

func (c *call) restoreMark() error {
	if err := c.ofMark(true); err != nil {
		return err
	}
	m, err := c.Marks.Restore(c.mark.ID)
	if err != nil {
		return err
	}
	if err := c.marked(markRestore, m); err != nil {
		return err
	}
	return c.answer(http.StatusOK, m)
}

// ofMark checks the mark of the path for the cameras that its right does not name, and whose it is: a note
// is for who wrote it, or who administers the recorder, to take away and bring back.
//
//vigil:clause 5.4.3.1
func (c *call) ofMark(removed bool) error {
	if !c.mayWatch(c.mark) {
		return access.ErrDenied
	}
	if err := access.Allow(c.subject, access.Right{Action: access.Playback, Camera: c.camera.ID, Of: c.mark.By}); err != nil {
		_ = c.record("access", c.r.Method+" "+c.r.URL.Path, audit.Denied, "of "+c.mark.By, nil)
		return say(http.StatusForbidden, "mark-of-another", "by", c.mark.By)
	}
	if c.markRemoved != removed {
		return notFound()
	}
	return nil
}

// marked records what was done and tells the open pages.
func (c *call) marked(a audit.Action, m mark.Mark) error {
	c.Hub.Tell(News{Kind: MarksNews})
	return c.record(a, m.ID, audit.OK, "", map[string]string{
		"at": time.UnixMilli(m.At).UTC().Format(time.RFC3339Nano), "text": m.Text, "by": m.By, "cameras": strconv.Itoa(len(m.Cameras)),
	})
}
