package playback

import (
	"context"
	"io"
	"testing"

	"vigil/internal/media"
)

// TestExportOverNewSettings: what an encoder changed is another file, which
// begins where the first ends. In one file ffmpeg's parser and Chromium's seeking fail.
func TestExportOverNewSettings(t *testing.T) {
	needFFmpeg(t)
	for _, name := range []string{"clock-h265-small.mp4", "clock-h264.mp4"} {
		t.Run(name, func(t *testing.T) { exportOver(t, name) })
	}
}

func exportOver(t *testing.T, name string) {
	old, now := load(t, footage+"clock-h264-small.mp4"), load(t, footage+name)
	l := newLibrary(t)
	r := l.record(old.tracks)
	r.begin(nil)
	r.play(old, dawn, nil)
	r.end(media.CutCodec)
	r = l.record(now.tracks)
	r.begin(nil)
	r.play(now, dawn+old.length, nil)
	r.end(media.Shutdown)
	end := dawn + old.length + now.length
	plan := must(l.player().Collect(context.Background(), l.stream, dawn, end, true))
	if plan.Next != dawn+old.length || len(plan.Gaps) != 0 {
		t.Fatalf("the first goes on at %d, gaps %+v", plan.Next-dawn, plan.Gaps)
	}
	must(plan.Export(context.Background(), io.Discard, nil))
	file, x := l.export(plan.Next, end)
	ffmpeg(t, "-i", file, "-f", "null", "-")
	if got := packets(t, file, 0); len(got) != len(now.units) || len(x.Gaps) != 0 {
		t.Errorf("%d packets, want %d; gaps %+v", len(got), len(now.units), x.Gaps)
	}
}
