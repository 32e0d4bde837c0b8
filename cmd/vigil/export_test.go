package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/sys/unix"
)

const piece = 1 << 20 // of copyBeside

// A slot takes as many bytes as it says, and then no more.
type slot struct {
	bytes.Buffer
	room  int
	err   error // of what does not fit; nil: it says nothing
	after func()
}

func (s *slot) Write(b []byte) (int, error) {
	if s.after != nil {
		s.after()
	}
	if n := s.room - s.Len(); n < len(b) {
		s.Buffer.Write(b[:n])
		return n, s.err
	}
	return s.Buffer.Write(b)
}

var errFull = errors.New("full")

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestCopyBeside: all that is read is written, or there is an error.
func TestCopyBeside(t *testing.T) {
	data := make([]byte, 6*piece+7)
	for i := range data {
		data[i] = byte(i / 3)
	}
	errAway := errors.New("away")
	for _, n := range []int{0, 1, piece - 1, piece, piece + 1, 4 * piece, len(data)} {
		whole := func() io.Reader { return bytes.NewReader(data[:n]) }
		for name, x := range map[string]struct {
			r    io.Reader
			want error
		}{
			"whole":           {whole(), nil},
			"halves":          {iotest.HalfReader(whole()), nil},
			"end with data":   {iotest.DataErrReader(whole()), nil},
			"breaks off":      {io.MultiReader(whole(), iotest.ErrReader(errAway)), errAway},
			"error with data": {iotest.DataErrReader(io.MultiReader(whole(), iotest.ErrReader(errAway))), errAway},
		} {
			w := slot{room: len(data)}
			if got, err := copyBeside(&w, x.r); got != int64(n) || !errors.Is(err, x.want) || !bytes.Equal(w.Bytes(), data[:n]) {
				t.Errorf("%d bytes, %s: %d, %d written, %v", n, name, got, w.Len(), err)
			}
		}
		if n == len(data) {
			continue
		}
		for want, err := range map[error]error{errFull: errFull, io.ErrShortWrite: nil} {
			for name, r := range map[string]io.Reader{
				"nearly":     bytes.NewReader(data[:n+1]),
				"breaks off": io.MultiReader(bytes.NewReader(data[:n+1]), iotest.ErrReader(errAway)),
				"far more":   io.LimitReader(zeros{}, 40*piece),
			} {
				w := slot{room: n, err: err}
				if _, err := copyBeside(&w, r); !errors.Is(err, want) || w.Len() != n {
					t.Errorf("no room for more than %d bytes, %s: %v, want %v", n, name, err, want)
				}
			}
		}
	}
}

// TestCopyBesideReadsOn: what is read next does not wait until the last is written, and no more than a few pieces are held.
func TestCopyBesideReadsOn(t *testing.T) {
	r, to := io.Pipe()
	read := make(chan struct{})
	go func() {
		to.Write(make([]byte, 2*piece)) // returns when both are read
		close(read)
		to.CloseWithError(context.Canceled) // interrupted
	}()
	w := slot{room: 2 * piece}
	w.after = sync.OnceFunc(func() { <-read })
	if n, err := copyBeside(&w, r); n != 2*piece || !errors.Is(err, context.Canceled) || w.Len() != 2*piece {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestSteadyTells: a disk that cannot keep what it took stops the export while it comes, not in the end.
func TestSteadyTells(t *testing.T) {
	if testing.Short() || os.Geteuid() != 0 {
		t.Skip("needs root, to mount, and a second; run as root on the build machine and in CI")
	}
	thin, disk := t.TempDir(), t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Skipf("needs %s, and loop devices, as CI and the build machine have them: %v: %s", name, err, out)
		}
	}
	run("mount", "-t", "tmpfs", "-o", "size=24m", "thin", thin) // the disk says it has 256 MB, and has 24
	t.Cleanup(func() { exec.Command("umount", "-l", thin).Run() })
	image := filepath.Join(thin, "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 256<<20)); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", "-O", "^has_journal", image)
	run("mount", "-o", "loop", image, disk)
	t.Cleanup(func() { exec.Command("umount", "-l", disk).Run() })
	for _, x := range []struct {
		size int64
		want error
	}{{16<<20 + 1, nil}, {128 << 20, unix.ENOSPC}} {
		f, err := os.Create(filepath.Join(disk, "a.mp4"))
		if err != nil {
			t.Fatal(err)
		}
		var told error
		_, err = copyBeside(&steady{f: f, stop: func(err error) { told = err }}, io.LimitReader(zeros{}, x.size))
		if !errors.Is(err, x.want) || !errors.Is(told, x.want) {
			t.Errorf("%d bytes: %v, told %v, want %v", x.size, err, told, x.want)
		}
		f.Close()
	}
}

