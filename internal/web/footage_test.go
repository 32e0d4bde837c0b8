package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/fmp4"
	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

var (
	h264 = media.Track{Number: 1, Codec: media.H264, Codecs: "avc1.64001f", Config: []byte{1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 0, 1, 0, 0}, Width: 640, Height: 360}
	aac  = media.Track{Number: 2, Codec: media.AAC, Codecs: "mp4a.40.2", Config: []byte{0x12, 0x10}, SampleRate: 44100, Channels: 2}
	pcma = media.Track{Number: 2, Codec: media.PCMA, SampleRate: 8000, Channels: 1}
)

func tracks(t *testing.T, id media.StreamID, list ...media.Track) *media.Tracks {
	t.Helper()
	init, err := fmp4.Init(list)
	must(t, err)
	return &media.Tracks{Stream: id, List: list, Init: init}
}

// batch makes a quarter of a second at n quarters after start: a picture, and
// sound where there is a track for it.
func batch(tr *media.Tracks, n int) *media.Batch {
	pic, sound := fmt.Appendf(nil, "picture %04d", n), []byte("sound")
	size := len(pic)
	if len(tr.List) > 1 {
		size += len(sound)
	}
	b := media.NewBatch(size)
	b.Tracks = tr
	at := media.TicksOf(time.Unix(1e9, 0)) + media.Ticks(n)*media.TicksPerSecond/4
	p := b.Payload()
	copy(p, pic)
	b.Units = append(b.Units, media.Unit{Track: 1, RandomAccess: n%4 == 0, DTS: at, Arrived: at.Time().UnixNano(), Data: p[:len(pic)]})
	if len(tr.List) > 1 {
		copy(p[len(pic):], sound)
		b.Units = append(b.Units, media.Unit{Track: 2, RandomAccess: true, DTS: at, Arrived: at.Time().UnixNano(), Data: p[len(pic):]})
	}
	return b
}

// boxes splits MP4 into its top boxes as they come.
func boxes(r io.Reader, each func(kind string, box []byte) bool) error {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(r, head); err != nil {
			return err
		}
		n := int(head[0])<<24 | int(head[1])<<16 | int(head[2])<<8 | int(head[3])
		box := append(head, make([]byte, n-8)...)
		if _, err := io.ReadFull(r, box[8:]); err != nil {
			return err
		}
		if !each(string(box[4:8]), box) {
			return nil
		}
	}
}

// Live video comes as it comes, without the sound that browsers choke on,
// until the session ends.
//
//vigil:clause 5.5.1.1 5.2.5.1
func TestLive(t *testing.T) {
	for _, c := range []struct {
		name  string
		list  []media.Track
		kind  string
		muted string
	}{
		{"pictures", []media.Track{h264}, `video/mp4; codecs="avc1.64001f"`, ""},
		{"with sound", []media.Track{h264, aac}, `video/mp4; codecs="avc1.64001f, mp4a.40.2"`, ""},
		{"with G.711", []media.Track{h264, pcma}, `video/mp4; codecs="avc1.64001f"`, "PCMA"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			p := b.admin()
			cam := b.camera("Door")
			id := cam.Streams[0].ID
			tr := tracks(t, id, c.list...)
			st := b.live.Stream(id)
			must(t, st.Publish(batch(tr, 0)))
			b.live.SetStatus(cam.ID, id, wire.Status{State: wire.Live, Notes: []wire.Note{{Code: "audio-left-out", Args: map[string]string{"what": "refused"}}}})
			s := p.want(200, "GET", "/cameras/"+cam.ID.String(), nil)["streams"].([]any)[0].(object)
			if n, _ := s["notes"].([]any); len(n) != 1 || n[0].(object)["code"] != "audio-left-out" || n[0].(object)["text"] == "" {
				t.Errorf("the sound is missing in silence: %v", s)
			}
			resp, err := p.http.Do(p.request("GET", base+"/streams/"+id.String()+"/live.mp4", nil))
			must(t, err)
			defer resp.Body.Close()
			if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != c.kind || resp.Header.Get("Vigil-Muted") != c.muted || resp.Header.Get("Vigil-Start") != "1000000000000" || resp.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %v", resp.StatusCode, resp.Header)
			}
			n, moov, moof := 0, []byte(nil), []byte(nil)
			err = boxes(resp.Body, func(kind string, box []byte) bool {
				switch kind {
				case "moov":
					moov = box
				case "moof":
					moof = box
				case "mdat":
					want := fmt.Sprintf("picture %04d", n)
					if len(c.list) > 1 && c.muted == "" {
						want += "sound"
					}
					if string(box[8:]) != want || bytes.Count(moof, []byte("traf")) != bytes.Count(moov, []byte("trak")) {
						t.Errorf("fragment %d: %q, want %q", n, box[8:], want)
					}
					if n++; n == 8 {
						return false
					}
					must(t, st.Publish(batch(tr, n)))
				}
				return true
			})
			must(t, err)
			if got := b.recorded(audit.ViewLive); len(got) != 1 || got[0].Actor.Name != "amy" || got[0].Camera != cam.ID || got[0].Actor.Session == "" {
				t.Errorf("recorded %+v", got)
			}
			p.want(204, "DELETE", "/session", nil)
			if _, err := io.Copy(io.Discard, resp.Body); err != nil { // it ends, without anything being published
				t.Errorf("after sign-out: %v", err)
			}
		})
	}
}

