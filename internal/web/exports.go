package web

import (
	"encoding/hex"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"vigil/internal/access"
	"vigil/internal/audit"
	"vigil/internal/media"
	"vigil/internal/text"
)

type exportBody struct {
	ID         string         `json:"id"`
	Camera     media.CameraID `json:"camera"`
	CameraName string         `json:"cameraName"`
	Stream     media.StreamID `json:"stream"`
	From       int64          `json:"from"`
	To         int64          `json:"to"`
	Part       int            `json:"part"`
	Until      *int64         `json:"until,omitempty"`
	Next       string         `json:"next,omitempty"`
	State      ExportState    `json:"state"`
	Progress   float64        `json:"progress"`
	Size       int64          `json:"size,omitempty"`
	FileName   string         `json:"fileName,omitempty"`
	SHA256     string         `json:"sha256,omitempty"`
	Gaps       []gapBody      `json:"gaps,omitempty"`
	Why        *noteBody      `json:"why,omitempty"`
	By         string         `json:"by"`
	Created    int64          `json:"created"`
	Expires    *int64         `json:"expires,omitempty"`
}

func (c *call) exportBody(e Export) exportBody {
	b := exportBody{
		ID: e.ID, Camera: e.Camera, Stream: e.Stream, From: ms(e.From), To: ms(e.To), Part: e.Part, Until: some(e.Until), Next: e.Next, State: e.State, Progress: min(max(e.Progress, 0), 1),
		Size: e.Size, FileName: e.FileName, SHA256: hex.EncodeToString(e.SHA256), By: e.By, Created: ms(e.Created), Expires: some(e.Expires),
		Why: note(c.lang, "export", e.Why.Code, e.Why.Args),
	}
	if len(e.Gaps) > 0 {
		b.Gaps = gapsBody(e.Gaps)
	}
	if cam := c.Settings.Get().Camera(e.Camera); cam != nil {
		b.CameraName = cam.Name
	}
	return b
}

// maxExport bounds one file.
const maxExport = 24 * time.Hour

