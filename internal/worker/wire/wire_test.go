package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"vigil/internal/media"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	camera, _ = media.ParseID[camTag]("0123456789abcdefghijklmno0")
	stream, _ = media.ParseID[strTag]("vutsrqponmlkjihgfedcba9870")
)

// Names for the type parameters that media keeps to itself: an ID converts.
type (
	camTag struct{}
	strTag struct{}
)

func testSpec() Spec {
	return Spec{
		Camera: media.CameraID(camera), Stream: media.StreamID(stream),
		URL: "rtsps://camera.example:322/stream?channel=1&subtype=0", User: "admin", Password: NewSecret("p<ä>\"\u2028"),
		Transport: Auto, Link: LinkPin, Pin: bytes.Repeat([]byte{0xab}, 32), Audio: true, LegacyMD5: true,
	}
}

var testTracks = []media.Track{
	{Number: 1, Codec: media.H264, Codecs: "avc1.64001f", Config: []byte{1, 100, 0, 31}, Width: 1920, Height: 1080},
	{Number: 2, Codec: media.PCMU, SampleRate: 8000, Channels: 1},
}

// messages has one of each, with every field set.
func messages() []Message {
	return []Message{
		&Start{testSpec()},
		&Probe{testSpec()},
		&Stop{},
		&Ping{7},
		&Pong{7},
		&Names{[]netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[2001:db8::1%eth0]:53")}},
		&Hello{4711, []Guard{{"landlock", true, "no file but 3"}, {"seccomp", false, "not in this kernel"}}},
		&Status{Waiting, Note{"auth-failed", map[string]string{"user": "admin", "realm": "<b>"}}, nil},
		&Status{State: Live},
		&Status{State: Live, Notes: []Note{{"audio-left-out", map[string]string{"what": "MP4A-LATM"}}, {Code: "tcp-refused"}}},
		&Tracks{testTracks},
		&Probed{testTracks, 12.5, 4_100_000, []byte{0, 0, 0, 1, 0x65}, []Note{{Code: "no-sound"}}, LinkPin,
			&Certificate{bytes.Repeat([]byte{7}, 32), "CN=cam", "CN=maker", []string{"cam.local"}, 1, 2}, &Note{Code: "no-video"}},
		&Log{4, "packet is malformed", []Attr{{"track", "1"}}},
		&Fell{"index out of range", []string{"camera.(*x).y", "a.go:3"}},
	}
}

func number(m Message) uint32 {
	if kinds[m.Kind()].named == 0 {
		return 0
	}
	return 3
}

func testUnits() []media.Unit {
	return []media.Unit{
		{Track: 1, RandomAccess: true, DTS: 153000000000000, CTO: 3600, Arrived: 1700000000000000001, Camera: 1700000000000000000, Data: []byte{0, 0, 0, 2, 0x65, 1}},
		{Track: 1, DTS: 153000000003600, Arrived: 1700000000040000001, Data: []byte{0, 0, 0, 1, 0x41}},
		{Track: 2, RandomAccess: true, DTS: 153000000000007, Arrived: 1700000000050000001, Data: []byte{0xd5}},
	}
}

func appendBatch(dst []byte, stream uint32, new media.Cause, lost uint32, units []media.Unit) []byte {
	payload := 0
	for _, u := range units {
		payload += len(u.Data)
	}
	dst = AppendBatch(dst, stream, BatchHead{len(units), new, lost, payload})
	for _, u := range units {
		dst = AppendRow(dst, &u)
	}
	for _, u := range units {
		dst = append(dst, u.Data...)
	}
	return dst
}

func TestMessages(t *testing.T) {
	for _, m := range messages() {
		b, err := Append(nil, number(m), m)
		if err != nil {
			t.Errorf("%v: %v", m.Kind(), err)
			continue
		}
		r := NewReader(bytes.NewReader(b), m.Kind().FromWorker())
		h, err := r.Next()
		if err != nil || h.Type != m.Kind() || h.Stream != number(m) {
			t.Errorf("%v: header %v, %v", m.Kind(), h, err)
		}
		got := reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
		if err := r.Message(got); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("append, then read:\n got %+v, %v\nwant %+v", got, err, m)
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%v: after the frame: %v", m.Kind(), err)
		}
		if _, err := NewReader(bytes.NewReader(b), !m.Kind().FromWorker()).Next(); !errors.Is(err, ErrFrame) {
			t.Errorf("%v from the wrong side: %v", m.Kind(), err)
		}
	}
}