// A person whose right goes while watching sees no more, though the session
// lasts.
//
//vigil:clause 5.4.3.1
func TestRevocationEndsAStream(t *testing.T) {
	b := newBench(t)
	cam := b.camera("Door")
	b.accounts(object{"name": "bob", "role": "viewer"})
	p := b.signIn("bob")
	id := cam.Streams[0].ID
	tr := tracks(t, id, h264)
	st := b.live.Stream(id)
	must(t, st.Publish(batch(tr, 0)))
	resp, err := p.http.Do(p.request("GET", base+"/streams/"+id.String()+"/live.mp4", nil))
	must(t, err)
	defer resp.Body.Close()
	// A later version changes roles while the session lasts; here the password is reset, which ends it.
	must(t, b.auth.ResetPassword(context.Background(), actor.Actor{Kind: actor.Console, Name: "uid 0"}, "bob", second))
	_, err = io.Copy(io.Discard, resp.Body)
	must(t, err)

	// The rule inside: a right that is gone ends the answer at the next look.
	fresh := b.person()
	fresh.want(200, "POST", "/session", object{"name": "bob", "password": second})
	session, err := b.auth.Session(fresh.http.Jar.Cookies(fresh.request("GET", "/", nil).URL)[0].Value)
	must(t, err)
	rec := &nullWriter{}
	w := &watch{call: &call{Server: b.srv, w: rec, session: session}, ctx: context.Background(), rc: http.NewResponseController(rec), checked: time.Now()}
	w.right.Action, w.right.Camera = "live", cam.ID
	if err := w.send([]byte("x")); err != nil {
		t.Errorf("before the next look: %v", err)
	}
	w.checked = time.Time{}
	if err := w.send([]byte("x")); err == nil { // the password must be changed: no right to anything
		t.Error("a right that is gone still sends")
	}
}

type nullWriter struct{}

func (*nullWriter) Header() http.Header         { return http.Header{} }
func (*nullWriter) Write(b []byte) (int, error) { return len(b), nil }
func (*nullWriter) WriteHeader(int)             {}
func (*nullWriter) Flush()                      {}
func (*nullWriter) SetWriteDeadline(time.Time) error {
	return nil
}

func TestLiveEnds(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := b.camera("Door")
	id := cam.Streams[0].ID
	b.live.SetStatus(cam.ID, id, wire.Status{State: wire.Waiting, Why: wire.Note{Code: "camera-unreachable"}})
	v := p.refused(503, "stream-not-live", "GET", "/streams/"+id.String()+"/live.mp4", nil)
	if v["args"].(object)["why"] == "" || v["retryAfter"] == nil {
		t.Errorf("%v", v)
	}
	st := b.live.Stream(id)
	for name, end := range map[string]func(){
		"another coding": func() { must(t, st.Publish(batch(tracks(t, id, h264, aac), 4))) },
		"camera lost":    func() { st.Down(media.CameraLost) },
		"server stops":   func() { b.srv.stop.Do(func() { close(b.srv.done) }) },
	} {
		if name == "server stops" {
			continue // last, below
		}
		must(t, st.Publish(batch(tracks(t, id, h264), 0)))
		resp, err := p.http.Do(p.request("GET", base+"/streams/"+id.String()+"/live.mp4", nil))
		must(t, err)
		end()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		resp.Body.Close()
	}
	must(t, st.Publish(batch(tracks(t, id, h264), 0)))
	resp, err := p.http.Do(p.request("GET", base+"/streams/"+id.String()+"/live.mp4", nil))
	must(t, err)
	b.stop()
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	if n := len(b.srv.slots.s.mine); n != 0 {
		t.Errorf("%d places are still taken", n)
	}
}

