// Package clockface puts a clock into pictures and reads it back, so that a
// test that sees only a screen can say which instant it shows.
//
// The clock is a strip over the whole width at the top of the picture, one
// fifteenth of its height, of 20 cells of equal width:
//
//	cell    0 1 2 ... 12        13 ... 17   18 19
//	        W B the tick, 11    check, 5    B  W     W white, B black
//	            bits, high      bits, high
//	            bit first       bit first            a set bit is white
//
// The tick counts 1/25 s from the start of the minute: 0 to 1499. The check
// is 31 - tick mod 31; no single wrong cell passes it. The four fixed cells
// give the levels of black and white, so that brightness, contrast and colour
// range do not matter. Only the middle of a cell is looked at, so the strip
// survives coding and scaling down to about 100 pixels of width. Below the
// strip the same is written for people, in seconds with hundredths.
//
// clockface.js is the same reader for a browser.
package clockface

import (
	"image"
	"time"
)

// The geometry. clockface.js repeats it.
const (
	Cells    = 20 // over the whole width
	Height   = 15 // the strip takes 1/Height of the picture's height
	tickBits = 11
	checkMod = 31

	TicksPerSecond = 25
	TicksPerMinute = 60 * TicksPerSecond
	Tick           = time.Second / TicksPerSecond
)

// Luma of the drawn cells: the limits of studio range video.
const (
	black = 16
	white = 235
)

// cells returns the strip for a tick, true is white.
func cells(tick int) (c [Cells]bool) {
	c[0], c[Cells-1] = true, true
	code := tick<<5 | (checkMod - tick%checkMod)
	for i := range tickBits + 5 {
		c[2+i] = code>>(tickBits+5-1-i)&1 == 1
	}
	return c
}

// Draw puts the clock for a tick (0 to 1499) into a picture, in place.
func Draw(img *image.YCbCr, tick int) {
	tick %= TicksPerMinute
	w, h := img.Rect.Dx(), img.Rect.Dy()
	for i, on := range cells(tick) {
		fill(img, image.Rect(i*w/Cells, 0, (i+1)*w/Cells, h/Height), level(on))
	}
	sec, part := tick/TicksPerSecond, tick%TicksPerSecond
	drawDigits(img, image.Pt(w/40, h/Height+h/40), h/10, sec/10, sec%10, -1, part*4/10, part*4%10) // hundredths
}

func level(on bool) byte {
	if on {
		return white
	}
	return black
}

// Read returns the time since the start of the minute that a picture shows,
// to 1/25 s. The whole picture must be shown, at any scale. It is not ok when
// there is no clock, or when it cannot be read beyond doubt.
func Read(img image.Image) (sinceMinute time.Duration, ok bool) {
	var v [Cells]int
	for i := range v {
		v[i] = brightness(img, i)
	}
	hi, lo := min(v[0], v[Cells-1]), max(v[1], v[Cells-2])
	if hi-lo < 64 {
		return 0, false
	}
	mid, doubt := (hi+lo)/2, (hi-lo)/6
	code := 0
	for _, b := range v[2 : Cells-2] {
		if b > mid-doubt && b < mid+doubt {
			return 0, false
		}
		code <<= 1
		if b > mid {
			code |= 1
		}
	}
	tick, check := code>>5, code&31
	if tick >= TicksPerMinute || check != checkMod-tick%checkMod {
		return 0, false
	}
	return time.Duration(tick) * Tick, true
}

// brightness is the mean luma, 0 to 255, of the middle of a cell: a grid of 5
// by 5 points over the middle half of its width and height.
func brightness(img image.Image, cell int) int {
	const n = 5
	r := img.Bounds()
	w, h := r.Dx(), r.Dy()
	sum := 0
	for y := range n {
		for x := range n {
			// quarter + (point + 1/2) / n of the middle half
			px := w * (cell*4*n + n + 2*x + 1) / (Cells * 4 * n)
			py := h * (n + 2*y + 1) / (Height * 4 * n)
			cr, cg, cb, _ := img.At(r.Min.X+px, r.Min.Y+py).RGBA()
			sum += int(299*(cr>>8)+587*(cg>>8)+114*(cb>>8)) / 1000
		}
	}
	return sum / (n * n)
}
