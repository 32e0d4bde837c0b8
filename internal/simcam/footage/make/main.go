// Command make renders the loops of footage/ that carry the burnt-in clock,
// over a real surveillance view. It needs ffmpeg with x264 and x265.
//
//	go run ./internal/simcam/footage/make -view opencv-vtest-pedestrians.avi -out internal/simcam/footage [name...]
//
// Each loop is exactly one minute long, begins with an IDR picture, has no
// pictures that refer past one, and shows at second s of the loop the clock of
// second s. footage/README.md says where the view comes from.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"image"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"vigil/internal/simcam/clockface"
)

// A loop is one file to make. fps must divide into ticks of 1/25 s.
type loop struct {
	name          string
	width, height int
	ticks         int // of the clock from picture to picture
	args          string
}

const mp4 = " -movflags +faststart -map_metadata -1 -fflags +bitexact -flags:v +bitexact -video_track_timescale 90000 -f mp4"

var loops = []loop{
	// The main stream: GOP of 2 s.
	{"clock-h264.mp4", 640, 480, 1, "-c:v libx264 -profile:v main -preset slow -bf 0 -g 50 -keyint_min 50 -sc_threshold 0 -crf 30 -maxrate 500k -bufsize 1M" + mp4},
	// The second stream: smaller, half the rate.
	{"clock-h264-small.mp4", 320, 240, 2, "-c:v libx264 -profile:v baseline -preset slow -bf 0 -g 25 -keyint_min 25 -sc_threshold 0 -crf 30 -maxrate 150k -bufsize 300k" + mp4},
	// A "smart codec": 15 s from one random access picture to the next, AUDs.
	{"clock-h265.mp4", 640, 480, 2, "-c:v libx265 -preset medium -tag:v hvc1 -crf 33 -x265-params log-level=error:bframes=0:keyint=188:min-keyint=188:scenecut=0:open-gop=0:aud=1:info=0:repeat-headers=0" + mp4},
	// A second H.265 size, for a change of resolution.
	{"clock-h265-small.mp4", 320, 240, 2, "-c:v libx265 -preset medium -tag:v hvc1 -crf 34 -x265-params log-level=error:bframes=0:keyint=25:min-keyint=25:scenecut=0:open-gop=0:info=0:repeat-headers=0" + mp4},
	// 5 pictures a second, JPEG after JPEG without a container.
	{"clock.mjpeg", 320, 240, 5, "-c:v mjpeg -huffman default -q:v 14 -fflags +bitexact -flags:v +bitexact -f mjpeg"},
}

func main() {
	view := flag.String("view", "", "film for the background, at least 60 s")
	out := flag.String("out", "", "folder to write to")
	flag.Parse()
	if *view == "" || *out == "" {
		flag.Usage()
		os.Exit(2)
	}
	for _, l := range loops {
		if flag.NArg() > 0 && !slices.Contains(flag.Args(), l.name) {
			continue
		}
		if err := l.render(*view, filepath.Join(*out, l.name)); err != nil {
			fmt.Fprintf(os.Stderr, "make %s: %v\n", l.name, err)
			os.Exit(1)
		}
	}
}

// render decodes the view, draws the clock into each picture, and encodes.
func (l loop) render(view, out string) error {
	size := fmt.Sprintf("%dx%d", l.width, l.height)
	rate := fmt.Sprintf("%d/%d", clockface.TicksPerSecond, l.ticks)
	pictures := clockface.TicksPerMinute / l.ticks

	dec := exec.Command("ffmpeg", "-v", "error", "-i", view, "-an", "-vf", "fps="+rate+",scale="+strings.Replace(size, "x", ":", 1),
		"-frames:v", fmt.Sprint(pictures), "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
	dec.Stderr = os.Stderr
	from, err := dec.StdoutPipe()
	if err != nil {
		return err
	}
	args := append([]string{"-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-r", rate, "-i", "-"}, strings.Fields(l.args)...)
	if strings.HasSuffix(out, ".mjpeg") {
		args = append([]string{"-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-r", rate, "-i", "-", "-pix_fmt", "yuvj420p"}, strings.Fields(l.args)...)
	}
	enc := exec.Command("ffmpeg", append(args, out)...)
	enc.Stderr = os.Stderr
	to, err := enc.StdinPipe()
	if err != nil {
		return err
	}
	if err := errors.Join(dec.Start(), enc.Start()); err != nil {
		return err
	}
	img := image.NewYCbCr(image.Rect(0, 0, l.width, l.height), image.YCbCrSubsampleRatio420)
	r, w := bufio.NewReader(from), bufio.NewWriter(to)
	for i := range pictures {
		for _, plane := range [][]byte{img.Y, img.Cb, img.Cr} {
			if _, err := io.ReadFull(r, plane); err != nil {
				return fmt.Errorf("picture %d of the view: %w", i, err)
			}
		}
		clockface.Draw(img, i*l.ticks)
		for _, plane := range [][]byte{img.Y, img.Cb, img.Cr} {
			if _, err := w.Write(plane); err != nil {
				return err
			}
		}
	}
	return errors.Join(w.Flush(), to.Close(), dec.Wait(), enc.Wait())
}
