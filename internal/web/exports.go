package web

import (
	"encoding/hex"
	"mime"
	"net/http"
	"time"

	"vigil/internal/access"
	"vigil/internal/audit"
	"vigil/internal/media"
)

type exportBody struct {
	ID         string         `json:"id"`
	Camera     media.CameraID `json:"camera"`
	CameraName string         `json:"cameraName"`
	Stream     media.StreamID `json:"stream"`
	From       int64          `json:"from"`
	To         int64          `json:"to"`
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
		ID: e.ID, Camera: e.Camera, Stream: e.Stream, From: ms(e.From), To: ms(e.To), State: e.State, Progress: min(max(e.Progress, 0), 1),
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
		Stream   string
		From, To *int64
		Audio    *bool
	}
	if err := c.body(&in); err != nil {
		return err
	}
	s, err := c.streamOf(in.Stream, "/stream")
	if err != nil {
		return err
	}
	switch {
	case in.From == nil || *in.From < 0 || *in.From > maxInstant:
		return mistake("/from", "required")
	case in.To == nil || *in.To < 0 || *in.To > maxInstant:
		return mistake("/to", "required")
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
	if c.export.State != ExportDone {
		return say(http.StatusConflict, "export-not-ready")
	}
	f, err := c.Exports.Open(c.export.ID)
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
	w, err := c.watch()
	if err != nil {
		return err
	}
	defer w.close()
	h := c.w.Header()
	h.Set("Content-Type", "video/mp4")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": c.export.FileName}))
	h.Set("Cache-Control", "private, no-store")
	h.Set("ETag", `"`+hex.EncodeToString(c.export.SHA256)+`"`)
	http.ServeContent(paced{w}, c.r, "", c.export.Created, f)
	return nil
}

// A paced writer moves the deadline on with each piece, so that a long
// download lasts and a stuck one ends.
type paced struct{ *watch }

// Header is the answer's.
func (p paced) Header() http.Header { return p.w.Header() }

// WriteHeader is the answer's.
func (p paced) WriteHeader(status int) { p.w.WriteHeader(status) }

// Write sends a piece, as long as it is allowed.
func (p paced) Write(b []byte) (int, error) {
	if err := p.send(b); err != nil {
		return 0, err
	}
	return len(b), nil
}