func TestTooManyStreams(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := b.camera("Door")
	session, err := b.auth.Session(p.http.Jar.Cookies(p.request("GET", "/", nil).URL)[0].Value)
	must(t, err)
	for range streamsPerWho {
		if _, ok := b.srv.slots.take("video", session.ID, maxStreams, streamsPerWho); !ok {
			t.Fatal("no place")
		}
	}
	p.refused(503, "too-many-streams", "GET", "/streams/"+cam.Streams[0].ID.String()+"/live.mp4", nil)
	p.refused(503, "too-many-streams", "GET", "/streams/"+cam.Streams[0].ID.String()+"/video.mp4?from=1&to=2", nil)
}

// clip is n fragments of a quarter of a second; bad breaks off there.
func clip(t *testing.T, tr *media.Tracks, n, bad int) func() *Clip {
	return func() *Clip {
		i := 0
		return &Clip{
			Start: time.Unix(1e9, 0), End: time.Unix(1e9, int64(n)*250e6), Next: time.Unix(1e9+100, -1), Tracks: tr.List, Init: tr.Init,
			Fragment: func(context.Context) ([]byte, error) {
				if i == n {
					return nil, io.EOF
				}
				if i == bad {
					return nil, errors.New("altered")
				}
				b := batch(tr, i)
				must(t, fmp4.Frame(b))
				i++
				return b.Fragment, nil
			},
		}
	}
}

//vigil:clause 5.5.1.1
func TestStored(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := b.camera("Door")
	path := "/streams/" + cam.Streams[0].ID.String() + "/video.mp4"
	for query, code := range map[string]string{"": "invalid", "?from=x": "invalid", "?from=-1": "invalid", "?from=5&to=5": "invalid", "?from=5&to=4": "invalid", "?from=99999999999999999999": "invalid"} {
		p.refused(422, code, "GET", path+query, nil)
	}
	p.want(204, "GET", path+"?from=1000000000000&to=1000000010000", nil)
	p.want(204, "GET", path+"?from="+strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10), nil)
	if n := len(b.recorded(audit.ViewPlay)); n != 0 {
		t.Errorf("%d records of nothing seen", n)
	}
	for _, list := range [][]media.Track{{h264}, {h264, pcma}} {
		tr := tracks(t, cam.Streams[0].ID, list...)
		b.footage.clip = clip(t, tr, 12, -1)
		resp, got := p.do("GET", path+"?from=1000000000100&to=1000000010000", nil)
		if resp.StatusCode != 200 || resp.Header.Get("Vigil-Start") != "1000000000000" || resp.Header.Get("Vigil-End") != "1000000003000" || resp.Header.Get("Vigil-Next") != "1000000100000" {
			t.Fatalf("%d %v", resp.StatusCode, resp.Header)
		}
		if b.footage.from.UnixMilli() != 1000000000100 {
			t.Errorf("asked from %v", b.footage.from)
		}
		var pictures string
		err := boxes(bytes.NewReader(got), func(kind string, box []byte) bool {
			if kind == "mdat" {
				pictures += string(box[8:]) + ";"
			}
			return true
		})
		if err != io.EOF || strings.Count(pictures, "picture") != 12 || strings.Contains(pictures, "sound") {
			t.Errorf("%v: %s", err, pictures)
		}
	}
	if got := b.recorded(audit.ViewPlay); len(got) != 2 || got[0].Detail["from"] != "2001-09-09T01:46:40Z" || got[0].Camera != cam.ID {
		t.Errorf("recorded %+v", got)
	}
	// Who goes on with what is recorded as watched gets the rest of it, without another record; then there is one again.
	b.footage.clip = clip(t, tracks(t, cam.Streams[0].ID, h264), 12, -1)
	for _, x := range []struct {
		from    string
		to      int64
		records int
	}{{"1000000001000", 1000000003000, 2}, {"1000000002000", 1000000003000, 2}, {"1000000001500", 1000000010000, 3}, {"1000000003001", 1000000010000, 4}} {
		p.do("GET", path+"?from="+x.from+"&to=1000000010000", nil)
		if n := len(b.recorded(audit.ViewPlay)); n != x.records || b.footage.to.UnixMilli() != x.to {
			t.Errorf("from %s: to %v, %d records", x.from, b.footage.to.UnixMilli(), n)
		}
	}
	b.footage.closed = 2
	// What does not verify is not sent, and the caller sees that it broke off.
	b.footage.clip = clip(t, tracks(t, cam.Streams[0].ID, h264), 12, 5)
	resp, err := p.http.Do(p.request("GET", base+path+"?from=1000000000000", nil))
	must(t, err)
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err == nil || !strings.Contains(string(got), "picture 0004") || strings.Contains(string(got), "picture 0005") {
		t.Errorf("broken footage ends as if it were whole: %v", err)
	}
	if b.footage.closed != 3 {
		t.Errorf("%d clips closed", b.footage.closed)
	}
}

