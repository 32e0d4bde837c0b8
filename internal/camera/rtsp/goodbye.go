package rtsp

import (
	"errors"
	"strings"
	"time"
)

// goodbye frees the camera's session: many have a handful, and keep one that
// nobody ended for minutes.
func (s *session) goodbye(why error) {
	if s.c != nil {
		s.c.unhook()
		var e *Error
		gone := errors.As(why, &e) && (e.Code == Lost || e.Code == Gone)
		if s.c.begun && !gone {
			s.teardown()
		}
	}
	for _, t := range s.tracks {
		if t.sockets != nil {
			t.sockets.close()
		}
	}
	s.readers.Wait()
	for _, t := range s.tracks {
		units := t.depay.Flush()
		for i := range units {
			if !units[i].NoPicture {
				s.h.Unit(t.place, &units[i])
			}
		}
	}
	if s.c != nil {
		s.c.close()
	}
}

// teardown waits for the reply for a moment: closing with data unread resets
// the connection, and the camera may never read what we said.
func (s *session) teardown() {
	url := s.playURL
	if url == "" {
		url = strings.TrimSuffix(s.bases[0], "/")
	}
	s.c.frame = func(item) {}
	s.c.patience = goodbyeTimeout
	n, err := s.c.send("TEARDOWN", url)
	if err != nil {
		return
	}
	until := time.Now().Add(goodbyeTimeout)
	s.c.nc.SetReadDeadline(until) // closing anyway
	for time.Now().Before(until) {
		it, err := s.c.sc.next()
		if err != nil || it.msg != nil && it.msg.method == "" && s.c.settles(it.msg, n) {
			return
		}
	}
}
