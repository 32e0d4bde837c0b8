package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"vigil/internal/media"
	"vigil/internal/text"
)

// A Recoding is an encoder: what is written comes out anew. Close may be
// called at any time.
type Recoding interface {
	io.ReadWriteCloser
	// End says that nothing more is written.
	End() error
}

// An outlet is where the fragments of an answer go: to the caller, without the sound that
// browsers do not play, or through an encoder that makes all of it what they play. It is closed by who has it.
type outlet struct {
	w        *watch
	cut      *cut
	tracks   []media.Track // as the caller gets them
	recoding Recoding      // nil: as they are
	sent     chan error    // what came of sending what the encoder made
	stop     func() bool
}

// recode reads whether the caller wants codings that every browser plays.
func (c *call) recode() (bool, error) {
	var m text.Mistakes
	switch c.r.URL.Query().Get("recode") {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	m.Add("?recode", "one-of", "choices", "true, false")
	return false, m.Err()
}

// outlet makes one for tracks; recode asks for an encoder, if one is needed.
func (w *watch) outlet(tracks []media.Track, init []byte, recode bool) (*outlet, error) {
	o := &outlet{w: w, tracks: tracks, stop: func() bool { return true }}
	if recode {
		r, now, err := w.Pictures.Recode(tracks)
		if err != nil {
			return nil, w.noRecode(err)
		}
		if r != nil {
			o.recoding, o.tracks = r, now
			o.cut = &cut{init: init}
			return o, nil
		}
	}
	var err error
	if o.cut, err = newCut(tracks, init); err != nil {
		return nil, err
	}
	o.tracks = o.cut.tracks
	return o, nil
}

func (c *call) noRecode(err error) error {
	switch {
	case errors.Is(err, ErrNoDecoder):
		return say(http.StatusServiceUnavailable, "no-picture-decoder")
	case errors.Is(err, ErrTooMany):
		p := say(http.StatusServiceUnavailable, "too-many-recodes")
		p.retry = 5
		return p
	}
	return err
}

// begin writes the head of the answer and what comes before the first fragment.
func (o *outlet) begin() error {
	h := o.w.w.Header()
	h.Set("Content-Type", mediaType(o.tracks))
	h.Set("Cache-Control", "no-store")
	if o.cut.muted != "" {
		h.Set("Vigil-Muted", o.cut.muted)
	}
	h.Set("Vigil-Recoded", strconv.FormatBool(o.recoding != nil))
	o.w.w.WriteHeader(http.StatusOK)
	if o.recoding == nil {
		return o.w.send(o.cut.init)
	}
	o.sent = make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(pieces{o.w}, onlyReader{o.recoding}, make([]byte, 64<<10))
		if err != nil {
			_ = o.recoding.Close() // whoever writes to it waits no longer
		}
		o.sent <- err
	}()
	o.stop = context.AfterFunc(o.w.ctx, func() { _ = o.recoding.Close() })
	_, err := o.recoding.Write(o.cut.init)
	return err
}

// fragment sends one.
func (o *outlet) fragment(b []byte) error {
	if o.recoding == nil {
		return o.cut.fragment(b, o.w.send)
	}
	_, err := o.recoding.Write(b)
	return err
}

// end waits until all is sent.
func (o *outlet) end() error {
	if o.recoding == nil || o.sent == nil {
		return nil
	}
	if err := o.recoding.End(); err != nil {
		return err
	}
	err := <-o.sent
	o.sent = nil
	return err
}

// close ends it at once, and waits until nobody writes to the answer any more.
func (o *outlet) close() {
	if o.recoding == nil {
		return
	}
	o.stop()
	_ = o.recoding.Close()
	if o.sent != nil {
		<-o.sent
	}
}

// pieces is a watch as a writer.
type pieces struct{ w *watch }

func (s pieces) Write(b []byte) (int, error) {
	if err := s.w.send(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

type onlyReader struct{ io.Reader } // CopyBuffer uses its buffer