// An echo is an encoder that changes nothing but says that it had everything.
type echo struct {
	*io.PipeReader
	w      *io.PipeWriter
	closed int
}

func newEcho() *echo {
	r, w := io.Pipe()
	return &echo{PipeReader: r, w: w}
}

func (e *echo) Write(b []byte) (int, error) { return e.w.Write(b) }
func (e *echo) End() error {
	_, err := e.w.Write([]byte("all of it"))
	return errors.Join(err, e.w.Close())
}
func (e *echo) Close() error { e.closed++; return errors.Join(e.PipeReader.Close(), e.w.Close()) }

// TestRecodedFootage: who asks for it gets what browsers play, through the encoder, and to its end; what
// is that already goes as it is; when there is no place or no encoder it is said.
func TestRecodedFootage(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := b.camera("Door")
	path := "/streams/" + cam.Streams[0].ID.String() + "/video.mp4?from=1000000000000&to=1000000010000&recode="
	p.refused(422, "invalid", "GET", path+"maybe", nil)
	b.footage.clip = clip(t, tracks(t, cam.Streams[0].ID, h264, pcma), 12, -1)
	resp, got := p.do("GET", path+"true", nil)
	if resp.Header.Get("Vigil-Recoded") != "false" || resp.Header.Get("Vigil-Muted") == "" || len(got) == 0 {
		t.Errorf("%v", resp.Header)
	}
	e := newEcho()
	b.pictures.recoding = e
	resp, got = p.do("GET", path+"true", nil)
	if resp.Header.Get("Vigil-Recoded") != "true" || resp.Header.Get("Vigil-Muted") != "" || resp.Header.Get("Content-Type") != `video/mp4; codecs="avc1.4d4029"` {
		t.Errorf("%v", resp.Header)
	}
	if s := string(got); !strings.Contains(s, "picture 0011") || !strings.Contains(s, "sound") || !strings.HasSuffix(s, "all of it") || e.closed == 0 {
		t.Errorf("%d bytes, closed %d", len(got), e.closed)
	}
	// What does not verify breaks off here too, and nothing is left behind.
	b.footage.clip = clip(t, tracks(t, cam.Streams[0].ID, h264), 12, 5)
	e = newEcho()
	b.pictures.recoding = e
	resp, err := p.http.Do(p.request("GET", base+path+"true", nil))
	must(t, err)
	if _, err = io.ReadAll(resp.Body); err == nil {
		t.Error("broken footage ends as if it were whole")
	}
	resp.Body.Close()
	if e.closed == 0 {
		t.Error("the encoder is not closed")
	}
	b.pictures.err = ErrTooMany
	p.refused(503, "too-many-recodes", "GET", path+"true", nil)
	b.pictures.err = ErrNoDecoder
	p.refused(503, "no-picture-decoder", "GET", path+"true", nil)
	b.footage.clip = clip(t, tracks(t, cam.Streams[0].ID, h264), 12, -1)
	p.want(200, "GET", path+"false", nil)
}