// A recorder answers for one export.
type recorder struct {
	mu      sync.Mutex
	states  []string // one after the other; the last stays
	size    int64
	why     string
	file    func(context.Context) (io.Reader, int)
	asked   chan struct{} // told when the file is asked for; may be nil
	removed bool
}

func (r *recorder) RoundTrip(q *http.Request) (*http.Response, error) {
	if err := q.Context().Err(); err != nil {
		return nil, err
	}
	answer := func(code int, body io.Reader) (*http.Response, error) {
		c, ok := body.(io.ReadCloser)
		if !ok {
			c = io.NopCloser(body)
		}
		return &http.Response{StatusCode: code, Status: fmt.Sprint(code), Body: c, Request: q}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case q.Method == "DELETE":
		r.removed = true
		return answer(204, strings.NewReader(""))
	case strings.HasSuffix(q.URL.Path, "/file"):
		body, code := r.file(q.Context())
		if r.asked != nil {
			close(r.asked)
		}
		return answer(code, body)
	}
	x := map[string]any{"id": "x", "state": r.states[0]}
	switch r.states[0] {
	case "done":
		x["size"] = r.size
	case "failed":
		x["why"] = map[string]string{"text": r.why}
	}
	if len(r.states) > 1 {
		r.states = r.states[1:]
	}
	b, err := json.Marshal(x)
	if err != nil {
		return nil, err
	}
	return answer(200, bytes.NewReader(b))
}

// until is a body that ends with a context, or when it is closed.
func until(ctx context.Context, more io.Reader) io.Reader {
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(more, r), r}
}

// fetch fetches the export and returns the error.
func (r *recorder) fetch(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cl := &client{http: &http.Client{Transport: r}}
	return exportCmd{}.fetch(ctx, &cli{JSON: true}, cl, f, &exported{ID: "x", State: "waiting"})
}

// TestFetch: a file is whole and on the disk, or there is an error that says why; the recorder's list is told to forget.
func TestFetch(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 300_000)
	whole := func(context.Context) (io.Reader, int) { return bytes.NewReader(data), 200 }
	goes := func(ctx context.Context) (io.Reader, int) { return until(ctx, bytes.NewReader(data)), 200 }
	open := func(name string) *os.File {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	pr, pw, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pw.Close()
	go io.Copy(io.Discard, pr)
	size := int64(len(data))
	for name, x := range map[string]struct {
		*recorder
		file *os.File
		is   error
		says string // "": it is well
	}{
		"whole":         {&recorder{states: []string{"waiting", "waiting", "running", "running", "done"}, size: size, file: whole}, nil, nil, ""},
		"done already":  {&recorder{states: []string{"done"}, size: size, file: whole}, nil, nil, ""},
		"short":         {&recorder{states: []string{"running", "done"}, size: size + 1, file: whole}, nil, nil, "3000000"},
		"breaks off":    {&recorder{states: []string{"running", "done"}, size: size, file: func(context.Context) (io.Reader, int) { return iotest.TimeoutReader(bytes.NewReader(data)), 200 }}, nil, iotest.ErrTimeout, "timeout"},
		"no sync":       {&recorder{states: []string{"running", "done"}, size: size, file: whole}, pw, unix.EINVAL, "export to"},
		"disk full":     {&recorder{states: []string{"running"}, file: goes}, open("/dev/full"), unix.ENOSPC, "/dev/full"},
		"failed":        {&recorder{states: []string{"running", "failed"}, why: "the disk is away", file: whole}, nil, nil, "the disk is away"},
		"never began":   {&recorder{states: []string{"running", "failed"}, why: "the footage is gone", file: func(context.Context) (io.Reader, int) { return strings.NewReader(`{"title":"not ready"}`), 409 }}, nil, nil, "the footage is gone"},
		"not given out": {&recorder{states: []string{"running"}, file: func(context.Context) (io.Reader, int) { return strings.NewReader(`{"title":"too many"}`), 503 }}, nil, nil, "too many"},
	} {
		f := x.file
		if f == nil {
			f = open(filepath.Join(t.TempDir(), "a.mp4"))
		}
		err := x.fetch(context.Background(), f)
		switch {
		case !x.removed:
			t.Errorf("%s: it stays in the list", name)
		case x.says != "":
			if err == nil || x.is != nil && !errors.Is(err, x.is) || !strings.Contains(err.Error(), x.says) {
				t.Errorf("%s: %v", name, err)
			}
		case err != nil:
			t.Errorf("%s: %v", name, err)
		default:
			if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := recorder{states: []string{"running"}, file: goes, asked: make(chan struct{})}
	go func() { <-r.asked; cancel() }()
	if err := r.fetch(ctx, open(filepath.Join(t.TempDir(), "a.mp4"))); !errors.Is(err, context.Canceled) || !r.removed {
		t.Errorf("interrupted: %v, removed %v", err, r.removed)
	}
}
