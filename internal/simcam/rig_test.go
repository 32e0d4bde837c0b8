package simcam

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"net/url"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"vigil/internal/simcam/footage"
)

func start(t *testing.T, cfg Config) *Camera {
	t.Helper()
	cfg.Footage = footage.All
	c, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// eventually waits for something that must come; how soon is not tested.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// A reader is an RTSP client that keeps what it got.
type reader struct {
	client  *gortsplib.Client
	desc    *description.Session
	mu      sync.Mutex
	video   []rtp.Packet
	sound   []rtp.Packet
	reports map[description.MediaType][]rtcp.SenderReport
}

func (r *reader) packets() []rtp.Packet {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]rtp.Packet(nil), r.video...)
}

// since returns the packets of pictures from the one with a mark numbered n on.
func (r *reader) since(n uint64) []rtp.Packet {
	l := r.packets()
	for i, p := range l {
		if m := Marks(p.Payload); len(m) > 0 && m[0].Number >= n {
			return l[i:]
		}
	}
	return nil
}

// play opens a path and reads until the test ends.
func play(t *testing.T, c *Camera, path string, protocol gortsplib.Protocol) *reader {
	t.Helper()
	r, err := tryPlay(t, c, path, protocol, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryPlay(t *testing.T, c *Camera, path string, protocol gortsplib.Protocol, change func(*gortsplib.Client)) (*reader, error) {
	t.Helper()
	u, err := base.ParseURL(c.URL(path))
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{reports: map[description.MediaType][]rtcp.SenderReport{}}
	r.client = &gortsplib.Client{
		Scheme: u.Scheme, Host: u.Host, Protocol: &protocol,
		OnPacketsLost: func(uint64) {}, OnDecodeError: func(error) {},
	}
	if change != nil {
		change(r.client)
	}
	if err := r.client.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(r.client.Close)
	if c.cfg.User != "" {
		u.User = url.UserPassword(c.cfg.User, c.cfg.Password)
	}
	if r.desc, _, err = r.client.Describe(u); err != nil {
		return r, err
	}
	if err := r.client.SetupAll(r.desc.BaseURL, r.desc.Medias); err != nil {
		return r, err
	}
	r.client.OnPacketRTPAny(func(m *description.Media, _ format.Format, p *rtp.Packet) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if m.Type == description.MediaTypeVideo {
			r.video = append(r.video, *p)
		} else {
			r.sound = append(r.sound, *p)
		}
	})
	r.client.OnPacketRTCPAny(func(m *description.Media, p rtcp.Packet) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if sr, ok := p.(*rtcp.SenderReport); ok {
			r.reports[m.Type] = append(r.reports[m.Type], *sr)
		}
	})
	_, err = r.client.Play(nil)
	return r, err
}

// pictures waits until the reader has n more whole pictures after its mark
// numbered from, and returns their packets, picture by picture.
func (r *reader) pictures(t *testing.T, from uint64, n int) (l [][]rtp.Packet) {
	t.Helper()
	eventually(t, "pictures arrive", func() bool {
		l = nil
		var cur []rtp.Packet
		for _, p := range r.since(from) {
			if cur = append(cur, p); p.Marker {
				l, cur = append(l, cur), nil
			}
		}
		return len(l) >= n
	})
	return l[:n]
}

// tool runs an installed program, or skips the test.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, &errOut)
	}
	return out.String()
}

func decodeClock(t *testing.T, b []byte) (time.Duration, bool) {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return ReadClock(img)
}

// greyPicture is one picture of ffmpeg's rawvideo in gray.
func greyPicture(b []byte, w, h int) image.Image {
	return &image.Gray{Pix: b[:w*h], Stride: w, Rect: image.Rect(0, 0, w, h)}
}