// shapes are the digests of the golden file of each version. An entry is never changed: other
// frames are another version, for which a new one is added (docs/format/wire.md).
var shapes = map[byte]string{
	2: "4a491bfa5f2a7591188dc1d0950a32fab0b3846ddd147f27ff19a0e38a34240f",
}

// TestGolden pins every frame to the version: a change without a new one fails, whatever the
// golden file says.
func TestGolden(t *testing.T) {
	var got bytes.Buffer
	dump := func(b []byte) {
		if b[4] == byte(TypeBatch) {
			fmt.Fprintf(&got, "%x\n", b)
			return
		}
		fmt.Fprintf(&got, "%x %s\n", b[:HeaderSize], b[HeaderSize:])
	}
	for _, m := range messages() {
		b, err := Append(nil, number(m), m)
		if err != nil {
			t.Fatal(err)
		}
		dump(b)
	}
	dump(appendBatch(nil, 3, media.CameraStart, 9, testUnits()))
	const file = "testdata/frames.golden"
	if *update {
		os.MkdirAll("testdata", 0o755)
		os.WriteFile(file, got.Bytes(), 0o644)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(got.Bytes())); got != shapes[magic[3]] {
		t.Errorf("these are not the frames of version %d: raise it in magic, and add the digest %s to shapes", magic[3], got)
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("frames differ from %s (%v); raise the version and run with -update\n%s", file, err, got.Bytes())
	}
}

func TestBatch(t *testing.T) {
	for _, c := range causes {
		units := testUnits()
		frame := appendBatch(nil, 5, c, 2, units)
		r := NewReader(bytes.NewReader(frame), true)
		if h, err := r.Next(); err != nil || h.Stream != 5 {
			t.Fatal(h, err)
		}
		b, err := r.Batch()
		if err != nil {
			t.Fatal(err)
		}
		b.Tracks = &media.Tracks{List: testTracks}
		if b.New != c || b.Lost != 2 || !reflect.DeepEqual(b.Units, units) || b.Check() != nil {
			t.Errorf("append, then read: %q %d %+v, %v", b.New, b.Lost, b.Units, b.Check())
		}
		if &b.Units[0].Data[0] != &b.Payload()[0] {
			t.Error("units are not parts of the payload")
		}
		b.Release()
	}
}