func TestTimeline(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := b.camera("Door")
	b.footage.days = []Day{{"2026-01-02", 90 * time.Minute}}
	b.footage.line.Ranges = []Range{{time.Unix(1e9, 0), time.Unix(1e9+60, 0), false}, {time.Unix(1e9+70, 0), time.Unix(1e9+90, 0), true}}
	b.footage.line.Gaps = []Gap{{time.Unix(1e9+60, 0), time.Unix(1e9+70, 0), media.Stopped, "amy", 0}, {time.Unix(1e9+90, 0), time.Unix(1e9+91, 0), "", "", 3}}
	at := "/cameras/" + cam.ID.String()
	got := p.want(200, "GET", at+"/timeline?from=1000000000000&to=1000000100000&stream="+cam.Streams[0].ID.String(), nil)
	gaps := got["gaps"].([]any)
	if len(got["ranges"].([]any)) != 2 || gaps[0].(object)["by"] != "amy" || gaps[1].(object)["cause"] != "unknown" {
		t.Errorf("%v", got)
	}
	if got["cells"] != nil {
		t.Errorf("cells of what is near: %v", got)
	}
	b.footage.line.Cells = &Cells{From: time.Unix(999_999_000, 0), Length: 15 * time.Minute, Recorded: make([]time.Duration, 4)}
	b.footage.line.Cells.Add(999_999_890e9, 1_000_000_000e9) // 10 s of the first and 100 of the second
	b.footage.line.Cells.Add(5e9, 999_999_010e9)             // it begins before the first
	b.footage.line.Cells.Add(1_000_002_590e9, 1_000_009_000e9)
	cells := p.want(200, "GET", at+"/timeline?from=999999000000&to=1000002600000", nil)["cells"].(object)
	if want := []any{20.0, 100.0, 0.0, 10.0}; cells["from"] != 999999000000.0 || cells["length"] != 900000.0 || !reflect.DeepEqual(cells["seconds"], want) {
		t.Errorf("%v", cells)
	}
	if got := p.want(200, "GET", at+"/days", nil); got["zone"] != "Asia/Taipei" || got["days"].([]any)[0].(object)["seconds"] != 5400.0 {
		t.Errorf("%v", got)
	}
	p.refused(422, "invalid", "GET", at+"/days?zone=../../etc/passwd", nil)
	p.refused(422, "invalid", "GET", at+"/timeline?from=5", nil)
	p.refused(422, "range-too-long", "GET", at+"/timeline?from=0&to=99999999999", nil)
	p.refused(422, "invalid", "GET", at+"/timeline?from=0&to=1&stream=x", nil)
}

