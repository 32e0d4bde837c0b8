package settings

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/seal"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

var amy = actor.Actor{Kind: actor.Person, Name: "amy"}

type log struct {
	mu   sync.Mutex
	recs []audit.Record
	err  error
}

func (l *log) Record(r audit.Record) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.recs = append(l.recs, r)
	}
	return uint64(len(l.recs)), l.err
}

func (l *log) take() (list []string) {
	for _, r := range l.recs {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s", r.Action, r.Object, r.Result)))
	}
	l.recs = nil
	return list
}

type bench struct {
	t   *testing.T
	mem *durable.Mem
	key seal.Key
	log *log
	s   *Store
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, mem: durable.NewMem(), key: seal.NewKey(), log: &log{}}
	b.open()
	return b
}

func (b *bench) open() {
	b.t.Helper()
	s, err := Open(Options{FS: b.mem, Name: "settings.doc", Key: b.key, Audit: b.log, TimeZone: "Asia/Taipei", Language: text.Chinese})
	if err != nil {
		b.t.Fatal(err)
	}
	b.s = s
}

func camera(name string) Camera {
	return Camera{
		ID: media.CameraID(media.NewID[struct{}]()), Name: name, Link: wire.LinkPlain, Transport: wire.Auto, User: "viewer", Password: wire.NewSecret("cam-Secret-1"),
		Streams:   []Stream{{ID: media.StreamID(media.NewID[struct{}]()), Kind: Main, URL: "rtsp://192.0.2.1/" + name, Recorded: true}},
		Recording: Recording{On: true, By: "amy", Since: time.Unix(1e9, 0)}, Added: time.Unix(1e9, 0),
	}
}

