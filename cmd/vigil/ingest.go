package main

import (
	"context"
	"errors"
	"time"

	"vigil/internal/camera"
	"vigil/internal/camera/rtsp"
	"vigil/internal/media"
	"vigil/internal/worker/ingest"
	"vigil/internal/worker/wire"
)

// readEvery is how often a worker reads its cameras, twice a batch: no batch is later for it,
// and it wakes up once for all of them. Who sends much is read before.
const readEvery = 125 * time.Millisecond

// source is package camera as a worker wants it.
type source struct{}

func (source) Run(ctx context.Context, spec wire.Spec, sink ingest.Sink) {
	o, err := options(spec)
	if err != nil {
		sink.Status(wire.Status{State: wire.Waiting, Why: noteOf(err)})
		<-ctx.Done() // the same address would fail again
		return
	}
	o.Pace = readEvery
	_ = new(camera.Session).Run(ctx, o, cameraSink{sink}) // it ends with ctx only
}

func (source) Probe(ctx context.Context, spec wire.Spec) (p wire.Probed) {
	o, err := options(spec)
	if err != nil {
		n := noteOf(err)
		p.Fault = &n
		return p
	}
	found, err := camera.Probe(ctx, o)
	p.Tracks, p.Link, p.Certificate = found.Tracks, wire.Link(found.Link), certificate(found.Certificate)
	p.FPS, p.BitRate = min(found.FPS, 1000), min(int64(found.BitRate), 1e11) // a camera's stamps may say anything
	if len(found.Picture) <= wire.MaxProbePicture {
		p.Picture = found.Picture
	}
	for _, n := range found.Notes {
		p.Notes = append(p.Notes, wire.Note(n))
	}
	if err != nil {
		n := noteOf(err)
		p.Fault = &n
		var e *rtsp.Error
		if errors.As(err, &e) && p.Certificate == nil {
			p.Certificate = certificate(e.Certificate)
		}
	}
	return p
}

func options(s wire.Spec) (o rtsp.Options, err error) {
	u, err := rtsp.ParseURL(s.URL)
	if err != nil {
		return o, &rtsp.Error{Code: rtsp.BadOptions, Args: map[string]string{"what": "url"}, Err: err}
	}
	return rtsp.Options{
		URL: u, User: s.User, Password: rtsp.NewPassword(s.Password.Reveal()), Transport: rtsp.Transport(s.Transport),
		Link: rtsp.Link(s.Link), Pin: s.Pin, CA: s.CA, Audio: s.Audio, LegacyMD5: s.LegacyMD5, Basic: s.Basic,
	}, nil
}

// noteOf is an error of a camera in the form that pages can say.
func noteOf(err error) wire.Note {
	var e *rtsp.Error
	if errors.As(err, &e) {
		return wire.Note{Code: e.Code, Args: e.Args}.Clean()
	}
	return wire.Note{Code: rtsp.Lost}
}

func certificate(c *rtsp.Certificate) *wire.Certificate {
	if c == nil {
		return nil
	}
	w := &wire.Certificate{
		SHA256: c.SHA256, Subject: wire.Clean(c.Subject, 256), Issuer: wire.Clean(c.Issuer, 256),
		NotBefore: c.NotBefore.Unix(), NotAfter: c.NotAfter.Unix(),
	}
	for _, n := range c.Names {
		w.Names = append(w.Names, wire.Clean(n, 256))
	}
	return w
}

// cameraSink passes on what a session makes of a camera.
type cameraSink struct{ ingest.Sink }

var states = map[camera.State]wire.State{
	camera.Connecting: wire.Connecting, camera.Playing: wire.Live, camera.Stalled: wire.Waiting, camera.Failed: wire.Waiting,
}

func (s cameraSink) Status(st camera.Status) {
	w := wire.Status{State: states[st.State], Why: wire.Note{Code: st.Code, Args: st.Args}}
	for _, n := range st.Notes {
		w.Notes = append(w.Notes, wire.Note(n))
	}
	s.Sink.Status(w)
}

func (s cameraSink) Tracks(list []media.Track) { s.Sink.Tracks(list) }