//vigil:clause 5.5.1.1
func TestExports(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := b.camera("Door")
	at := "/cameras/" + cam.ID.String() + "/exports"
	for _, body := range []object{{}, {"from": 1}, {"from": 2, "to": 2}, {"from": -1, "to": 2}, {"from": 1, "to": 2, "stream": "x"}, {"from": 1, "to": 2, "path": "/etc"}} {
		p.refused(422, "invalid", "POST", at, body)
	}
	p.refused(422, "range-too-long", "POST", at, object{"from": 0, "to": 90000000})
	for code, err := range map[string]error{"no-footage": ErrNoFootage, "too-many-exports": ErrTooMany, "no-space": ErrNoSpace} {
		b.exports.err = fmt.Errorf("export: %w", err)
		resp, got := p.do("POST", at, object{"from": 1, "to": 2})
		if !strings.Contains(string(got), code) {
			t.Errorf("%d %s", resp.StatusCode, got)
		}
	}
	b.exports.err = nil
	e := p.want(202, "POST", at, object{"from": 1000000000000, "to": 1000000060000, "audio": false})
	id := e["id"].(string)
	p.want(200, "GET", "/exports/"+id, nil)
	p.refused(409, "export-not-ready", "GET", "/exports/"+id+"/file", nil)
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	b.exports.run(bytes.NewReader(data)) // comes as it is made
	resp, got := p.do("GET", "/exports/"+id+"/file", nil, "Range", "bytes=5-")
	if resp.StatusCode != 200 || !bytes.Equal(got, data) || resp.ContentLength != -1 || resp.Header.Get("ETag") != "" || !strings.Contains(resp.Header.Get("Content-Disposition"), "filename*") {
		t.Errorf("while it runs: %d, %d of %d bytes, %v", resp.StatusCode, len(got), resp.ContentLength, resp.Header)
	}
	b.exports.run(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(errors.New("disk away"))))
	resp, err := p.http.Do(p.request("GET", base+"/exports/"+id+"/file", nil))
	must(t, err)
	got, err = io.ReadAll(resp.Body)
	resp.Body.Close()
	if err == nil || len(got) > len(data) {
		t.Errorf("half a file ends like a whole one: %d bytes", len(got))
	}
	b.exports.finish(data)
	if got := p.want(200, "GET", "/exports", nil)["exports"].([]any); len(got) != 1 || got[0].(object)["cameraName"] != "Door" || got[0].(object)["sha256"] == "" {
		t.Errorf("%v", got)
	}
	resp, got = p.do("GET", "/exports/"+id+"/file", nil)
	if resp.StatusCode != 200 || !bytes.Equal(got, data) || !strings.Contains(resp.Header.Get("Content-Disposition"), "attachment; filename*=utf-8''") {
		t.Errorf("%d, %d bytes, %v", resp.StatusCode, len(got), resp.Header)
	}
	resp, got = p.do("GET", "/exports/"+id+"/file", nil, "Range", "bytes=999990-")
	if resp.StatusCode != 206 || string(got) != "0123456789" || resp.Header.Get("Content-Range") != "bytes 999990-999999/1000000" {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
	resp, got = p.do("GET", "/exports/"+id+"/file", nil, "Range", "bytes=0-0,2-2,4-4")
	if resp.StatusCode != 200 || !bytes.Equal(got, data) {
		t.Errorf("many ranges: %d, %d bytes, %v", resp.StatusCode, len(got), resp.Header)
	}
	for _, r := range []string{"bytes=1000000-", "bytes=5-1", "bytes=x"} {
		if v := p.refused(416, "range-outside", "GET", "/exports/"+id+"/file", nil, "Range", r); v["args"].(object)["size"] != "1000000" {
			t.Errorf("%v", v)
		}
	}
	for _, name := range []string{"If-Match", "If-None-Match"} { // no answer that the document does not have
		if resp, _ := p.do("GET", "/exports/"+id+"/file", nil, name, "*"); resp.StatusCode != 200 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	if resp, got := p.do("HEAD", "/exports/"+id+"/file", nil); resp.StatusCode != 200 || len(got) != 0 || resp.ContentLength != 1_000_000 {
		t.Errorf("%d, %d bytes of %d", resp.StatusCode, len(got), resp.ContentLength)
	}
	b.exports.hurt = 500_000
	for _, r := range []string{"", "bytes=100000-899999"} {
		resp, err = p.http.Do(p.request("GET", base+"/exports/"+id+"/file", nil, "Range", r))
		must(t, err)
		got, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) || len(got) > 600_000 { // our client counts, not each does
			t.Errorf("a file that cannot be read on ends like a whole one: %d bytes, %v, %v", len(got), resp.Status, err)
		}
	}
	b.exports.hurt = 0
	b.exports.err = fmt.Errorf("open: %w", ErrChanged)
	p.refused(409, "export-changed", "GET", "/exports/"+id+"/file", nil)
	b.exports.err = nil
	b.exports.fail("export.changed")
	p.refused(409, "export-changed", "GET", "/exports/"+id+"/file", nil)
	if why := p.want(200, "GET", "/exports/"+id, nil)["why"].(object)["text"].(string); !strings.Contains(why, "SHA-256") {
		t.Error(why)
	}
	p.want(204, "DELETE", "/exports/"+id, nil)
	p.refused(404, "not-found", "GET", "/exports/"+id, nil)
	if n := len(b.recorded("export.download")); n != 2+2+1+3+2+2 {
		t.Errorf("%d downloads recorded", n)
	}
	if got := b.recorded(audit.Export); len(got) != 1+3+3 || got[0].Actor.Name != "amy" {
		t.Errorf("%d exports recorded", len(got))
	}
}