func (c *call) startExport() error {
	var in struct {
		Stream string `json:"stream"`
		From   *int64 `json:"from"`
		To     *int64 `json:"to"`
		Audio  *bool  `json:"audio"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	s, err := c.streamOf(in.Stream, "/stream")
	if err != nil {
		return err
	}
	var m text.Mistakes
	for _, x := range []struct {
		field string
		value *int64
	}{{"/from", in.From}, {"/to", in.To}} {
		if x.value == nil {
			m.Add(x.field, "required")
		} else if *x.value < 0 || *x.value > maxInstant {
			m.Add(x.field, "instant")
		}
	}
	switch {
	case len(m) > 0:
		return invalid(m)
	case *in.To <= *in.From:
		return mistake("/to", "range")
	case *in.To-*in.From > maxExport.Milliseconds():
		return say(http.StatusUnprocessableEntity, "range-too-long", "days", "1")
	}
	o := Order{Camera: c.camera.ID, Stream: s.ID, From: time.UnixMilli(*in.From), To: time.UnixMilli(*in.To), Audio: in.Audio == nil || *in.Audio}
	detail := map[string]string{"stream": s.ID.String(), "from": o.From.UTC().Format(time.RFC3339Nano), "to": o.To.UTC().Format(time.RFC3339Nano)}
	if err := c.record(audit.Export, c.camera.Name, audit.OK, "", detail); err != nil {
		return err
	}
	e, err := c.Exports.Start(c.r.Context(), c.who(), o)
	if err != nil {
		_ = c.record(audit.Export, c.camera.Name, audit.Failed, c.problemOf(err).code, detail)
		return err
	}
	return c.answer(http.StatusAccepted, c.exportBody(e))
}

func (c *call) listExports() error {
	list := []exportBody{}
	for _, e := range c.Exports.List() {
		if c.may(access.Export, e.Camera) {
			list = append(list, c.exportBody(e))
		}
	}
	return c.answer(http.StatusOK, map[string]any{"exports": list})
}

func (c *call) getExport() error { return c.answer(http.StatusOK, c.exportBody(c.export)) }

func (c *call) removeExport() error {
	if err := c.record("export.remove", c.export.ID, audit.OK, "", nil); err != nil {
		return err
	}
	if err := c.Exports.Remove(c.who(), c.export.ID); err != nil {
		return err
	}
	return c.nothing()
}

// downloadExport gives the file out; every whole or first part is a record.
//
//vigil:clause 5.5.1.1
func (c *call) downloadExport() error {
	growing := c.export.State == ExportRunning
	if c.export.Why.Code == "export.changed" {
		return ErrChanged
	}
	if c.export.State != ExportDone && !growing {
		return say(http.StatusConflict, "export-not-ready")
	}
	w, err := c.watch()
	if err != nil {
		return err
	}
	defer w.close()
	f, err := c.Exports.Open(w.ctx, c.export.ID)
	if err != nil {
		return err
	}
	defer f.Close()
	if c.r.Method == http.MethodGet {
		detail := map[string]string{"range": c.r.Header.Get("Range")}
		if err := c.record("export.download", c.export.ID, audit.OK, "", detail); err != nil {
			return err
		}
	}
	h := c.w.Header()
	h.Set("Content-Type", "video/mp4")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": c.export.FileName}))
	h.Set("Cache-Control", "private, no-store")
	p := &paced{watch: w}
	if growing { // its size is not known yet, so there are no parts of it
		if c.r.Method == http.MethodGet {
			c.follow(p, f)
		}
		return nil
	}
	h.Set("ETag", `"`+hex.EncodeToString(c.export.SHA256)+`"`)
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} { // nothing of it is kept anywhere; If-Range goes with Range
		c.r.Header.Del(name)
	}
	if v := c.r.Header["Range"]; len(v) != 1 || strings.Contains(v[0], ",") { // many small parts cost us more than the caller: they get the whole
		c.r.Header.Del("Range")
	}
	parts := &broken{File: f}
	http.ServeContent(p, c.r, "", c.export.Created, parts)
	c.whole(p, parts.err)
	if p.outside {
		h.Del("Content-Disposition")
		return say(http.StatusRequestedRangeNotSatisfiable, "range-outside", "size", strconv.FormatInt(c.export.Size, 10))
	}
	return nil
}

// follow gives out a file while it is being made.
func (c *call) follow(p *paced, f File) {
	_, err := io.CopyBuffer(p, f, make([]byte, 256<<10))
	c.whole(p, err)
}

// whole breaks the answer off after an error: the caller must see that this is not the end, also one who does not
// count, and HTTP/2 would end well.
func (c *call) whole(p *paced, err error) {
	if err == nil {
		return
	}
	if p.ctx.Err() == nil {
		c.Log.Warn("the export broke off", "export", c.export.ID, "err", err)
	}
	panic(http.ErrAbortHandler)
}

// A broken file remembers why it could not be read on: http.ServeContent does not say.
type broken struct {
	File
	err error
}

// Read reads on.
func (b *broken) Read(to []byte) (int, error) {
	n, err := b.File.Read(to)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// A paced writer moves the deadline on with each piece, so that a long
// download lasts and a stuck one ends. What it is to say of a range outside the file
// it leaves to the caller.
type paced struct {
	*watch
	outside bool
}

// Header is the answer's.
func (p *paced) Header() http.Header { return p.w.Header() }

// WriteHeader is the answer's.
func (p *paced) WriteHeader(status int) {
	if p.outside = status == http.StatusRequestedRangeNotSatisfiable; !p.outside {
		p.w.WriteHeader(status)
	}
}

// Write sends a piece, as long as it is allowed.
func (p *paced) Write(b []byte) (int, error) {
	if p.outside {
		return len(b), nil
	}
	if err := p.send(b); err != nil {
		return 0, err
	}
	return len(b), nil
}