// TestRefused has what a worker may try, each a frame that was right but for
// one thing.
func TestRefused(t *testing.T) {
	batch := appendBatch(nil, 5, "", 0, testUnits())
	patch := func(at int, v ...byte) []byte {
		b := bytes.Clone(batch)
		copy(b[at:], v)
		return b
	}
	control := func(typ Type, stream uint32, body string) []byte {
		return append(Header{typ, stream, uint32(len(body))}.Append(nil), body...)
	}
	tests := []struct {
		name  string
		frame []byte
	}{
		{"magic", patch(0, 'X')},
		{"version", patch(3, 1)},
		{"type", patch(4, 99)},
		{"type of the core", patch(4, byte(TypeStart))},
		{"reserved", patch(6, 1)},
		{"no stream", patch(8, 0, 0, 0, 0)},
		{"body too long", patch(12, 0xff)},
		{"body shorter than the head", append(Header{TypeBatch, 5, 3}.Append(nil), 1, 2, 3)},
		{"no units", patch(16, 0, 0)},
		{"too many units", patch(16, 0xff, 0xff)},
		{"unknown cause", patch(18, 200)},
		{"cause that is the core's", patch(18, byte(len(causes)))},
		{"reserved in the head", patch(19, 1)},
		{"payload longer than the body", patch(24, 0, 0, 1)},
		{"flags", patch(33, 2)},
		{"reserved in the row", patch(34, 1)},
		{"unit longer than the payload", patch(36, 0x7f)},
		{"units shorter than the payload", patch(39, 1)},
		{"hello for a stream", control(TypeHello, 1, `{"pid":1,"jail":null}`)},
		{"unknown field", control(TypePong, 0, `{"seq":1,"x":1}`)},
		{"missing field", control(TypePong, 0, `{}`)},
		{"repeated field", control(TypePong, 0, `{"seq":1,"seq":1}`)},
		{"other spelling", control(TypePong, 0, `{"Seq":1}`)},
		{"white space", control(TypePong, 0, `{"seq": 1}`)},
		{"two values", control(TypePong, 0, `{"seq":1}{}`)},
		{"no JSON", control(TypePong, 0, `seq`)},
		{"nothing", control(TypePong, 0, ``)},
		{"pid", control(TypeHello, 0, `{"pid":0,"jail":null}`)},
		{"state", control(TypeStatus, 1, `{"state":"fine"}`)},
		{"code", control(TypeStatus, 1, `{"state":"live","why":{"code":"a b"}}`)},
		{"argument that does not print", control(TypeStatus, 1, `{"state":"live","why":{"code":"a","args":{"k":"\u202e"}}}`)},
		{"sound first", control(TypeTracks, 1, `{"list":[{"number":1,"codec":"PCMU","codecs":"","sampleRate":8000,"channels":1}]}`)},
		{"no tracks", control(TypeTracks, 1, `{"list":null}`)},
		{"log of two lines", control(TypeLog, 0, `{"level":0,"message":"a\nb"}`)},
		{"log of no line", control(TypeLog, 0, `{"level":0,"message":""}`)},
	}
	for _, test := range tests {
		if _, err := readOne(test.frame, true); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	for n := range batch {
		_, err := readOne(batch[:n], true)
		if want := map[bool]error{true: io.EOF, false: io.ErrUnexpectedEOF}[n == 0]; err != want {
			t.Errorf("cut after %d bytes: %v, want %v", n, err, want)
		}
	}
}

// readOne reads the first frame of b and returns what writing it again gives.
func readOne(b []byte, fromWorker bool) (again []byte, err error) {
	r := NewReader(bytes.NewReader(b), fromWorker)
	h, err := r.Next()
	if err != nil {
		return nil, err
	}
	if h.Type == TypeBatch {
		b, err := r.Batch()
		if err != nil {
			return nil, err
		}
		defer b.Release()
		return appendBatch(nil, h.Stream, b.New, b.Lost, b.Units), nil
	}
	for _, m := range messages() {
		if m.Kind() == h.Type {
			m = reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message)
			if err := r.Message(m); err != nil {
				return nil, err
			}
			return Append(nil, h.Stream, m)
		}
	}
	return nil, errors.New("type without a message")
}

func TestSpecCheck(t *testing.T) {
	pem := []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
	tests := []struct {
		name string
		turn func(*Spec)
		ok   bool
	}{
		{"as it is", func(*Spec) {}, true},
		{"plain", func(s *Spec) { s.URL, s.Link, s.Pin = "rtsp://192.0.2.1/", LinkPlain, nil }, true},
		{"plain over TLS", func(s *Spec) { s.Link, s.Pin = LinkPlain, nil }, false},
		{"TLS over plain", func(s *Spec) { s.URL = "rtsp://192.0.2.1/" }, false},
		{"own authority", func(s *Spec) { s.Link, s.Pin, s.CA = LinkCA, nil, pem }, true},
		{"no authority", func(s *Spec) { s.Link, s.Pin = LinkCA, nil }, false},
		{"authority is no PEM", func(s *Spec) { s.Link, s.Pin, s.CA = LinkCA, nil, []byte("x") }, false},
		{"authority too long", func(s *Spec) { s.Link, s.Pin, s.CA = LinkCA, nil, append(pem, make([]byte, MaxCA)...) }, false},
		{"short pin", func(s *Spec) { s.Pin = s.Pin[1:] }, false},
		{"pin without reason", func(s *Spec) { s.Link = LinkInsecure }, false},
		{"no camera", func(s *Spec) { s.Camera = media.CameraID{} }, false},
		{"password in the address", func(s *Spec) { s.URL = "rtsps://u:hunter2@192.0.2.1/" }, false},
		{"other scheme", func(s *Spec) { s.URL = "file:///etc/passwd" }, false},
		{"no host", func(s *Spec) { s.URL = "rtsps:///x" }, false},
		{"line end", func(s *Spec) { s.URL += "\r\nX: y" }, false},
		{"transport", func(s *Spec) { s.Transport = "pigeon" }, false},
		{"user", func(s *Spec) { s.User = "a\nb" }, false},
		{"password", func(s *Spec) { s.Password = NewSecret("\xff") }, false},
		{"long password", func(s *Spec) { s.Password = NewSecret(strings.Repeat("x", 257)) }, false},
	}
	for _, test := range tests {
		s := testSpec()
		test.turn(&s)
		err := s.Check()
		if (err == nil) != test.ok {
			t.Errorf("%s: %v", test.name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password", test.name)
		}
	}
}

// TestSecret tries the ways in which a password has ended up in a log.
func TestSecret(t *testing.T) {
	const word = "hunter2"
	s := testSpec()
	s.Password = NewSecret(word)
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+verb, s, &s, Start{s}, s.Password)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "spec", s, "password", s.Password)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "spec", s, "password", s.Password)
	for _, v := range []any{s, &s, Start{s}, &Start{s}, s.Password} {
		b, err := json.Marshal(v)
		if err == nil {
			t.Errorf("%T marshals", v)
		}
		out.Write(b)
	}
	if strings.Contains(out.String(), word) || strings.Contains(out.String(), fmt.Sprintf("%x", word)) {
		t.Errorf("the password is in:\n%s", out.String())
	}
}

