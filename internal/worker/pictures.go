package worker

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"vigil/internal/media"
)

// Errors of Pictures.
var (
	// ErrNoDecoder: the program that decodes is not installed.
	ErrNoDecoder = errors.New("ffmpeg is not installed")
	// ErrUndecodable: the decoder makes no picture of this unit.
	ErrUndecodable = errors.New("the picture cannot be decoded")
)

// A Still is a picture that can be decoded by itself.
type Still struct {
	Of    media.StreamID
	Track media.Track // its video
	Unit  []byte      // a random access unit of it, as it is recorded
	Width int         // pixels at most; the height follows. 0: as it is
}

// Bounds of decoding.
const (
	mostDecoders = 3 // at a time: a picture of a long-lived one takes some 10 ms
	mostJPEG     = 16 << 20
	idleDecoder  = 30 * time.Second
	decodeTime   = 10 * time.Second      // for one picture, with the start of the decoder
	mostCopies   = 17                    // of one picture: more than a decoder may hold back (16)
	nudge        = 60 * time.Millisecond // until it is given once more
	mostNudges   = 100
)

// Pictures makes JPEG files of what is recorded, in processes of their own:
// jailed decoders, each of them of one stream, so that who takes one over sees nothing
// new. They live on for the next picture. Safe for many callers.
type Pictures struct {
	o       Options
	spawner *spawner

	mu       sync.Mutex
	decoders map[decoderKey]*decoder // guarded by mu
	recodes  int                     // guarded by mu
	freed    chan struct{}           // closed and made anew when one has become free; guarded by mu
	closed   bool                    // guarded by mu
}

type decoderKey struct {
	of     media.StreamID
	config [sha256.Size]byte
	width  int
}

// NewPictures returns the pictures of workers that are started as o says.
func NewPictures(o Options) *Pictures {
	o.fill("picture")
	return &Pictures{o: o, spawner: newSpawner(), decoders: map[decoderKey]*decoder{}, freed: make(chan struct{})}
}

// JPEG decodes a picture.
func (p *Pictures) JPEG(ctx context.Context, s Still) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, decodeTime)
	defer cancel()
	in, alone, err := feed(&s)
	if err != nil {
		return nil, err
	}
	for {
		d, err := p.take(ctx, &s)
		if err != nil {
			return nil, err
		}
		used := d.given > 0
		var b []byte
		if !used || !alone {
			b, err = d.decode(ctx, in, alone)
		}
		p.give(d, err != nil || alone)
		switch {
		case b != nil:
			return b, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case used: // it may be the one before that has broken it
		default:
			return nil, fmt.Errorf("%w: %w", ErrUndecodable, err)
		}
	}
}

// Close ends all decoders, for good.
func (p *Pictures) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	for k, d := range p.decoders {
		if !d.busy { // else who has it gives it back, and its end with it
			delete(p.decoders, k)
			d.end()
		}
	}
	close(p.spawner.done)
}

// take finds the stream's decoder or starts one, when there is a place.
func (p *Pictures) take(ctx context.Context, s *Still) (*decoder, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%v %d %d ", s.Track.Codec, s.Track.Width, s.Track.Height)
	sum.Write(s.Track.Config)
	key := decoderKey{of: s.Of, width: s.Width}
	sum.Sum(key.config[:0])
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errEnded
		}
		d := p.decoders[key]
		if d == nil {
			if len(p.decoders) >= mostDecoders {
				p.retire()
			}
			if len(p.decoders) < mostDecoders {
				d = &decoder{key: key, outputs: make(chan struct{}, 1)}
				p.decoders[key] = d
				d.busy = true
				p.mu.Unlock()
				if err := p.start(d, s); err != nil {
					p.give(d, true)
					return nil, err
				}
				return d, nil
			}
		} else if !d.busy {
			d.busy = true
			d.idle.Stop()
			p.mu.Unlock()
			return d, nil
		}
		freed := p.freed
		p.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// retire ends the decoder that has been idle for longest. p.mu is held.