func (b *bench) add(c Camera) {
	b.t.Helper()
	if _, _, err := b.s.Change(amy, func(d *Doc) error { d.Cameras = append(d.Cameras, c); return nil }); err != nil {
		b.t.Fatal(err)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	b := newBench(t)
	d := b.s.Get()
	if err := d.Check(); err != nil {
		t.Error(err)
	}
	if d.TimeZone != "Asia/Taipei" || d.Language != text.Chinese || d.Version != 0 {
		t.Errorf("%+v", d)
	}
	odd, err := Open(Options{FS: durable.NewMem(), Name: "s", Key: b.key, Audit: b.log, TimeZone: "Local", Language: "fr"})
	if err != nil || odd.Get().TimeZone != "UTC" || odd.Get().Check() != nil {
		t.Errorf("odd machine: %v", err)
	}
}

func TestChange(t *testing.T) {
	b := newBench(t)
	c := camera("Door")
	changed := b.s.Changed()
	b.add(c)
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	before := b.s.Get()
	old, now, err := b.s.Change(amy, func(d *Doc) error {
		d.Storage.RetentionDays = 60
		d.Camera(c.ID).Name = "Gate"
		d.Camera(c.ID).Password = wire.NewSecret("cam-Secret-2")
		d.Camera(c.ID).Streams[0].URL = "rtsp://192.0.2.2/gate?token=abc123"
		d.Camera(c.ID).Recording = Recording{By: "amy", Since: time.Unix(2e9, 0)}
		return nil
	})
	if err != nil || old != before || now != b.s.Get() || now.Version != 2 || before.Camera(c.ID).Name != "Door" || before.Camera(c.ID).Streams[0].URL != "rtsp://192.0.2.1/Door" {
		t.Fatalf("%v: %+v, %+v", err, old, now)
	}
	var all string
	for _, r := range b.log.recs {
		all += fmt.Sprintf("%+v\n", r)
		if r.Actor != amy || r.At.IsZero() {
			t.Errorf("record %+v", r)
		}
	}
	for _, want := range []string{"/retentionDays:30 -> 60", "/name:Door -> Gate", "/password:changed", "rtsp://192.0.2.1/Door -> rtsp://192.0.2.2/gate"} {
		if !strings.Contains(all, want) {
			t.Errorf("not recorded: %s in\n%s", want, all)
		}
	}
	for _, secret := range []string{"cam-Secret", "abc123"} {
		if strings.Contains(all, secret) {
			t.Errorf("the log has %s", secret)
		}
	}
	want := "[camera.add Door ok recording.on Door ok settings.change settings ok camera.change Gate ok recording.off Gate ok]"
	if got := fmt.Sprint(b.log.take()); got != want {
		t.Errorf("recorded\n got %s\nwant %s", got, want)
	}

	if _, _, err := b.s.Change(amy, func(d *Doc) error { d.Storage.RetentionDays = 60; return nil }); err != nil || b.s.Get() != now || len(b.log.recs) != 0 {
		t.Errorf("no change: %v, %v", err, b.log.recs)
	}
	refused := errors.New("refused")
	if _, _, err := b.s.Change(amy, func(d *Doc) error { d.Storage.RetentionDays = 1; return refused }); !errors.Is(err, refused) || b.s.Get() != now {
		t.Errorf("refused: %v", err)
	}
	b.log.err = errors.New("disk full")
	if _, _, err := b.s.Change(amy, func(d *Doc) error { d.Storage.RetentionDays = 1; return nil }); err == nil || b.s.Get() != now {
		t.Errorf("changed without a record: %v", err)
	}
	b.log.err = nil

	b.mem.Crash()
	b.mem.Restart()
	b.open()
	got := b.s.Get()
	if g := got.Camera(c.ID); got.Version != 2 || g.Password.Reveal() != "cam-Secret-2" || g.Name != "Gate" || got.Retention(g) != 60 {
		t.Errorf("after a restart: %+v", got)
	}
	file, _ := durable.ReadFile(b.mem, "settings.doc", 1<<20)
	if bytes.Contains(file, []byte("cam-Secret")) || bytes.Contains(file, []byte("192.0.2")) {
		t.Error("settings are in the clear")
	}
}

func TestRemove(t *testing.T) {
	b := newBench(t)
	c := camera("Door")
	b.add(c)
	b.log.take()
	if _, _, err := b.s.Change(amy, func(d *Doc) error { d.Camera(c.ID).Remove("amy", time.Unix(2e9, 0)); return nil }); err != nil {
		t.Fatal(err)
	}
	b.open()
	g := b.s.Get().Camera(c.ID)
	if !g.Gone() || !g.Password.IsZero() || g.User != "" || g.Streams[0].URL != "" || g.Recording.On || g.Name != "Door" {
		t.Errorf("%+v", g)
	}
	if cam, s := b.s.Get().Stream(c.Streams[0].ID); cam == nil || s == nil {
		t.Error("its stream has no name any more")
	}
	b.add(camera("Door")) // the name is free again
	if _, _, err := b.s.Change(amy, func(d *Doc) error { d.Cameras = d.Cameras[1:]; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(b.log.take()); got != "[camera.remove Door ok camera.add Door ok recording.on Door ok camera.forget Door ok]" {
		t.Error(got)
	}
}

// Each mistake is found, and all together.
func TestMistakes(t *testing.T) {
	long := strings.Repeat("x", 300)
	bad := -1
	for _, c := range []struct {
		name string
		fn   func(d *Doc, c *Camera)
		want string
	}{
		{"fine", func(d *Doc, c *Camera) {}, ""},
		{"language", func(d *Doc, c *Camera) { d.Language = "fr" }, "/language: one-of"},
		{"zone", func(d *Doc, c *Camera) { d.TimeZone = "Mars/Olympus" }, "/timeZone: time-zone"},
		{"zone as a path", func(d *Doc, c *Camera) { d.TimeZone = "../../etc/passwd" }, "/timeZone: time-zone"},
		{"storage", func(d *Doc, c *Camera) {
			d.Storage = Storage{RetentionDays: -1, ReservePercent: 10, LowSpacePercent: 10, ReserveBytes: 5, LowSpaceBytes: 5}
		},
			"/storage/retentionDays: out-of-range; /storage/lowSpacePercent: low-space-unreachable; /storage/lowSpaceBytes: low-space-unreachable"},
		{"no name, long user", func(d *Doc, c *Camera) { c.Name, c.User = " ", long }, "/cameras/0/name: required; /cameras/0/user: too-long"},
		{"line break in a name", func(d *Doc, c *Camera) { c.Name = "a\nb" }, "/cameras/0/name: not-printable"},
		{"turned text", func(d *Doc, c *Camera) { c.Name = "a\u202eb" }, "/cameras/0/name: not-printable"},
		{"password", func(d *Doc, c *Camera) { c.Password = wire.NewSecret(long) }, "/cameras/0/password: too-long"},
		{"password with a line", func(d *Doc, c *Camera) { c.Password = wire.NewSecret("a\r\nb") }, "/cameras/0/password: not-printable"},
		{"transport, link", func(d *Doc, c *Camera) { c.Transport, c.Link = "sctp", "tls" }, "/cameras/0/transport: one-of; /cameras/0/link: one-of"},
		{"pin missing", func(d *Doc, c *Camera) { c.Link, c.Streams[0].URL = wire.LinkPin, "rtsps://h/" }, "/cameras/0/pin: pin-needed"},
		{"pin short", func(d *Doc, c *Camera) { c.Link, c.Streams[0].URL, c.Pin = wire.LinkPin, "rtsps://h/", []byte{1} }, "/cameras/0/pin: pin-needed"},
		{"pin too much", func(d *Doc, c *Camera) { c.Pin = make([]byte, 32) }, "/cameras/0/pin: not-with-link"},
		{"ca missing", func(d *Doc, c *Camera) { c.Link, c.Streams[0].URL = wire.LinkCA, "rtsps://h/" }, "/cameras/0/ca: ca-needed"},
		{"ca bad", func(d *Doc, c *Camera) { c.Link, c.Streams[0].URL, c.CA = wire.LinkCA, "rtsps://h/", "hello" }, "/cameras/0/ca: ca-bad"},
		{"no stream", func(d *Doc, c *Camera) { c.Streams = nil }, "/cameras/0/streams: streams"},
		{"second first", func(d *Doc, c *Camera) { c.Streams[0].Kind = Second }, "/cameras/0/streams: streams"},
		{"nothing recorded", func(d *Doc, c *Camera) { c.Streams[0].Recorded = false }, "/cameras/0/streams/0/recorded: none-recorded"},
		{"same twice", func(d *Doc, c *Camera) {
			c.Streams = append(c.Streams, Stream{media.StreamID(media.NewID[struct{}]()), Second, c.Streams[0].URL, false})
		},
			"/cameras/0/streams/1/url: streams-same; /cameras/0/streams/1/url: address-used"},
		{"days", func(d *Doc, c *Camera) { c.RetentionDays = &bad }, "/cameras/0/retentionDays: out-of-range"},
		{"name and address used", func(d *Doc, c *Camera) {
			d.Cameras = append(d.Cameras, camera("DOOR"))
			d.Cameras[1].Streams[0].URL = c.Streams[0].URL
		},
			"/cameras/1/name: name-used; /cameras/1/streams/0/url: address-used"},
		{"id used", func(d *Doc, c *Camera) { x := camera("Gate"); x.ID = c.ID; d.Cameras = append(d.Cameras, x) }, "/cameras/1/id: wrong-type"},
		{"too many", func(d *Doc, c *Camera) {
			for i := range MaxCameras {
				d.Cameras = append(d.Cameras, camera(fmt.Sprint("C", i)))
			}
		}, "/cameras: too-many-cameras"},
	} {
		b := newBench(t)
		b.add(camera("Door"))
		before := b.s.Get()
		_, _, err := b.s.Change(amy, func(d *Doc) error { c.fn(d, &d.Cameras[0]); return nil })
		got := ""
		var m text.Mistakes
		if errors.As(err, &m) {
			got = m.Error()
			for _, x := range m {
				if !text.Has("mistake." + x.Code) {
					t.Errorf("no text for %s", x.Code)
				}
			}
		}
		if got != c.want || c.want != "" && b.s.Get() != before {
			t.Errorf("%s:\n got %s\nwant %s (%v)", c.name, got, c.want, err)
		}
	}
}

func TestCheckURL(t *testing.T) {
	for address, want := range map[string]string{
		"rtsp://192.0.2.1/s": "", "rtsp://[2001:db8::1]:8554/s?x=1": "", "rtsp://cam.local": "",
		"": "required", "rtsps://192.0.2.1/": "url-link", "http://192.0.2.1/": "url-scheme", "file:///etc/passwd": "url-scheme", "192.0.2.1": "url-scheme",
		"rtsp://u:p@192.0.2.1/": "url-credentials", "rtsp://u:p#w@192.0.2.1/": "url-credentials", "rtsp:///s": "url-bad", "rtsp:s": "url-bad", "rtsp://h:0/": "url-bad", "rtsp://h:99999/": "url-bad",
		"rtsp://h/ s": "url-bad", "rtsp://h/\x00": "url-bad", "rtsp://h/#f": "url-bad", "rtsp://h/" + strings.Repeat("x", 3000): "url-bad",
		"-rtsp://h/": "url-bad", "rtsp://h/\r\nX: y": "url-bad", "rtsp://h/#": "url-bad", "rtsp://例え.jp/": "url-ascii", "rtsp://h/攝影機": "url-ascii",
	} {
		if got := CheckURL(address, wire.LinkPlain); got != want {
			t.Errorf("%.40q: %q, want %q", address, got, want)
		}
	}
	// What passes here is what a worker takes.
	c := camera("Door")
	spec := c.Spec(c.Main())
	if err := spec.Check(); err != nil {
		t.Error(err)
	}
}

func TestSaveFails(t *testing.T) {
	for _, fault := range []durable.Fault{durable.Refused, durable.AppliedThenError, durable.CrashBefore, durable.CrashAfter} {
		for step := 0; ; step++ {
			b := newBench(t)
			b.add(camera("Door"))
			b.mem.Inject(durable.Rule{Skip: step, Fault: fault, Err: unix.EIO})
			b.log.take()
			_, _, err := b.s.Change(amy, func(d *Doc) error { d.Storage.RetentionDays = 99; return nil })
			if recs := b.log.take(); err != nil && (len(recs) != 2 || !strings.HasSuffix(recs[1], "failed") || b.s.Get().Storage.RetentionDays == 99) {
				t.Fatalf("fault %d, step %d: recorded %v", fault, step, recs)
			}
			reached := b.mem.Hits() > 0
			b.mem.Restart()
			b.open()
			if got := b.s.Get(); err == nil && got.Storage.RetentionDays != 99 || len(got.Cameras) != 1 {
				t.Fatalf("fault %d, step %d: %v: %+v", fault, step, err, got)
			}
			if !reached {
				break
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	b := newBench(t)
	b.add(camera("Door"))
	o := Options{FS: b.mem, Name: "settings.doc", Key: seal.NewKey(), Audit: b.log}
	if _, err := Open(o); !errors.Is(err, document.ErrDamaged) {
		t.Errorf("another key: %v", err)
	}
	o.Key = b.key
	newer := b.s.file
	newer.Version = 2
	newer.Save(map[string]any{"future": 1})
	if _, err := Open(o); !errors.Is(err, document.ErrNewer) {
		t.Errorf("newer: %v", err)
	}
	b.s.file.Save(map[string]any{"unknown": 1})
	if _, err := Open(o); !errors.Is(err, document.ErrDamaged) {
		t.Errorf("unknown field: %v", err)
	}
}

// Many may change at once: none is lost.
func TestConcurrentChanges(t *testing.T) {
	b := newBench(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, _, err := b.s.Change(amy, func(d *Doc) error { d.Storage.RetentionDays++; return nil }); err != nil {
				t.Error(err)
			}
			b.s.Get()
		})
	}
	wg.Wait()
	if d := b.s.Get(); d.Storage.RetentionDays != 50 || d.Version != 20 {
		t.Errorf("%+v", d)
	}
}

// A camera from before, which a later Vigil would refuse, does not stand in the
// way of other changes, and is refused when it is itself changed.
func TestStricterThanBefore(t *testing.T) {
	b := newBench(t)
	old := camera("Door")
	old.Streams[0].URL = "rtsp://例え.jp/"
	doc := *b.s.Get()
	doc.Cameras = []Camera{old}
	if err := b.s.file.Save(doc.stored()); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.add(camera("Gate"))
	if n := len(b.s.Get().Cameras); n != 2 {
		t.Errorf("%d cameras", n)
	}
	var m text.Mistakes
	if _, _, err := b.s.Change(amy, func(d *Doc) error { d.Cameras[0].Audio = true; return nil }); !errors.As(err, &m) || m.Error() != "/cameras/0/streams/0/url: url-ascii" {
		t.Errorf("%v", err)
	}
	if _, _, err := b.s.Change(amy, func(d *Doc) error { d.Cameras[0].Remove("amy", time.Unix(1e9, 0)); return nil }); err != nil {
		t.Error(err)
	}
}
