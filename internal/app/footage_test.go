package app

import (
	"slices"
	"testing"
	"time"

	"vigil/internal/catalogue"
	"vigil/internal/media"
	"vigil/internal/web"
)

func TestCausesOfGaps(t *testing.T) {
	sec := func(n int64) time.Time { return time.Unix(n, 0) }
	ns := func(n int64) int64 { return n * 1e9 }
	none := func() (media.Cause, string) { return media.Stopped, "amy" }
	ranges := []web.Range{{From: sec(10), To: sec(20)}, {From: sec(30), To: sec(40)}}
	known := []catalogue.Gap{
		{From: ns(10), To: ns(10), Cause: media.CameraStart}, // of the first segment: since when is not known
		{From: ns(20), To: ns(30), Cause: media.CameraLost, Lost: 3},
	}
	want := []web.Gap{
		{From: sec(5), To: sec(10), Cause: media.CameraStart},
		{From: sec(20), To: sec(30), Cause: media.CameraLost, Lost: 3},
		{From: sec(40), To: sec(50), Cause: media.Stopped, By: "amy"},
	}
	if got := gapsBetween(known, ranges, sec(5), sec(50), none); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