func (p *Pictures) retire() {
	var old *decoder
	for _, d := range p.decoders {
		if !d.busy && (old == nil || d.last.Before(old.last)) {
			old = d
		}
	}
	if old != nil {
		delete(p.decoders, old.key)
		old.end()
	}
}

// give takes a decoder back, or ends it.
func (p *Pictures) give(d *decoder, done bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d.busy, d.last = false, time.Now()
	if done || p.closed {
		if p.decoders[d.key] == d {
			delete(p.decoders, d.key)
		}
		d.end()
	} else {
		d.idle = time.AfterFunc(idleDecoder, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if !d.busy && p.decoders[d.key] == d {
				delete(p.decoders, d.key)
				d.end()
			}
		})
	}
	close(p.freed)
	p.freed = make(chan struct{})
}

// A decoder is one process. It belongs to one caller at a time; p.mu guards
// busy, last and idle.
//
// The nth picture that it gives is the nth that it was given. How many it holds
// back before it gives the first depends on the coding, so a picture is given
// again until its own comes out.
type decoder struct {
	key  decoderKey
	busy bool
	last time.Time
	idle *time.Timer

	proc  *os.Process
	stdin *os.File
	given int64 // pictures

	outputs chan struct{} // something came, or ended
	mu      sync.Mutex
	wanted  int64  // number of the picture that is kept; guarded by mu
	kept    []byte // guarded by mu
	taken   atomic.Int64
	ended   atomic.Pointer[error]
}

// start starts the process.
func (p *Pictures) start(d *decoder, s *Still) error {
	proc, in, out, logged, err := p.launch(arguments(s))
	if err != nil {
		return err
	}
	d.proc, d.stdin = proc, in
	listen(logged, p.o.Log.With("decoder", proc.Pid, "stream", s.Of), slog.LevelDebug)
	go d.read(out)
	return nil
}

// launch starts ffmpeg in the jail and returns it with our ends of its standard
// input, output and error output.
func (p *Pictures) launch(args []string) (proc *os.Process, in, out, logged *os.File, err error) {
	program, err := exec.LookPath("ffmpeg")
	if err != nil {
		return nil, nil, nil, nil, ErrNoDecoder
	}
	var pipes [3][2]*os.File
	for i := range pipes {
		if pipes[i][0], pipes[i][1], err = os.Pipe(); err != nil {
			for _, q := range pipes[:i] {
				q[0].Close()
				q[1].Close()
			}
			return nil, nil, nil, nil, fmt.Errorf("start ffmpeg: %w", err)
		}
	}
	theirs := []*os.File{pipes[0][0], pipes[1][1], pipes[2][1]}
	argv := append([]string{"vigil"}, p.o.Args...)
	proc, err = p.spawner.fork(&p.o, append(append(argv, program), args...), environment(p.o.Env), theirs...)
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		pipes[0][1].Close()
		pipes[1][0].Close()
		pipes[2][0].Close()
		return nil, nil, nil, nil, fmt.Errorf("start ffmpeg: %w", err)
	}
	return proc, pipes[0][1], pipes[1][0], pipes[2][0], nil
}

// end kills the process, if it was started; its reader buries it.
func (d *decoder) end() {
	if d.idle != nil {
		d.idle.Stop()
	}
	if d.stdin != nil {
		d.stdin.Close()
		_ = d.proc.Kill()
	}
}

// arguments are those of ffmpeg: a stream of pictures in, each of which is
// decoded as it comes, and a stream of JPEG files with their lengths out.
func arguments(s *Still) []string {
	form := map[media.Codec]string{media.H264: "h264", media.H265: "hevc", media.MJPEG: "mpjpeg"}[s.Track.Codec]
	filter := "null"
	if s.Width > 0 { // pixels may not be square
		filter = fmt.Sprintf("scale=w=2*trunc(min(%d\\,iw*sar)/2):h=2*trunc(ow/dar/2),setsar=1", s.Width)
	}
	return []string{
		"-v", "error", "-nostdin", "-threads", "1", "-flags", "low_delay+output_corrupt", "-probesize", "32", "-analyzeduration", "0", "-f", form, "-i", "pipe:0",
		"-an", "-sn", "-dn", "-filter_threads", "1", "-vf", filter, "-fps_mode", "passthrough",
		"-threads", "1", "-c:v", "mjpeg", "-q:v", "4", "-f", "mpjpeg", "-flush_packets", "1", "pipe:1",
	}
}

