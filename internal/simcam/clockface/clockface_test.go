package clockface

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func grey(w, h int) *image.YCbCr {
	img := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for i := range img.Y {
		img.Y[i] = 120
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = 100, 150
	}
	return img
}

func TestReadWhatWasDrawn(t *testing.T) {
	for _, size := range []image.Point{{640, 480}, {160, 120}, {1920, 1080}, {101, 77}} {
		for tick := range TicksPerMinute {
			img := grey(size.X, size.Y)
			Draw(img, tick)
			got, ok := Read(img)
			if want := time.Duration(tick) * Tick; !ok || got != want {
				t.Fatalf("%v, tick %d: read %v, %v", size, tick, got, ok)
			}
			if size.X > 160 && tick > 40 {
				break
			}
		}
	}
}

// One wrong cell must never give another time.
func TestOneWrongCellIsSeen(t *testing.T) {
	for tick := 0; tick < TicksPerMinute; tick += 7 {
		for wrong := range Cells {
			img := grey(120, 90)
			Draw(img, tick)
			fill(img, image.Rect(wrong*6, 0, (wrong+1)*6, 6), level(!cells(tick)[wrong]))
			if got, ok := Read(img); ok {
				t.Fatalf("tick %d with cell %d wrong: read %v", tick, wrong, got)
			}
		}
	}
}

// A mixture of two pictures, as a blending scaler of time makes, has no time.
func TestDoubtIsNoTime(t *testing.T) {
	a, b := grey(320, 240), grey(320, 240)
	Draw(a, 511)
	Draw(b, 512)
	for i := range a.Y {
		a.Y[i] = byte((int(a.Y[i]) + int(b.Y[i])) / 2)
	}
	if got, ok := Read(a); ok {
		t.Errorf("half of one tick and half of the next: read %v", got)
	}
}

func TestNoClockNoTime(t *testing.T) {
	noise := image.NewRGBA(image.Rect(0, 0, 320, 240))
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		for i := range noise.Pix {
			noise.Pix[i] = byte(r.UintN(256))
		}
		if got, ok := Read(noise); ok {
			t.Fatalf("noise shows %v", got)
		}
	}
	for _, img := range []image.Image{grey(320, 240), image.NewRGBA(image.Rectangle{}), image.NewUniform(color.White)} {
		if got, ok := Read(img); ok {
			t.Errorf("%T without a clock shows %v", img, got)
		}
	}
}

// TestSameAsJavaScript holds the browser's reader against this one, on
// pictures with a clock, darkened and disturbed ones, and ones without.
func TestSameAsJavaScript(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	type picture struct {
		Width  int   `json:"width"`
		Height int   `json:"height"`
		Data   []int `json:"data"`
	}
	var pictures []picture
	var want []*int64
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 60 {
		img := grey(160+i, 120+i/2)
		if i%10 != 9 {
			Draw(img, r.IntN(TicksPerMinute))
		}
		rgba := image.NewRGBA(img.Rect)
		p := picture{Width: img.Rect.Dx(), Height: img.Rect.Dy()}
		for y := range p.Height {
			for x := range p.Width {
				cr, cg, cb, _ := img.At(x, y).RGBA()
				dim := func(v uint32) uint8 { // darker, flatter, noisier with i
					return uint8(min(255, int(v>>8)*(100-i)/100+20+r.IntN(1+2*i)))
				}
				c := color.RGBA{dim(cr), dim(cg), dim(cb), 255}
				rgba.SetRGBA(x, y, c)
				p.Data = append(p.Data, int(c.R), int(c.G), int(c.B), 255)
			}
		}
		pictures = append(pictures, p)
		if at, ok := Read(rgba); ok {
			ms := at.Milliseconds()
			want = append(want, &ms)
		} else {
			want = append(want, nil)
		}
	}
	if read := len(want) - count(want, nil); read < 20 {
		t.Fatalf("only %d of the pictures can be read", read)
	}
	js, err := filepath.Abs("clockface.js")
	if err != nil {
		t.Fatal(err)
	}
	in, _ := json.Marshal(pictures)
	dir := t.TempDir()
	src, err := os.ReadFile(js)
	if err != nil {
		t.Fatal(err)
	}
	src = append(src, "\nimport { readFileSync } from 'node:fs'\nconsole.log(JSON.stringify(JSON.parse(readFileSync(0)).map(readClock)))\n"...)
	if err := os.WriteFile(filepath.Join(dir, "t.mjs"), src, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, filepath.Join(dir, "t.mjs"))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	wantJSON, _ := json.Marshal(want)
	if got := bytes.TrimSpace(out); !bytes.Equal(got, wantJSON) {
		t.Errorf("JavaScript reads\n%s\nGo reads\n%s", got, wantJSON)
	}
}

func count(l []*int64, v *int64) (n int) {
	for _, x := range l {
		if x == v {
			n++
		}
	}
	return n
}

func ExampleRead() {
	img := image.NewYCbCr(image.Rect(0, 0, 640, 480), image.YCbCrSubsampleRatio420)
	Draw(img, 37*TicksPerSecond+5)
	fmt.Println(Read(img))
	// Output: 37.2s true
}