//vigil:clause 5.2.4.1 5.2.7.2
func TestCameras(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	b.prober.out = wire.Probed{
		Tracks: []media.Track{h264, pcma}, Notes: []wire.Note{{Code: "no-sound"}}, Fault: &wire.Note{Code: "auth-failed", Args: map[string]string{"user": "x"}},
		FPS: 24.5, BitRate: 4_100_000, Picture: []byte{0, 0, 0, 1, 0x65},
		Certificate: &wire.Certificate{SHA256: bytes.Repeat([]byte{0xab}, 32), Subject: "CN=cam", Issuer: "CN=cam", NotBefore: 1e9, NotAfter: 2e9},
	}
	got := p.want(200, "POST", "/cameras/probe", object{"url": "rtsps://192.0.2.7/s", "user": "viewer", "password": "cam-Secret-1"})
	if got["certificate"].(object)["sha256"] != strings.Repeat("ab", 32) || got["mediaType"] != `video/mp4; codecs="avc1.64001f"` || got["fault"].(object)["code"] != "auth-failed" || got["fps"] != 24.5 || got["bitsPerSecond"] != 4.1e6 || got["picture"] == nil {
		t.Errorf("%v", got)
	}
	if s := b.prober.spec; s.Link != wire.LinkPin || !bytes.Equal(s.Pin, noPin) || s.User != "" || !s.Password.IsZero() {
		t.Errorf("without a pin it sends %+v", s)
	}
	b.prober.out.Fault = &wire.Note{Code: "tls-pin-mismatch"}
	for pin, code := range map[string]string{"": "tls-unknown-authority", strings.Repeat("cd", 32): "tls-pin-mismatch"} {
		if v := p.want(200, "POST", "/cameras/probe", object{"url": "rtsps://192.0.2.7/s", "pin": pin}); v["fault"].(object)["code"] != code {
			t.Errorf("pin %q: %v", pin, v["fault"])
		}
	}
	p.refused(422, "invalid", "POST", "/cameras/probe", object{"url": "rtsps://192.0.2.7/s", "link": "plain"})
	p.refused(422, "invalid", "POST", "/cameras/probe", object{"url": "http://169.254.169.254/"})
	if r := b.recorded("camera.probe"); len(r) != 3 || r[0].Object != "192.0.2.7" || r[0].Actor.Name != "amy" {
		t.Errorf("recorded %+v", r)
	}
	for address, code := range map[string]string{"rtsp://例え.jp/": "url-ascii", "rtsp://192.0.2.7/#": "url-bad"} { // the worker would refuse them
		if m := p.refused(422, "invalid", "POST", "/cameras/probe", object{"url": address})["mistakes"].([]any)[0].(object); m["field"] != "/url" || m["code"] != code {
			t.Errorf("%s: %v", address, m)
		}
	}
	b.prober.err = errors.New("no worker")
	p.refused(500, "internal", "POST", "/cameras/probe", object{"url": "rtsp://192.0.2.7/s"})
	b.prober.err = nil

	in := object{"name": "Door", "user": "viewer", "password": "cam-Secret-1", "streams": []object{{"kind": "main", "url": "rtsps://192.0.2.7/main"}, {"kind": "second", "url": "rtsps://192.0.2.7/sub"}}}
	v := p.refused(422, "invalid", "POST", "/cameras", in)
	if m := v["mistakes"].([]any)[0].(object); m["field"] != "/pin" || m["code"] != "pin-needed" {
		t.Errorf("%v", v)
	}
	in["pin"] = strings.Repeat("ab", 32)
	cam := p.want(201, "POST", "/cameras", in)
	id := cam["id"].(string)
	if cam["link"] != "rtsps-pin" || cam["hasPassword"] != true || cam["recording"].(object)["armedBy"] != "amy" || cam["retentionDays"] != 30.0 {
		t.Errorf("%v", cam)
	}
	if s := cam["streams"].([]any); s[0].(object)["recorded"] != true || s[1].(object)["recorded"] != false {
		t.Errorf("%v", s)
	}
	all, _ := json.Marshal(p.want(200, "GET", "/cameras", nil))
	audited, _ := json.Marshal(p.want(200, "GET", "/audit?limit=1000", nil))
	if strings.Contains(string(all)+string(audited), "cam-Secret") {
		t.Error("the password comes back")
	}
	if v := p.refused(409, "camera-exists", "POST", "/cameras", in); v["args"].(object)["name"] != "Door" {
		t.Errorf("%v", v)
	}
	p.refused(422, "invalid", "POST", "/cameras", object{"name": "", "streams": []object{{"kind": "main", "url": "rtsp://u:p@h/"}}, "shell": "x"})

	// Another name keeps the password; another host does not get it.
	delete(in, "password")
	in["name"] = "Gate"
	p.want(200, "PUT", "/cameras/"+id, in)
	kept := b.set.Get().Cameras[0]
	if kept.Password.Reveal() != "cam-Secret-1" || kept.Name != "Gate" {
		t.Errorf("%+v", kept)
	}
	in["streams"] = []object{{"kind": "main", "url": "rtsps://203.0.113.66/main"}}
	v = p.refused(422, "invalid", "PUT", "/cameras/"+id, in)
	if m := v["mistakes"].([]any)[0].(object); m["code"] != "password-needed" {
		t.Errorf("%v", v)
	}
	p.refused(422, "invalid", "POST", "/cameras/probe", object{"camera": id, "url": "rtsp://203.0.113.66/", "user": "viewer"})
	p.refused(422, "invalid", "POST", "/cameras/probe", object{"camera": id, "url": "rtsp://192.0.2.7/", "user": "viewer"}) // in the clear
	in["password"] = "another-1"
	p.want(200, "PUT", "/cameras/"+id, in)
	if now := b.set.Get().Cameras[0]; now.Streams[0].ID != kept.Streams[0].ID || now.ID != kept.ID || now.Recording != kept.Recording {
		t.Error("another device in its place lost the footage's line")
	}

	off := p.want(200, "PUT", "/cameras/"+id+"/recording", object{"on": false})
	if off["recording"].(object)["on"] != false {
		t.Errorf("%v", off)
	}
	p.refused(422, "invalid", "PUT", "/cameras/"+id+"/recording", object{})
	p.want(200, "PUT", "/cameras/"+id+"/recording", object{"on": true})
	if n := len(b.recorded("recording.on")); n != 2 {
		t.Errorf("armed %d times", n)
	}
	p.want(204, "DELETE", "/cameras/"+id, nil)
	if got := p.want(200, "GET", "/cameras/"+id, nil); got["removed"] != true || got["name"] != "Gate" || got["hasPassword"] != false {
		t.Errorf("%v", got)
	}
	p.refused(404, "not-found", "DELETE", "/cameras/"+id, nil)
	p.refused(404, "not-found", "PUT", "/cameras/"+id+"/recording", object{"on": true})
	p.want(201, "POST", "/cameras", in) // its name and address are free again
}

