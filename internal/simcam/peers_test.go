package simcam

import (
	"bytes"
	"crypto/fips140"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"

	"vigil/internal/simcam/footage"
)

var allCodecs = []Stream{
	{Path: "h264", Source: "clock-small", Sound: "aac"},
	{Path: "h265", Source: "clock-h265-small", Sound: "alaw"},
	{Path: "mjpeg", Source: "clock-mjpeg", Sound: "ulaw"},
	{Path: "pyramid", Source: "pyramid", Sound: "opus"},
}

// withUser puts user and password into a URL.
func withUser(url, user, pass string) string {
	return strings.Replace(url, "://", "://"+user+":"+pass+"@", 1)
}

// ffprobe names all streams of a URL.
func ffprobe(t *testing.T, url string, args ...string) (l []string) {
	t.Helper()
	out := tool(t, "ffprobe", append(append([]string{"-v", "error", "-analyzeduration", "3000000", "-show_streams", "-of", "json"}, args...), url)...)
	var v struct {
		Streams []struct {
			Codec    string `json:"codec_name"`
			Width    int
			Rate     string `json:"sample_rate"`
			Channels int
		}
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	for _, s := range v.Streams {
		if s.Width > 0 {
			l = append(l, fmt.Sprint(s.Codec, " ", s.Width))
		} else {
			l = append(l, fmt.Sprint(s.Codec, " ", s.Rate, " ", s.Channels))
		}
	}
	return l
}

var allProbed = map[string][]string{
	"h264":    {"h264 320", "aac 48000 2"},
	"h265":    {"hevc 320", "pcm_alaw 8000 1"},
	"mjpeg":   {"mjpeg 320", "pcm_mulaw 8000 1"},
	"pyramid": {"h264 800", "opus 48000 2"},
}

func TestFFprobeReadsEveryCodecWithDigest(t *testing.T) {
	t.Parallel()
	c := start(t, Config{User: "admin", Password: "päss w", Streams: allCodecs})
	for path, want := range allProbed {
		if got := ffprobe(t, withUser(c.URL(path), "admin", "p%C3%A4ss%20w"), "-rtsp_transport", "tcp"); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	if got := ffprobe(t, withUser(c.URL("h264"), "admin", "p%C3%A4ss%20w"), "-rtsp_transport", "udp"); !slices.Equal(got, allProbed["h264"]) {
		t.Errorf("UDP: %v", got)
	}
}

func TestFFprobeReadsRTSPS(t *testing.T) {
	t.Parallel()
	c := start(t, Config{TLS: true, User: "admin", Password: "x", Streams: allCodecs})
	for _, path := range []string{"h264", "h265"} {
		if got := ffprobe(t, withUser(c.URL(path), "admin", "x"), "-rtsp_transport", "tcp"); !slices.Equal(got, allProbed[path]) {
			t.Errorf("%s: %v, want %v", path, got, allProbed[path])
		}
	}
}

func TestGStreamer(t *testing.T) {
	t.Parallel()
	for _, cfg := range []Config{{}, {TLS: true}, {SRTP: true}} {
		if cfg.SRTP && fips140.Enforced() {
			continue // SRTP authenticates with HMAC-SHA-1
		}
		cfg.User, cfg.Password, cfg.Streams = "admin", "x", []Stream{{Path: "v", Source: "clock-h265-small"}}
		c := start(t, cfg)
		tool(t, "gst-launch-1.0", "-q", "rtspsrc", "location="+c.URL("v"), "user-id=admin", "user-pw=x", "protocols=tcp", "tls-validation-flags=0",
			"!", "rtph265depay", "!", "h265parse", "!", "fakesink", "num-buffers=20")
	}
}

// The clock is read from decoded, scaled pictures, and the marks beside it say
// the same instant: for H.264 and H.265.
func TestClockAndMarksOfARecording(t *testing.T) {
	t.Parallel()
	c := start(t, Config{NoUDP: true, Streams: []Stream{{Path: "h264", Source: "clock"}, {Path: "h265", Source: "clock-h265-small"}}})
	for path, size := range map[string][2]int{"h264": {200, 150}, "h265": {160, 90}} {
		raw := filepath.Join(t.TempDir(), "raw."+path)
		format := map[string]string{"h264": "h264", "h265": "hevc"}[path]
		tool(t, "ffmpeg", "-v", "error", "-rtsp_transport", "tcp", "-i", c.URL(path), "-an", "-c", "copy", "-frames:v", "40", "-f", format, raw)
		b, err := os.ReadFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		marks := Marks(b)
		if len(marks) != 40 {
			t.Fatalf("%s: %d marks in 40 pictures", path, len(marks))
		}
		w, h := size[0], size[1]
		out := tool(t, "ffmpeg", "-v", "error", "-f", format, "-i", raw, "-fps_mode", "passthrough", "-vf", fmt.Sprintf("scale=%d:%d", w, h), "-pix_fmt", "gray", "-f", "rawvideo", "-")
		if len(out) != 40*w*h {
			t.Fatalf("%s: %d bytes of pictures, want 40", path, len(out))
		}
		sent := c.Feed(path).Sent(marks[0].Number)
		for i, m := range marks {
			at, ok := ReadClock(greyPicture([]byte(out[i*w*h:]), w, h))
			s := sent[i]
			if !ok || s.Number != m.Number || s.At != m.Sent.UnixMilli() || at.Milliseconds() != s.Clock || i == 0 && !s.Key || s.Readers != 1 {
				t.Fatalf("%s, picture %d: the clock shows %v, %v; the mark %+v; sent was %+v", path, i, at, ok, m, s)
			}
			// What was on air at the time of the mark is what the clock says; a slow
			// machine may send late, but never early.
			if late := (m.Sent.UnixMilli() - s.Clock + 60000) % 60000; late > 30000 {
				t.Errorf("%s: picture of %d ms in the minute sent %d ms too early", path, s.Clock, 60000-late)
			}
		}
	}
}

// Sound of the same source is the same bytes, loop after loop.
func TestSoundArrivesWhole(t *testing.T) {
	t.Parallel()
	c := start(t, Config{NoUDP: true, Streams: []Stream{{Path: "a", Source: "clock-small", Sound: "alaw"}}})
	r := play(t, c, "a", gortsplib.ProtocolTCP)
	count := func() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.sound) }
	eventually(t, "sound", func() bool { return count() > 60 })
	f, err := loadSound(footage.All, "alaw", "")
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(f.units, func(u unit) bool { return bytes.Equal(u.packets[0].payload, r.sound[0].Payload) })
	for k, p := range r.sound {
		if u := f.units[(i+k)%len(f.units)]; !bytes.Equal(p.Payload, u.packets[0].payload) || p.Timestamp != r.sound[0].Timestamp+uint32(k*160) || p.SequenceNumber != r.sound[0].SequenceNumber+uint16(k) {
			t.Fatalf("frame %d: sequence %d, stamp %d", k, p.SequenceNumber, p.Timestamp)
		}
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	for _, a := range []Auth{DigestMD5, DigestSHA256, DigestBoth, Basic} {
		if fips140.Enforced() && (a == DigestMD5 || a == DigestBoth) {
			continue // the test's reader cannot do MD5 then; ffprobe can
		}
		c := start(t, Config{NoUDP: true, User: "admin", Password: "x", Auth: a, Streams: []Stream{{Path: "v", Source: "clock-small"}}})
		r := play(t, c, "v", gortsplib.ProtocolTCP)
		c.SetPassword("admin", "y") // the session goes on, a new one is refused
		if _, err := tryPlay(t, c, "v", gortsplib.ProtocolTCP, nil); !isStatus(err, 401) {
			t.Errorf("%s: wrong password: %v", a, err)
		}
		r.pictures(t, c.Feed("v").nextNumber(), 2)
		if err := c.Command("calm"); err != nil {
			t.Error(err)
		}
		play(t, c, "v", gortsplib.ProtocolTCP)
	}
}

func isStatus(err error, code int) bool {
	var bad liberrors.ErrClientBadStatusCode
	return errors.As(err, &bad) && int(bad.Code) == code
}

func (f *Feed) nextNumber() uint64 { f.mu.Lock(); defer f.mu.Unlock(); return f.number }

func TestCertificate(t *testing.T) {
	t.Parallel()
	for _, srtp := range []bool{false, true} {
		if srtp && fips140.Enforced() {
			continue // SRTP authenticates with HMAC-SHA-1
		}
		c := start(t, Config{TLS: true, SRTP: srtp, Streams: []Stream{{Path: "v", Source: "clock-small"}}})
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(c.CertificatePEM()) || len(c.Fingerprint()) != 64 {
			t.Fatalf("certificate %q, fingerprint %q", c.CertificatePEM(), c.Fingerprint())
		}
		trust := func(cl *gortsplib.Client) { cl.TLSConfig = &tls.Config{RootCAs: roots} }
		r, err := tryPlay(t, c, "v", gortsplib.ProtocolTCP, trust)
		if err != nil {
			t.Fatal(err)
		}
		if secure := r.desc.Medias[0].Profile == headers.TransportProfileSAVP; secure != srtp {
			t.Errorf("SRTP %v: profile %v", srtp, r.desc.Medias[0].Profile)
		}
		if ps := r.pictures(t, 0, 2); len(Marks(ps[0][0].Payload)) == 0 && !ps[0][0].Marker {
			t.Error("no mark came through")
		}
		before := c.Fingerprint()
		if err := c.Command("certificate"); err != nil || c.Fingerprint() == before {
			t.Errorf("new certificate: %v", err)
		}
		if _, err := tryPlay(t, c, "v", gortsplib.ProtocolTCP, trust); err == nil {
			t.Error("the new certificate is trusted by the old one")
		}
	}
	if c := start(t, Config{Streams: []Stream{{Path: "v", Source: "clock-small"}}}); c.CertificatePEM() != nil || c.Fingerprint() != "" || c.NewCertificate() == nil {
		t.Error("a certificate without TLS")
	}
}

func TestSenderReports(t *testing.T) {
	t.Parallel()
	c := start(t, Config{NoUDP: true, ClockOffset: -time.Hour, Reports: 200 * time.Millisecond, Streams: []Stream{{Path: "v", Source: "clock-small", Sound: "aac"}}})
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	// matches tells whether a report of a media type says that the camera's clock was within
	// a minute of a time, for the stamp that belongs to it.
	matches := func(want time.Time) func() bool {
		return func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, l := range r.reports {
				sr := l[len(l)-1]
				at := time.Unix(int64(sr.NTPTime>>32)-2208988800, int64(sr.NTPTime&0xffffffff)*1e9>>32)
				if at.Sub(want).Abs() > time.Minute {
					return false
				}
			}
			return len(r.reports) == 2
		}
	}
	eventually(t, "reports an hour behind", matches(time.Now().Add(-time.Hour)))
	if err := c.Command("clock 1970-01-01T00:00:10Z"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "reports of 1970", matches(time.Unix(10, 0)))

	// A report's stamp and time lie on the same line as the pictures' stamps and
	// send times: within a second here, whatever the load.
	c.SetClock(0)
	eventually(t, "reports of now", matches(time.Now()))
	r.mu.Lock()
	sr := r.reports["video"][len(r.reports["video"])-1]
	r.mu.Unlock()
	sent := c.Feed("v").Sent(0)
	s := sent[len(sent)-1]
	at := time.Unix(int64(sr.NTPTime>>32)-2208988800, int64(sr.NTPTime&0xffffffff)*1e9>>32)
	byStamp := time.Duration(int32(s.Stamp-sr.RTPTime)) * time.Second / videoClock
	if d := (time.UnixMilli(s.At).Sub(at) - byStamp).Abs(); d > time.Second {
		t.Errorf("the report is %v away from the pictures", d)
	}
}
