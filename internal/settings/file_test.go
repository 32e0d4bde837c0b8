package settings

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"vigil/internal/document"
	"vigil/internal/layout"
	"vigil/internal/media"
	"vigil/internal/seal"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

const phrase = "Lantern-Harbour-42"

// The file of docs/format/settings-file.md, made by Python (hashlib.pbkdf2_hmac, AESGCM of
// cryptography), opens for ever.
func TestFileGolden(t *testing.T) {
	b, err := os.ReadFile("testdata/golden.vigil")
	if err != nil {
		t.Fatal(err)
	}
	if key := seal.Stretch(phrase, b[14:30], seal.MinRounds); hex.EncodeToString(key) != "3a2caf3b1bc19dc5b2045414d0007378a87cadfcf849b785a3e2298fb56590e3" {
		t.Errorf("key %x", key)
	}
	f, err := OpenFile(b, phrase)
	if err != nil {
		t.Fatal(err)
	}
	c := f.Doc.Camera(media.CameraID(bytes.Repeat([]byte{1}, 16)))
	if c == nil || c.Name != "Yard 後院" || c.Password.Reveal() != "cam-Secret-1" || *c.RetentionDays != 7 || f.Doc.Storage.RetentionDays != 45 || f.Layouts["amy"][0].Name != "All" || !f.Made.Equal(time.Date(2026, 11, 24, 5, 58, 0, 0, time.UTC)) {
		t.Errorf("%+v", f)
	}
	// Each byte that is altered is noticed, and none but by the check sum: no passphrase is tried on it.
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if err := CheckFile(bad); !errors.Is(err, ErrDamaged) && (i >= 8 || !errors.Is(err, ErrNotFile)) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	if _, err := OpenFile(b, phrase+"x"); !errors.Is(err, ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	for _, x := range []struct {
		at   int
		to   []byte
		want error
	}{
		{8, []byte{2}, document.ErrNewer}, {9, []byte{2}, document.ErrNewer}, {8, []byte{0}, ErrDamaged},
		{10, binary.BigEndian.AppendUint32(nil, 1000), ErrDamaged}, {10, binary.BigEndian.AppendUint32(nil, 1<<31), ErrDamaged},
	} {
		bad := bytes.Clone(b)
		copy(bad[x.at:], x.to)
		sum := sha256.Sum256(bad[:len(bad)-32])
		copy(bad[len(bad)-32:], sum[:])
		if _, err := OpenFile(bad, phrase); !errors.Is(err, x.want) {
			t.Errorf("%v at %d: %v", x.to, x.at, err)
		}
	}
	for _, n := range []int{0, 7, 8, minFile - 1} {
		if CheckFile(b[:n]) == nil {
			t.Errorf("%d bytes", n)
		}
	}
	if err := CheckFile(append(bytes.Clone(b), make([]byte, MaxFile)...)); !errors.Is(err, ErrDamaged) {
		t.Errorf("too large: %v", err)
	}
}

func TestFile(t *testing.T) {
	b := newBench(t)
	one, two, gone := camera("One"), camera("Two"), camera("Gone")
	demo := camera("Demo")
	demo.Demo = true
	for _, c := range []Camera{one, two, gone, demo} {
		b.add(c)
	}
	b.do(func(d *Doc) { d.Camera(gone.ID).Remove("amy", time.Unix(2e9, 0)) })
	layouts := map[string][]layout.Layout{"amy": {{ID: media.CameraID{3}.String(), Name: "All", Cameras: []media.CameraID{one.ID}}}}
	sealed, err := NewFile(b.s.Get(), layouts, time.Unix(2e9, 5)).Seal(phrase, seal.MinRounds)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"192.0.2", "cam-Secret", "One", "amy", "Taipei"} {
		if bytes.Contains(sealed, []byte(s)) {
			t.Errorf("%s is in the clear", s)
		}
	}
	f, err := OpenFile(sealed, phrase)
	if err != nil || len(f.Doc.Cameras) != 2 || f.Doc.Cameras[1].Password.Reveal() != "cam-Secret-1" || len(f.Layouts["amy"]) != 1 || f.Made.Unix() != 2e9 {
		t.Fatalf("%v: %+v", err, f)
	}
	if c, _, err := b.s.Plan(bob, f); err != nil || len(c.Edits) != 0 {
		t.Errorf("nothing changed, and %+v, %v", c.Edits, err)
	}

	// Here the settings go on; then the file is brought back.
	b.do(func(d *Doc) {
		d.Storage.RetentionDays = 99
		c := d.Camera(one.ID)
		c.Name, c.Password, c.Streams[0].URL, c.Recording = "Uno", wire.NewSecret("cam-Secret-2"), "rtsp://192.0.2.9/One", Recording{By: "amy", Since: time.Unix(2e9, 0)}
		d.Camera(two.ID).Remove("amy", time.Unix(2e9, 0))
	})
	b.add(camera("Three")) // the file does not know it: it stays
	c, version, err := b.s.Plan(bob, f)
	if err != nil || version != b.s.Get().Version || len(c.Edits) != 6 {
		t.Fatalf("%v: %+v", err, c.Edits)
	}
	if _, err := b.s.Import(bob, f, version-1); !errors.Is(err, ErrVersion) {
		t.Errorf("another version: %v", err)
	}
	was := b.s.Get()
	b.log.take()
	done, err := b.s.Import(bob, f, version)
	d := b.s.Get()
	if err != nil || len(done.Edits) != 6 || !done.File.Equal(f.Made) || d.Storage.RetentionDays != 30 || len(d.Cameras) != 5 {
		t.Fatalf("%v: %+v", err, done)
	}
	for _, x := range []*Camera{d.Camera(one.ID), d.Camera(two.ID)} {
		if x.Gone() || x.Password.Reveal() != "cam-Secret-1" || !x.Recording.On || x.Recording.By != "bob" {
			t.Errorf("%+v", x)
		}
	}
	if r := b.log.recs; len(r) != 5 || r[0].Detail["file"] != "2033-05-18T03:33:20Z" {
		t.Errorf("recorded %+v", r)
	}
	b.undo(done.Version)
	d = b.s.Get()
	if x := d.Camera(one.ID); x.Name != "Uno" || x.Password.Reveal() != "cam-Secret-2" || x.Recording.On || !d.Camera(two.ID).Gone() || d.Storage != was.Storage {
		t.Errorf("undone: %+v", x)
	}
}