// The demonstration camera is one at a time, has a name of its own in the
// caller's language, and is no longer it when another device takes its place.
func TestDemoCamera(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	p.want(201, "POST", "/cameras", object{"name": "Demo camera", "streams": []object{{"kind": "main", "url": "rtsp://192.0.2.7/demo"}}})
	got := p.want(201, "POST", "/cameras/demo", nil)
	id := got["id"].(string)
	if got["demo"] != true || got["name"] != "Demo camera 2" || got["recording"].(object)["on"] != true || len(got["streams"].([]any)) != 2 || got["streams"].([]any)[0].(object)["url"] != "rtsp://127.0.0.1:8554/clock" {
		t.Errorf("%v", got)
	}
	if no := p.refused(409, "demo-exists", "POST", "/cameras/demo", nil, "Accept-Language", "zh-TW"); !strings.Contains(no["detail"].(string), "Demo camera 2") {
		t.Errorf("%v", no)
	}
	p.want(204, "DELETE", "/cameras/"+id, nil)
	got = p.want(201, "POST", "/cameras/demo", nil, "Accept-Language", "zh-TW")
	id = got["id"].(string)
	if got["name"] != "示範攝影機" {
		t.Errorf("%v", got["name"])
	}
	same := []object{{"kind": "main", "url": "rtsp://127.0.0.1:8554/clock"}, {"kind": "second", "url": "rtsp://127.0.0.1:8554/sub"}}
	if got := p.want(200, "PUT", "/cameras/"+id, object{"name": "Yard", "streams": same}); got["demo"] != true {
		t.Errorf("another name: %v", got)
	}
	if got := p.want(200, "PUT", "/cameras/"+id, object{"name": "Yard", "streams": []object{{"kind": "main", "url": "rtsp://192.0.2.7/s"}}}); got["demo"] != false {
		t.Errorf("another device: %v", got)
	}
	p.want(201, "POST", "/cameras/demo", nil)
}

// What a camera's clock says comes along when its sound is left out.
func TestCutKeepsTheCamerasClock(t *testing.T) {
	tr := tracks(t, media.StreamID{1}, h264, pcma)
	c, err := newCut(tr.List, tr.Init)
	must(t, err)
	b := batch(tr, 0)
	b.Units[0].Camera = b.Units[0].Arrived - 76e9
	must(t, fmp4.Frame(b))
	var f fmp4.Fragment
	must(t, c.fragment(b.Fragment, func(out []byte) error { return f.Parse(out) }))
	if !f.Told || max(f.Ahead+76e9, -76e9-f.Ahead) > 10 || len(f.Parts) != 1 {
		t.Errorf("%+v", f)
	}
}

// What one goes on with is later than what was asked for, in the milliseconds in
// which one asks: an answer that leads to itself would be asked for again.
func TestWatchedGoesOn(t *testing.T) {
	var w watched
	at := time.UnixMilli(1_000_000_000_000)
	w.add("amy", at, at.Add(2*time.Second+400*time.Microsecond), at)
	if to, ok := w.goesOn("amy", at.Add(time.Second), at); !ok || !to.Equal(at.Add(2*time.Second)) {
		t.Errorf("a second on: to %v, %v", to, ok)
	}
	if to, ok := w.goesOn("amy", at.Add(2*time.Second), at); ok {
		t.Errorf("from the last millisecond on it is watched to %v, which is asked for as the same", to)
	}
}