// decode gives the decoder a picture until it has come out. alone: it is the
// only one that this process decodes.
func (d *decoder) decode(ctx context.Context, in []byte, alone bool) ([]byte, error) {
	d.mu.Lock()
	d.wanted, d.kept = d.given+1, nil
	d.mu.Unlock()
	deadline, _ := ctx.Deadline()
	_ = d.stdin.SetWriteDeadline(deadline)              // a pipe; else the end of the process ends the write
	copies := min(1+d.given-d.taken.Load(), mostCopies) // what it holds back, and this one
	wait := time.NewTimer(nudge)
	defer wait.Stop()
	for sent, nudges := int64(0), 0; ; {
		for ; sent < copies && (sent == 0 || !alone); sent++ {
			if _, err := d.stdin.Write(in); err != nil {
				return nil, d.why(err)
			}
			d.given++
		}
		if alone {
			d.stdin.Close() // what is held back comes
		}
		select {
		case <-d.outputs:
		case <-wait.C:
			copies = min(copies+1, mostCopies)
			if nudges++; nudges > mostNudges || nudges > 2*mostCopies && d.taken.Load() > 0 { // one that works answers faster than one that starts
				return nil, errors.New("nothing comes")
			}
			wait.Reset(nudge)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		d.mu.Lock()
		b := d.kept
		d.mu.Unlock()
		switch ended := d.ended.Load(); {
		case b != nil:
			return b, nil
		case ended != nil:
			return nil, d.why(*ended)
		case d.taken.Load() > d.given:
			return nil, errors.New("more pictures than were given")
		}
	}
}

// why is the cause behind an end.
func (d *decoder) why(err error) error {
	if e := d.ended.Load(); e != nil {
		return *e
	}
	return err
}

// read takes the pictures until the process ends, and buries it.
func (d *decoder) read(f *os.File) {
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	var err error
	for err == nil {
		var b []byte
		if b, err = nextJPEG(r); err == nil {
			d.mu.Lock()
			if d.taken.Add(1) == d.wanted {
				d.kept = b
			}
			d.mu.Unlock()
		}
		d.tell()
	}
	_ = d.proc.Kill() // it has closed its output, or writes nonsense
	st, werr := d.proc.Wait()
	if werr == nil && errors.Is(err, io.EOF) {
		err = fmt.Errorf("the decoder has ended: %v", st)
		if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGSYS {
			err = errors.New("the decoder was killed by seccomp")
		}
	}
	d.ended.Store(&err)
	d.tell()
}

func (d *decoder) tell() {
	select {
	case d.outputs <- struct{}{}:
	default:
	}
}

// nextJPEG reads one part of a multipart stream whose parts say how long they
// are.
func nextJPEG(r *bufio.Reader) ([]byte, error) {
	size := 0
	for lines := 0; ; lines++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 && size > 0 {
			break
		}
		if k, v, ok := strings.Cut(string(line), ":"); ok && strings.EqualFold(k, "Content-length") {
			size, err = strconv.Atoi(strings.TrimSpace(v))
			if err != nil || size <= 0 || size > mostJPEG {
				return nil, fmt.Errorf("a picture of %.20q bytes", v)
			}
		}
		if lines > 20 {
			return nil, errors.New("not a picture")
		}
	}
	b := make([]byte, size)
	_, err := io.ReadFull(r, b)
	return b, err
}

