package playback

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	"vigil/internal/media"
)

// TestExportOverNewSettings: what an encoder changed is another file, which
// begins where the first ends. In one file ffmpeg's parser and Chromium's seeking fail. How long the last picture before is
// shown is a guess, so it may reach a moment into what follows.
func TestExportOverNewSettings(t *testing.T) {
	needFFmpeg(t)
	for _, name := range []string{"clock-h265-small.mp4", "clock-h264.mp4"} {
		for _, over := range []media.Ticks{0, 1, second / 50} {
			t.Run(fmt.Sprint(name, over), func(t *testing.T) { exportOver(t, name, over) })
		}
	}
}

func exportOver(t *testing.T, name string, over media.Ticks) {
	old, now := load(t, footage+"clock-h264-small.mp4"), load(t, footage+name)
	l := newLibrary(t)
	r := l.record(old.tracks)
	r.begin(nil)
	r.play(old, dawn, nil)
	r.end(media.CutCodec)
	begin := dawn + old.length - over
	r = l.record(now.tracks)
	r.begin(nil)
	r.play(now, begin, nil)
	r.end(media.Shutdown)
	end := begin + now.length
	plan := must(l.player().Collect(context.Background(), l.stream, dawn, end, true))
	if plan.Next != begin || len(plan.Gaps) != 0 {
		t.Fatalf("the first goes on at %d, gaps %+v", plan.Next-dawn, plan.Gaps)
	}
	must(plan.Export(context.Background(), io.Discard, nil))
	file, x := l.export(plan.Next, end)
	ffmpeg(t, "-i", file, "-f", "null", "-")
	if got := packets(t, file, 0); len(got) != len(now.units) || len(x.Gaps) != 0 {
		t.Errorf("%d packets, want %d; gaps %+v", len(got), len(now.units), x.Gaps)
	}
	for from, want := range map[media.Ticks][2]media.Ticks{dawn: {dawn, begin}, begin: {begin, 0}} { // and the same for a player
		plan, got, err := l.watch(from, end, 600*second)
		if err != nil || plan.Start != want[0] || plan.Next != want[1] || len(plan.Gaps) != 0 {
			t.Errorf("watched from %.2f: %v, %v, next %d", secs(from), err, got, plan.Next-dawn)
		}
	}
}

// TestExportOfPlainSound: G.711 in an MP4 comes out as the bytes that went in.
func TestExportOfPlainSound(t *testing.T) {
	needFFmpeg(t)
	sound := must(os.ReadFile(footage + "sound.alaw"))
	f := load(t, footage+"clock-h264-small.mp4")
	for codec, name := range map[media.Codec]string{media.PCMA: "alaw", media.PCMU: "mulaw"} {
		both := film{tracks: append(slices.Clone(f.tracks), media.Track{Number: 2, Codec: codec, SampleRate: 8000, Channels: 1}), units: slices.Clone(f.units)}
		var want []byte
		for i := 0; (i+1)*160 <= len(sound) && media.Ticks(i)*1800 < f.length; i++ {
			frame := sound[i*160 : (i+1)*160]
			want = append(want, frame...)
			both.units = append(both.units, media.Unit{Track: 2, RandomAccess: true, DTS: media.Ticks(i) * 1800, Data: frame})
		}
		l := newLibrary(t)
		r := l.record(both.tracks)
		r.begin(nil)
		r.play(both, dawn, func(n int) bool { return n%3 == 0 })
		r.end(media.Shutdown)
		file, _ := l.export(dawn, dawn+f.length)
		if got := ffmpeg(t, "-v", "error", "-i", file, "-map", "0:1", "-c", "copy", "-f", name, "-"); !bytes.Equal(got, want) {
			t.Errorf("%v: %d bytes of sound, want %d, or others", codec, len(got), len(want))
		}
		ffmpeg(t, "-v", "error", "-i", file, "-f", "null", "-") // it guesses the layout of the one channel, and says so
		if keep := os.Getenv("VIGIL_KEEP"); keep != "" {
			os.WriteFile(keep+name+".mp4", must(os.ReadFile(file)), 0o644)
		}
	}
}

// TestExportOfJPEG: each picture decodes alone.
func TestExportOfJPEG(t *testing.T) {
	needFFmpeg(t)
	all := must(os.ReadFile(footage + "clock.mjpeg"))
	f := film{tracks: []media.Track{{Number: 1, Codec: media.MJPEG, Width: 320, Height: 240}}}
	for len(all) > 0 && len(f.units) < 50 {
		end := bytes.Index(all, []byte{0xff, 0xd9}) + 2
		f.units = append(f.units, media.Unit{Track: 1, RandomAccess: true, DTS: media.Ticks(len(f.units)) * 18000, Data: all[:end]})
		all = all[end:]
	}
	l := newLibrary(t)
	r := l.record(f.tracks)
	r.begin(nil)
	r.play(f, dawn, func(n int) bool { return n%20 == 0 })
	r.end(media.Shutdown)
	file, _ := l.export(dawn+18000*7, dawn+18000*30)
	if p := ffprobe(t, file); len(p.Streams) != 1 || p.Streams[0].Codec != "mjpeg" {
		t.Errorf("%+v", p)
	}
	if got := packets(t, file, 0); len(got) != 23 {
		t.Errorf("%d pictures, want 23", len(got))
	}
	ffmpeg(t, "-i", file, "-f", "null", "-")
	if keep := os.Getenv("VIGIL_KEEP"); keep != "" {
		os.WriteFile(keep+"jpeg.mp4", must(os.ReadFile(file)), 0o644)
	}
}
