package clockface

import "image"

// segments of the digits 0 to 9: bit 0 is the top one, then clockwise, bit 6
// the middle one.
var segments = [10]byte{0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07, 0x7f, 0x6f}

// drawDigits writes digits of a height in white on a black box; -1 is a point.
func drawDigits(img *image.YCbCr, at image.Point, height int, digits ...int) {
	t := max(height/8, 1) // thickness of a stroke
	w := height / 2
	step := w + 2*t
	width := 2 * t
	for _, d := range digits {
		if d < 0 {
			width += 2 * t
		} else {
			width += step
		}
	}
	fill(img, image.Rect(at.X, at.Y, at.X+width, at.Y+height+2*t), black)
	x, y := at.X+2*t, at.Y+t
	for _, d := range digits {
		if d < 0 {
			fill(img, image.Rect(x-t/2, y+height-t, x-t/2+t, y+height), white)
			x += 2 * t
			continue
		}
		half := y + (height-t)/2
		for i, r := range [7]image.Rectangle{
			image.Rect(x, y, x+w, y+t),
			image.Rect(x+w-t, y, x+w, half+t),
			image.Rect(x+w-t, half, x+w, y+height),
			image.Rect(x, y+height-t, x+w, y+height),
			image.Rect(x, half, x+t, y+height),
			image.Rect(x, y, x+t, half+t),
			image.Rect(x, half, x+w, half+t),
		} {
			if segments[d]>>i&1 == 1 {
				fill(img, r, white)
			}
		}
		x += step
	}
}

// fill sets the luma of a rectangle and takes its colour away.
func fill(img *image.YCbCr, r image.Rectangle, luma byte) {
	r = r.Intersect(img.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			img.Y[img.YOffset(x, y)] = luma
			c := img.COffset(x, y)
			img.Cb[c], img.Cr[c] = 128, 128
		}
	}
}