// On a new machine cameras that were entered already are the same ones by their
// address, and what cannot be said of two cameras is refused by name.
func TestFileElsewhere(t *testing.T) {
	b := newBench(t)
	f := &File{Made: time.Unix(1e9, 0), Doc: *b.s.Get().clone()}
	one, two := camera("One"), camera("Two")
	f.Doc.Cameras = []Camera{one, two}
	f.Doc.Cameras[0].Password = wire.NewSecret("of the file")
	here := camera("Entered here")
	here.Streams[0].URL = one.Streams[0].URL
	b.add(here)
	if _, err := b.s.Import(bob, f, b.s.Get().Version); err != nil {
		t.Fatal(err)
	}
	d := b.s.Get()
	if len(d.Cameras) != 2 || d.Cameras[0].ID != here.ID || d.Cameras[0].Streams[0].ID != here.Streams[0].ID || d.Cameras[0].Name != "One" || d.Cameras[0].Password.Reveal() != "of the file" || d.Cameras[1].ID != two.ID {
		t.Errorf("%+v", d.Cameras)
	}
	f.Doc.Cameras = []Camera{camera("two")}
	f.Doc.Cameras[0].Streams[0].URL = "rtsp://192.0.2.77/"
	_, _, err := b.s.Plan(bob, f)
	var m text.Mistakes
	if !errors.As(err, &m) || m[0].Code != "name-used" || m[0].Args["camera"] != "two" {
		t.Errorf("%v", err)
	}
}

func TestFileTooLarge(t *testing.T) {
	f := &File{}
	for range 40 {
		c := camera("x")
		c.CA = strings.Repeat("x", wire.MaxCA)
		f.Doc.Cameras = append(f.Doc.Cameras, c)
	}
	if _, err := f.Seal(phrase, seal.MinRounds); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v", err)
	}
}

// What is not sealed of a file parses to what it was made of, or not at all.
func FuzzFileFrame(f *testing.F) {
	if b, err := os.ReadFile("testdata/golden.vigil"); err == nil {
		f.Add(b)
	}
	f.Add([]byte(fileMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, summed(b)} { // with a right check sum too, to come past it
			h, sealed, err := parseFile(b)
			if err != nil {
				continue
			}
			if h.rounds < seal.MinRounds || h.rounds > maxRounds {
				t.Errorf("%d rounds", h.rounds)
			}
			if got := summed(append(append(h.append(nil), sealed...), make([]byte, 32)...)); !bytes.Equal(got, b) {
				t.Errorf("parse, then append:\n got %x\nwant %x", got, b)
			}
		}
	})
}

// summed is b with the check sum that belongs at its end.
func summed(b []byte) []byte {
	if len(b) < 32 {
		return b
	}
	sum := sha256.Sum256(b[:len(b)-32])
	return append(bytes.Clone(b[:len(b)-32]), sum[:]...)
}

// What is inside may come from anybody who knows the passphrase: it is refused, or
// becomes settings that are in order and can be taken back.
func FuzzFileContent(f *testing.F) {
	f.Add([]byte(`{"made":"2026-11-24T05:58:00Z","settings":{"version":7,"language":"en","timeZone":"UTC","storage":{"reservePercent":5,"lowSpacePercent":8},"cameras":[]}}`))
	f.Add([]byte(`{"made":"2026-11-24T05:58:00Z","settings":{"language":"zh-TW","timeZone":"Asia/Taipei","storage":{"reservePercent":5,"lowSpacePercent":8},
		"cameras":[{"id":"040g2081040g2081040g208104","name":"Yard","streams":[{"id":"081040g2081040g2081040g208","kind":"main","url":"rtsp://192.0.2.7/","recorded":true}],"link":"plain","transport":"auto","recording":{"on":true},"added":"2026-11-01T00:00:00Z"}],
		"passwords":{"040g2081040g2081040g208104":"x"}},"layouts":{"amy":[]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseContent(b)
		if err != nil {
			return
		}
		w := newBench(t)
		w.add(camera("Here"))
		before := w.s.Get()
		if _, _, err := w.s.Plan(bob, got); err != nil {
			return
		}
		c, err := w.s.Import(bob, got, before.Version)
		if err != nil {
			t.Fatalf("planned, and not taken: %v", err)
		}
		if err := w.s.Get().Check(); err != nil {
			t.Errorf("taken, and wrong: %v", err)
		}
		w.open() // it can be read again
		if len(c.Edits) > 0 && !c.Lost {
			w.undo(c.Version)
		}
	})
}
