package web

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"vigil/internal/audit"
	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// fakePictures makes pictures that say what they are of.
type fakePictures struct {
	found  *Picture
	err    error
	made   int
	newest bool // was asked for

	recoding Recoding // nil: nothing needs one
}

func (f *fakePictures) Recode(tracks []media.Track) (Recoding, []media.Track, error) {
	if f.recoding == nil || f.err != nil {
		return nil, nil, f.err
	}
	return f.recoding, []media.Track{{Number: 1, Codec: media.H264, Codecs: "avc1.4d4029"}}, nil
}

func (f *fakePictures) Find(_ context.Context, _ media.StreamID, at time.Time) (*Picture, error) {
	if f.found == nil {
		return nil, nil
	}
	p := *f.found
	f.newest = at.IsZero()
	p.JPEG = func(_ context.Context, width int) ([]byte, error) {
		f.made++
		return fmt.Appendf(nil, "stored at %d, %d wide", p.At.UnixMilli(), width), f.err
	}
	return &p, nil
}

func (f *fakePictures) JPEG(_ context.Context, _ media.StreamID, track media.Track, unit []byte, width int) ([]byte, error) {
	f.made++
	return fmt.Appendf(nil, "%v %s, %d wide", track.Codec, unit, width), f.err
}

// looks counts the records of looks in the log.
func (b *bench) looked(a audit.Action) (n int) {
	b.t.Helper()
	page, _, err := b.log.Read(context.Background(), audit.Filter{})
	must(b.t, err)
	for _, r := range page {
		if r.Action == a {
			n++
		}
	}
	return n
}

func TestPicture(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := b.camera("Door")
	path := "/streams/" + cam.Streams[0].ID.String() + "/picture.jpg"

	p.want(204, "GET", path+"?at=1000", nil) // nothing there
	at := time.UnixMilli(900)
	b.pictures.found = &Picture{ID: "s-81000", At: at}
	resp, body := p.do("GET", path+"?at=1000&width=320", nil)
	if resp.StatusCode != 200 || string(body) != "stored at 900, 320 wide" || resp.Header.Get("Content-Type") != "image/jpeg" || resp.Header.Get("Vigil-At") != "900" {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	if c := resp.Header.Get("Cache-Control"); c != "no-store" {
		t.Errorf("a browser keeps it: %q", c)
	}
	tag := resp.Header.Get("ETag")
	resp, body = p.do("GET", path+"?at=1000&width=320", nil, "If-None-Match", tag)
	if resp.StatusCode != 304 || len(body) != 0 || b.pictures.made != 1 {
		t.Errorf("again: %d %s, %d made", resp.StatusCode, body, b.pictures.made)
	}
	if resp, _ = p.do("GET", path+"?at=1000", nil, "If-None-Match", tag); resp.StatusCode != 200 {
		t.Errorf("another width: %d", resp.StatusCode)
	}
	if n := b.looked(audit.ViewPlay); n != 1 {
		t.Errorf("%d records of one look", n)
	}
	for _, q := range []string{"?at=-1", "?at=x", "?at=1&width=15", "?at=1&width=7681", "?at=1&width=x", "?at=1&width=-1"} {
		p.refused(422, "invalid", "GET", path+q, nil)
	}
	if p.want(200, "GET", path, nil); !b.pictures.newest {
		t.Error("without an instant it is not the newest")
	}
	b.pictures.err = fmt.Errorf("why: %w", ErrNoDecoder)
	p.refused(503, "no-picture-decoder", "GET", path+"?at=1000", nil)
	b.pictures.err = fmt.Errorf("%w: %w", ErrLate, context.DeadlineExceeded)
	p.refused(503, "busy", "GET", path+"?at=1000", nil)
	b.pictures.err = ErrUndecodable
	p.refused(422, "picture-undecodable", "GET", path+"?at=1000", nil)
	b.person().refused(401, "signed-out", "GET", path+"?at=1000", nil)
	p.refused(404, "not-found", "GET", "/streams/"+media.StreamID{1}.String()+"/picture.jpg?at=1", nil)

	b.pictures.err = nil
	session, err := b.auth.Session(p.http.Jar.Cookies(p.request("GET", "/", nil).URL)[0].Value)
	must(t, err)
	for range picturesPerWho {
		if _, ok := b.srv.slots.take("picture", session.ID, maxPictures, picturesPerWho); !ok {
			t.Fatal("no place")
		}
	}
	if v := p.refused(503, "too-many-pictures", "GET", path+"?at=1000", nil); v["retryAfter"] == nil || v["args"].(object)["max"] != strconv.Itoa(picturesPerWho) {
		t.Errorf("%v", v)
	}
}

func TestSnapshot(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := b.camera("Door")
	id := cam.Streams[0].ID
	path := "/streams/" + id.String() + "/snapshot.jpg"
	b.live.SetStatus(cam.ID, id, wire.Status{State: wire.Waiting, Why: wire.Note{Code: "camera-unreachable"}})
	p.refused(503, "stream-not-live", "GET", path, nil)

	st := b.live.Stream(id)
	tr := tracks(t, id, h264, aac)
	for n := range 3 { // the newest that decodes alone is the first
		must(t, st.Publish(batch(tr, n)))
	}
	resp, body := p.do("GET", path+"?width=640", nil)
	if resp.StatusCode != http.StatusOK || string(body) != "H264 picture 0000, 640 wide" || resp.Header.Get("Vigil-At") != "1000000000000" {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	if n := b.looked(audit.ViewLive); n != 1 {
		t.Errorf("%d records", n)
	}
	p.refused(422, "invalid", "GET", path+"?width=0", nil)
	b.person().refused(401, "signed-out", "GET", path, nil)
}

func TestLooks(t *testing.T) {
	var l looks
	now := time.Unix(1e9, 0)
	for i, c := range []struct {
		what  string
		after time.Duration
		first bool
	}{
		{"a", 0, true}, {"a", 59 * time.Second, false}, {"b", 59 * time.Second, true}, {"a", 61 * time.Second, true},
		{"a", -time.Hour, true}, // the clock was set back
	} {
		if got := l.first(c.what, now.Add(c.after)); got != c.first {
			t.Errorf("%d: %v", i, got)
		}
	}
	for n := range maxLooks + 10 {
		l.first(strings.Repeat("x", 10)+strconv.Itoa(n), now)
	}
	if len(l.last) > maxLooks {
		t.Errorf("%d looks are remembered", len(l.last))
	}
}