// feed is a unit as the decoder reads it, and what follows so that it knows
// that the unit has ended. alone: it does not begin a sequence (ITU-T H.264 7.4.1.2.1, H.265 3.66), so
// that a decoder would order it among those it has seen, or is not one picture.
func feed(s *Still) (in []byte, alone bool, err error) {
	switch s.Track.Codec {
	case media.H264:
		in, err = h264Sets(s.Track.Config)
		if err == nil {
			in, alone, err = annexB(in, s.Unit, lengthSize(s.Track.Config, 4), func(n []byte) (bool, bool) {
				kind := n[0] & 31
				return kind == 5, (kind == 1 || kind == 5) && n[1]&0x80 != 0 // first_mb_in_slice is 0
			})
		}
		return append(in, 0, 0, 0, 1, 9, 0xf0), alone, err // access unit delimiter
	case media.H265:
		in, err = h265Sets(s.Track.Config)
		if err == nil {
			in, alone, err = annexB(in, s.Unit, lengthSize(s.Track.Config, 21), func(n []byte) (bool, bool) {
				kind := n[0] >> 1 & 63
				return kind >= 16 && kind <= 20, kind < 32 && len(n) > 2 && n[2]&0x80 != 0 // first_slice_segment_in_pic_flag
			})
		}
		return append(in, 0, 0, 0, 1, 35<<1, 1, 0x50), alone, err
	case media.MJPEG:
		in = fmt.Appendf(nil, "--ffmpeg\r\nContent-type: image/jpeg\r\nContent-length: %d\r\n\r\n", len(s.Unit))
		return append(append(in, s.Unit...), '\r', '\n'), false, nil
	}
	return nil, false, fmt.Errorf("no pictures: %v", s.Track.Codec)
}

var errConfig = errors.New("the parameter sets cannot be read")

// lengthSize reads how long the lengths of units are.
func lengthSize(config []byte, at int) int { return int(config[at]&3) + 1 }

// h264Sets reads the parameter sets of an avcC (ISO/IEC 14496-15 5.3.3.1).
func h264Sets(c []byte) (out []byte, err error) {
	if len(c) < 7 {
		return nil, errConfig
	}
	rest := c[5:]
	for _, mask := range []byte{31, 255} {
		if len(rest) == 0 {
			return nil, errConfig
		}
		n := rest[0] & mask
		rest = rest[1:]
		for range n {
			if out, rest, err = set(out, rest); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// h265Sets reads the parameter sets of an hvcC (ISO/IEC 14496-15 8.3.3.1).
func h265Sets(c []byte) (out []byte, err error) {
	if len(c) < 23 {
		return nil, errConfig
	}
	rest := c[23:]
	for range c[22] {
		if len(rest) < 3 {
			return nil, errConfig
		}
		n := binary.BigEndian.Uint16(rest[1:])
		rest = rest[3:]
		for range n {
			if out, rest, err = set(out, rest); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func set(out, in []byte) (_, rest []byte, err error) {
	if len(in) < 2 || len(in)-2 < int(binary.BigEndian.Uint16(in)) {
		return nil, nil, errConfig
	}
	n := 2 + int(binary.BigEndian.Uint16(in))
	return append(append(out, 0, 0, 0, 1), in[2:n]...), in[n:], nil
}

// annexB appends the parts of a unit with start codes in place of lengths
// (H.264 and H.265 annex B). begins tells whether a part begins a sequence, and
// whether it begins a picture. alone: none begins a sequence, or not just one a picture, so that
// what comes out could not be told from what comes of others.
func annexB(out, unit []byte, size int, begins func([]byte) (sequence, picture bool)) (_ []byte, alone bool, err error) {
	sequences, pictures := 0, 0
	for len(unit) > 0 {
		if len(unit) <= size {
			return nil, false, errors.New("the unit breaks off")
		}
		n := 0
		for _, b := range unit[:size] {
			n = n<<8 | int(b)
		}
		unit = unit[size:]
		if n == 0 || n > len(unit) {
			return nil, false, errors.New("the unit breaks off")
		}
		if n > 1 {
			sequence, picture := begins(unit[:n])
			if sequence {
				sequences++
			}
			if picture {
				pictures++
			}
		}
		out = append(append(out, 0, 0, 0, 1), unit[:n]...)
		unit = unit[n:]
	}
	return out, sequences == 0 || pictures != 1, nil
}
