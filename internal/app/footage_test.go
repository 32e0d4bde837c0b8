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

// A gap over the edge of what retention takes, while it does: each part has its
// own cause, and what was missing before does not hide that the rest was removed.
func TestGapsOverTheEdge(t *testing.T) {
	sec := func(n int64) time.Time { return time.Unix(n, 0) }
	ns := func(n int64) int64 { return n * 1e9 }
	none := func() (media.Cause, string) { return "", "" }
	known := []catalogue.Gap{
		{From: ns(0), To: ns(50), Cause: media.Retention, Segments: 1},
		{From: ns(20), To: ns(30), Cause: media.CameraLost, Lost: 3}, // long gone with what was around it
		{From: ns(50) + 2e8, To: ns(70), Cause: media.Retention, Segments: 1},
		{From: ns(70), To: ns(90), Cause: media.Crash},
		{From: ns(85), To: ns(90), Cause: media.CameraLost},
	}
	ranges := []web.Range{{From: sec(90), To: sec(99)}}
	want := []web.Gap{
		{From: sec(10), To: sec(50), Cause: media.Retention},
		{From: sec(50), To: sec(70), Cause: media.Retention},
		{From: sec(70), To: sec(90), Cause: media.Crash},
	}
	if got := gapsBetween(known, ranges, sec(10), sec(99), none); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// However many gaps there are, finding their causes takes no square of them, and
// the answer is bounded.
func TestManyGaps(t *testing.T) {
	const n = 50_000
	var known []catalogue.Gap
	var ranges []web.Range
	for i := range int64(n) {
		at := i * 5e9
		ranges = append(ranges, web.Range{From: time.Unix(0, at), To: time.Unix(0, at+3e9)})
		known = append(known, catalogue.Gap{From: at + 3e9, To: at + 5e9, Cause: media.CameraLost, Lost: uint32(i)})
	}
	ranges[100].To = ranges[100].To.Add(-time.Second)
	got := gapsBetween(known, ranges, time.Unix(0, 0), time.Unix(n*5, 0), func() (media.Cause, string) { return "", "" })
	if len(got) != n || got[777].Lost != 777 {
		t.Fatalf("%d gaps, %+v", len(got), got[777])
	}
	r, g := bounded(ranges, got, 1)
	if len(g) != 1 || g[0].From != time.Unix(502, 0) || len(r) != 2 || r[0].To != time.Unix(502, 0) || r[1].From != time.Unix(505, 0) || r[1].To != ranges[n-1].To {
		t.Errorf("%v, %v", r, g)
	}
}

// What is being recorded has its place where the clock says, also before what
// was recorded until the clock was set back.
func TestPut(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(0, int64(s*1e9)) }
	list := []web.Range{{From: at(10), To: at(20)}, {From: at(100), To: at(110)}}
	for _, tt := range []struct {
		name     string
		from, to float64
		want     []web.Range
	}{
		{"goes on", 110.5, 115, []web.Range{list[0], {From: at(100), To: at(115), Open: true}}},
		{"later", 120, 125, []web.Range{list[0], list[1], {From: at(120), To: at(125), Open: true}}},
		{"set back", 40, 50, []web.Range{list[0], {From: at(40), To: at(50), Open: true}, list[1]}},
		{"set back to where it was", 20.5, 50, []web.Range{{From: at(10), To: at(50), Open: true}, list[1]}},
		{"set back, into what there is", 102, 104, list},
		{"set back, and on through what there is", 15, 105, []web.Range{{From: at(10), To: at(110)}}},
		{"before all", 1, 2, []web.Range{{From: at(1), To: at(2), Open: true}, list[0], list[1]}},
	} {
		if got := put(slices.Clone(list), web.Range{From: at(tt.from), To: at(tt.to), Open: true}); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
