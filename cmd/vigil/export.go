package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/text"
)

type exportCmd struct {
	Camera string    `arg:"" help:"Name or id of the camera."`
	From   time.Time `required:"" help:"Start, RFC 3339: 2026-11-24T14:00:00+08:00." format:"2006-01-02T15:04:05Z07:00"`
	To     time.Time `required:"" help:"End, RFC 3339." format:"2006-01-02T15:04:05Z07:00"`
	Out    string    `short:"o" required:"" help:"MP4 file to write; an existing one is not touched." type:"path"`
	Second bool      `help:"The second stream."`
}

type exported struct {
	ID       string      `json:"id"`
	State    string      `json:"state"`
	Progress float64     `json:"progress"`
	Size     int64       `json:"size"`
	SHA256   string      `json:"sha256,omitempty"`
	Why      *note       `json:"why,omitempty"`
	Gaps     []exportGap `json:"gaps"`
}

type exportGap struct {
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	Cause string `json:"cause"`
}

func (e exportCmd) Run(ctx context.Context, c *cli) (err error) {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	cam, err := cl.camera(ctx, e.Camera)
	if err != nil {
		return err
	}
	in := map[string]any{"from": e.From.UnixMilli(), "to": e.To.UnixMilli()}
	if e.Second {
		if len(cam.Streams) < 2 {
			return text.Fail(nil, "cli.no-second", "name", cam.Name)
		}
		in["stream"] = cam.Streams[1].ID
	}
	f, err := os.OpenFile(e.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return text.Fail(nil, "cli.file-there", "file", e.Out)
	}
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			os.Remove(e.Out)
		}
	}()
	x := exported{Gaps: []exportGap{}}
	if err := cl.call(ctx, "POST", "/cameras/"+url.PathEscape(cam.ID)+"/exports", nil, in, &x); err != nil {
		return err
	}
	path := "/exports/" + url.PathEscape(x.ID)
	defer func() { _ = cl.call(context.WithoutCancel(ctx), http.MethodDelete, path, nil, nil, nil) }() // the file is here now, or was not wanted
	for x.State == "waiting" {
		if err := e.look(ctx, c, cl, path, &x); err != nil {
			return err
		}
	}
	var n int64
	if x.State == "running" || x.State == "done" { // the file comes while it is made
		resp, err := cl.send(ctx, "GET", path+"/file", nil, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		copied := make(chan error, 1)
		go func() {
			var err error
			n, err = io.CopyBuffer(&steady{f: f}, resp.Body, make([]byte, 1<<20))
			copied <- err
		}()
		for x.State == "running" && err == nil {
			err = e.look(ctx, c, cl, path, &x)
		}
		if err != nil {
			resp.Body.Close()
			<-copied
			return err
		}
		if err := <-copied; err != nil && x.State == "done" {
			return fmt.Errorf("export to %s: %w", e.Out, err)
		}
	}
	if !c.JSON {
		fmt.Fprintln(os.Stderr)
	}
	if x.State != "done" {
		if x.Why != nil {
			return errors.New(x.Why.Text)
		}
		return text.Fail(nil, "cli.export-ended", "state", x.State)
	}
	if n != x.Size {
		return text.Fail(nil, "cli.export-short", "file", e.Out, "got", fmt.Sprint(n), "want", fmt.Sprint(x.Size))
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("export to %s: %w", e.Out, err)
	}
	if c.JSON {
		return c.printJSON(x)
	}
	fmt.Fprintln(c.Out, c.say("cli.exported", "file", e.Out, "bytes", fmt.Sprint(n)))
	for _, g := range x.Gaps {
		fmt.Fprintln(c.Out, c.say("cli.gap", "from", stamp(g.From), "to", stamp(g.To), "cause", g.Cause))
	}
	return nil
}

// look waits a little, asks how far the export is, and tells.
func (e exportCmd) look(ctx context.Context, c *cli, cl *client, path string, x *exported) error {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := cl.call(ctx, "GET", path, nil, nil, x); err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(os.Stderr, "\r%3.0f %%", 100*x.Progress)
	}
	return nil
}

// A steady writer sends to the disk what it was given while more comes, so that the
// sync in the end has little left to wait for.
type steady struct {
	f        *os.File
	at, sent int64
}

const steadyStep = 16 << 20

func (s *steady) Write(b []byte) (int, error) {
	n, err := s.f.Write(b)
	if s.at += int64(n); s.at-s.sent >= steadyStep {
		_ = unix.SyncFileRange(int(s.f.Fd()), s.sent, s.at-s.sent, unix.SYNC_FILE_RANGE_WRITE) // a hint: not every file system takes it
		s.sent = s.at
	}
	return n, err
}

// stamp prints an instant as the log does.
func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
