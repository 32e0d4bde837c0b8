package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
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

// An exported is one file of an export: one coding, so a range may take several.
type exported struct {
	File     string      `json:"file"`
	ID       string      `json:"id"`
	From     int64       `json:"from"`
	To       int64       `json:"to"`
	Until    int64       `json:"until"`
	Part     int         `json:"part"`
	State    string      `json:"state"`
	Progress float64     `json:"progress"`
	Size     int64       `json:"size"`
	SHA256   string      `json:"sha256,omitempty"`
	Why      *note       `json:"why,omitempty"`
	Gaps     []exportGap `json:"gaps"`
	Next     string      `json:"next,omitempty"`
}

type exportGap struct {
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	Cause string `json:"cause"`
}

// maxParts bounds the files of one call: a camera that changes its coding all
// the time would make thousands.
const maxParts = 100

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
	var made []exported
	defer func() {
		if err != nil && len(made) < maxParts {
			for _, x := range made {
				os.Remove(x.File)
			}
		}
	}()
	x := exported{Gaps: []exportGap{}}
	f, err := e.create(1)
	if err != nil {
		return err
	}
	if err := cl.call(ctx, "POST", "/cameras/"+url.PathEscape(cam.ID)+"/exports", nil, in, &x); err != nil {
		f.Close()
		os.Remove(f.Name())
		return err
	}
	for {
		if x.File = f.Name(); !c.JSON && x.Part > 1 {
			fmt.Fprintln(os.Stderr, c.say("cli.export-part", "n", fmt.Sprint(x.Part), "from", stamp(x.From)))
		}
		err := e.fetch(ctx, c, cl, f, &x)
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			os.Remove(f.Name())
			return err
		}
		made = append(made, x)
		if x.Next == "" {
			break
		}
		next := exported{ID: x.Next, From: x.Until, Part: x.Part + 1, State: "waiting", Gaps: []exportGap{}}
		if len(made) == maxParts {
			cl.forget(ctx, next.ID)
			return text.Fail(nil, "cli.export-parts", "n", fmt.Sprint(maxParts), "until", stamp(x.Until))
		}
		if f, err = e.create(next.Part); err != nil {
			cl.forget(ctx, next.ID)
			return err
		}
		x = next
	}
	if c.JSON {
		return c.printJSON(map[string]any{"files": made})
	}
	for _, x := range made {
		fmt.Fprintln(c.Out, c.say("cli.exported", "file", x.File, "bytes", fmt.Sprint(x.Size)))
		for _, g := range x.Gaps {
			fmt.Fprintln(c.Out, c.say("cli.gap", "from", stamp(g.From), "to", stamp(g.To), "cause", g.Cause))
		}
	}
	return nil
}

// create makes the file of a part: OUT.mp4, OUT-2.mp4, ...
func (e exportCmd) create(part int) (*os.File, error) {
	name := e.Out
	if part > 1 {
		ext := filepath.Ext(name)
		name = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, ext), part, ext)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, text.Fail(nil, "cli.file-there", "file", name)
	}
	return f, err
}

// forget takes an export from the recorder's list; one that runs is cancelled.
func (c *client) forget(ctx context.Context, id string) {
	_ = c.call(context.WithoutCancel(ctx), http.MethodDelete, "/exports/"+url.PathEscape(id), nil, nil, nil) // the file is here, or is not wanted: the list forgets it in a day
}

