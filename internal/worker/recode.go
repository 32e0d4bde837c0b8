package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vigil/internal/media"
)

// ErrTooManyRecodes: as many streams are coded anew as the machine is to bear.
var ErrTooManyRecodes = errors.New("too many streams are coded anew")

const (
	mostRecodes = 2 // at a time: each may take a core
	recodeNice  = 10
	recodeTime  = 15 * time.Second // for the encoder to take a fragment
)

// A Recode codes a stream anew in codings that every browser plays: fragments
// (ISO/IEC 14496-12) written to it are read from it again with H.264 and AAC, at the same times
// on the same clock. It is a jailed process of its own, and gives way to all others. Write is for one
// goroutine and Read for another.
type Recode struct {
	p       *Pictures
	proc    *os.Process
	in, out *os.File
	closing sync.Once
}

// Recoded returns tracks as they are when coded anew, and whether any of them
// changes. Pictures in H.264 and sound that browsers play stay as they are.
func Recoded(tracks []media.Track) (list []media.Track, changes bool) {
	for _, t := range tracks {
		switch {
		case t.Codec.Video() && t.Codec != media.H264:
			t.Codec, t.Codecs, changes = media.H264, "avc1.4d4029", true
		case !t.Codec.Video() && t.Codecs == "":
			t.Codec, t.Codecs, changes = media.AAC, "mp4a.40.2", true
		}
		list = append(list, t)
	}
	return list, changes
}

// Recode begins to code tracks anew. The caller closes it.
func (p *Pictures) Recode(tracks []media.Track) (*Recode, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errEnded
	}
	if p.recodes >= mostRecodes {
		p.mu.Unlock()
		return nil, ErrTooManyRecodes
	}
	p.recodes++
	p.mu.Unlock()
	r := &Recode{p: p}
	var logged *os.File
	var err error
	if r.proc, r.in, r.out, logged, err = p.launch(recodeArguments(tracks)); err != nil {
		p.recoded()
		return nil, err
	}
	_ = unix.Setpriority(unix.PRIO_PROCESS, r.proc.Pid, recodeNice) // what is recorded comes first
	listen(logged, p.o.Log.With("encoder", r.proc.Pid), slog.LevelDebug)
	return r, nil
}

func (p *Pictures) recoded() {
	p.mu.Lock()
	p.recodes--
	p.mu.Unlock()
}

// Write gives the encoder an initialization segment or a fragment.
func (r *Recode) Write(b []byte) (int, error) {
	_ = r.in.SetWriteDeadline(time.Now().Add(recodeTime))
	n, err := r.in.Write(b)
	if err != nil {
		err = fmt.Errorf("code anew: %w", err)
	}
	return n, err
}

// End says that nothing more comes; Read ends after what is still to come.
func (r *Recode) End() error { return r.in.Close() }

// Read returns what was coded, as it comes: not at the borders of fragments.
func (r *Recode) Read(b []byte) (int, error) { return r.out.Read(b) }

// Close ends it at once. It may be called at any time and more than once.
func (r *Recode) Close() error {
	r.closing.Do(func() {
		_ = r.proc.Kill()
		_ = r.in.Close()
		_, _ = r.proc.Wait()
		_ = r.out.Close()
		r.p.recoded()
	})
	return nil
}

// recodeArguments are those of ffmpeg. Times stay those of the recorder's
// clock: copyts, and no edit list or start at 0 when written.
func recodeArguments(tracks []media.Track) []string {
	args := []string{
		"-v", "error", "-nostdin", "-copyts", "-probesize", "5000", "-analyzeduration", "0", "-threads", "2", "-f", "mov", "-i", "pipe:0", "-sn", "-dn",
	}
	number := map[bool]int{}
	for _, t := range tracks {
		video := t.Codec.Video()
		kind := map[bool]string{true: "v", false: "a"}[video]
		args = append(args, "-map", fmt.Sprintf("0:%s:%d", kind, number[video]))
		coder := fmt.Sprintf("-c:%s:%d", kind, number[video])
		number[video]++
		switch _, changes := Recoded([]media.Track{t}); {
		case !changes:
			args = append(args, coder, "copy")
		case video: // large pictures are made smaller: two cores code them as fast as they come
			args = append(args, coder, "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "main", "-level:v", "4.1", "-bf", "0", "-g", "50", "-crf", "26",
				"-pix_fmt", "yuv420p", "-filter_threads", "1", "-vf", "scale=w=2*trunc(min(1280\\,iw)/2):h=-2", "-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-threads", "2")
		default:
			args = append(args, coder, "aac", "-b:a", "64k")
		}
	}
	return append(args, "-video_track_timescale", "90000", "-use_editlist", "0", "-avoid_negative_ts", "disabled", "-muxdelay", "0", "-muxpreload", "0", "-max_interleave_delta", "300000",
		"-movflags", "empty_moov+default_base_moof+frag_discont", "-frag_duration", "250000", "-flush_packets", "1", "-f", "mp4", "pipe:1")
}