func TestClean(t *testing.T) {
	tests := []struct {
		in   string
		n    int
		want string
	}{
		{"plain", 10, "plain"},
		{"攝影機", 9, "攝影機"},
		{"攝影機", 8, "攝影"},
		{"a\nb\x00\u202e\xff", 20, "a\uFFFDb\uFFFD\uFFFD\uFFFD"},
		{strings.Repeat("x", 100000), 3, "xxx"},
	}
	for _, test := range tests {
		if got := Clean(test.in, test.n); got != test.want {
			t.Errorf("Clean(%q, %d) = %q", test.in, test.n, got)
		}
	}
}

// FuzzFromWorker is the core's side: whatever a worker writes, the reader
// neither panics nor takes what Append would have written differently.
func FuzzFromWorker(f *testing.F) { fuzz(f, true) }

// FuzzFromCore is the worker's side.
func FuzzFromCore(f *testing.F) { fuzz(f, false) }

func fuzz(f *testing.F, fromWorker bool) {
	for _, m := range messages() {
		if b, err := Append(nil, number(m), m); err == nil && m.Kind().FromWorker() == fromWorker {
			f.Add(b)
		}
	}
	if fromWorker {
		f.Add(appendBatch(nil, 1, media.CameraStart, 1, testUnits()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		again, err := readOne(b, fromWorker)
		if err == nil && !bytes.Equal(again, b[:len(again)]) {
			t.Errorf("read, then append:\n got %x\nwant %x", again, b)
		}
		if err != nil && !errors.Is(err, ErrFrame) && err != io.EOF && err != io.ErrUnexpectedEOF {
			t.Errorf("unnamed error: %v", err)
		}
	})
}

// FuzzClean shows that what is clean may be sent.
func FuzzClean(f *testing.F) {
	f.Add("a\xffb", 5)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = max(0, min(n, 512))
		got := Clean(s, n)
		if !text(got, n) || Clean(got, n) != got {
			t.Errorf("Clean(%q, %d) = %q", s, n, got)
		}
	})
}

// TestBatchAllocatesNothing holds for both sides in the steady state.
func TestBatchAllocatesNothing(t *testing.T) {
	units := testUnits()
	frame := appendBatch(nil, 1, "", 0, units)
	buf := make([]byte, 0, len(frame))
	if n := testing.AllocsPerRun(100, func() { buf = appendBatch(buf[:0], 1, "", 0, units) }); n > 0 {
		t.Errorf("writing a batch allocates %v times", n)
	}
	src := new(bytes.Reader)
	r := NewReader(src, true)
	n := testing.AllocsPerRun(100, func() {
		src.Reset(frame)
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		b, err := r.Batch()
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
	})
	if n > 0 && !raceEnabled { // a race build's sync.Pool throws things away on purpose
		t.Errorf("reading a batch allocates %v times", n)
	}
}