// fetch writes the file of an export while it is made, and waits for its end.
func (e exportCmd) fetch(ctx context.Context, c *cli, cl *client, f *os.File, x *exported) (err error) {
	defer func() {
		cl.forget(ctx, x.ID)
		if err != nil && x.Next != "" {
			cl.forget(ctx, x.Next)
		}
	}()
	path := "/exports/" + url.PathEscape(x.ID)
	told := false
	for wait := time.Millisecond; x.State == "waiting"; wait = min(2*wait, lookEvery) { // who is there when it begins is given what is made, and the record is read once
		if err := e.look(ctx, c, cl, path, wait, x); err != nil {
			return err
		}
		if x.Why != nil && !told && !c.JSON {
			told = true
			fmt.Fprintf(os.Stderr, "\r%s\n", x.Why.Text)
		}
	}
	var n int64
	if x.State == "running" || x.State == "done" { // the file comes while it is made
		resp, err := cl.send(ctx, "GET", path+"/file", nil, nil)
		if err != nil {
			if e.look(ctx, c, cl, path, 0, x) == nil && x.Why != nil { // it ended before there was anything
				err = errors.New(x.Why.Text)
			}
			return err
		}
		defer resp.Body.Close()
		looking, stop := context.WithCancelCause(ctx) // nobody waits for the end of what there is no room for
		defer stop(nil)
		copied := make(chan error, 1)
		go func(body io.Reader) {
			var err error
			n, err = copyBeside(&steady{f: f, stop: stop}, body)
			copied <- err
		}(resp.Body)
		for first := true; (x.State == "running" || first) && err == nil; first = false { // what is done says more than what was waiting
			err = e.look(looking, c, cl, path, lookEvery, x)
		}
		if err != nil {
			resp.Body.Close()
			<-copied
			return cmp.Or(context.Cause(looking), err)
		}
		if err := <-copied; err != nil && x.State == "done" {
			return fmt.Errorf("export to %s: %w", f.Name(), err)
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
		return text.Fail(nil, "cli.export-short", "file", f.Name(), "got", fmt.Sprint(n), "want", fmt.Sprint(x.Size))
	}
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("export to %s: %w", f.Name(), err)
	}
	return nil
}

// lookEvery is how often the progress is shown.
const lookEvery = 100 * time.Millisecond

// look waits a little, asks how far the export is, and tells.
func (e exportCmd) look(ctx context.Context, c *cli, cl *client, path string, wait time.Duration, x *exported) error {
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return ctx.Err()
	}
	x.Why = nil // what is left out stays
	if err := cl.call(ctx, "GET", path, nil, nil, x); err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(os.Stderr, "\r%3.0f %%", 100*x.Progress)
	}
	return nil
}

// copyBeside is io.Copy, but the next piece is read while the last is written: both take their time.
func copyBeside(w io.Writer, r io.Reader) (n int64, err error) {
	const piece, pieces = 1 << 20, 4
	free, full := make(chan []byte, pieces), make(chan []byte, pieces)
	for range pieces {
		free <- make([]byte, piece)
	}
	wrote := make(chan error, 1)
	go func() {
		for b := range full {
			n, err := w.Write(b)
			if err == nil && n < len(b) {
				err = io.ErrShortWrite
			}
			if err != nil {
				wrote <- err
				return
			}
			free <- b[:piece]
		}
		wrote <- nil
	}()
	for err == nil {
		select {
		case err := <-wrote: // no more can be
			return n, err
		case b := <-free:
			k := 0
			for k < piece && err == nil {
				var m int
				m, err = r.Read(b[k:])
				k += m
			}
			n += int64(k)
			full <- b[:k]
		}
	}
	close(full)
	if werr := <-wrote; werr != nil {
		return n, werr
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// A steady writer sends to the disk what it was given while more comes, so that the
// sync in the end has little left to wait for, and lets the system forget what is there: to find memory for
// all of a long file can cost more than to write it.
type steady struct {
	f        *os.File
	stop     context.CancelCauseFunc // told of an error
	at, sent int64
}

const steadyStep = 16 << 20

func (s *steady) Write(b []byte) (int, error) {
	n, err := s.f.Write(b)
	if s.at += int64(n); err == nil && s.at-s.sent >= steadyStep {
		err = s.step()
	}
	if err != nil {
		s.stop(err)
	}
	return n, err
}

// step begins to write the last step and waits for the one before.
func (s *steady) step() error {
	fd := int(s.f.Fd())
	before := max(0, s.sent-steadyStep)
	err := unix.SyncFileRange(fd, s.sent, s.at-s.sent, unix.SYNC_FILE_RANGE_WRITE)
	if err == nil && before < s.sent { // the whole of it: fdatasync does not tell again of an error that this told of
		err = unix.SyncFileRange(fd, before, s.sent-before, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
		_ = unix.Fadvise(fd, before, s.sent-before, unix.FADV_DONTNEED) // a hint
	}
	s.sent = s.at
	if errors.Is(err, unix.ESPIPE) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil // no disk, or one that writes as it likes
	}
	if err != nil {
		return &fs.PathError{Op: "write", Path: s.f.Name(), Err: err}
	}
	return nil
}

// stamp prints an instant as the log does.
func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }
