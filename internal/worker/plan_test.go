package worker

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"vigil/internal/media"
	"vigil/internal/worker/wire"
)

// planned returns a pool that does not run: only its plan changes.
func planned(t *testing.T, cameras int) (*Pool, []wire.Spec) {
	p := New(Options{Sink: func(media.StreamID) Sink { return nowhere{} }})
	var specs []wire.Spec
	for n := range cameras {
		specs = append(specs, second(cam(byte(n+1), "x"))...)
	}
	if err := p.Set(specs); err != nil {
		t.Fatal(err)
	}
	return p, specs
}

func sizes(p *Pool) (n []int) {
	for _, w := range p.Workers() {
		n = append(n, len(w.Cameras))
	}
	return n
}

func TestPlan(t *testing.T) {
	p, specs := planned(t, 18)
	if got := sizes(p); !slices.Equal(got, []int{8, 8, 2}) {
		t.Errorf("18 cameras on %v", got)
	}
	// Places that become free are taken.
	p.Set(specs[8:])
	p.Set(append(slices.Clone(specs[8:]), specs[:4]...))
	if got := sizes(p); !slices.Equal(got, []int{6, 8, 2}) {
		t.Errorf("after leaving and coming: %v", got)
	}
}

func TestJudge(t *testing.T) {
	now := time.Now()
	p, specs := planned(t, 8)
	g := p.groups[0]
	third := specs[4].Camera
	if who, alone := p.judge(g, third, now); who != third || alone {
		t.Errorf("first fall: %v, %v", who, alone)
	}
	if got := sizes(p); !slices.Equal(got, []int{8}) {
		t.Errorf("after one fall: %v", got)
	}
	if who, alone := p.judge(g, third, now.Add(time.Minute)); who != third || !alone {
		t.Errorf("second fall: %v, %v", who, alone)
	}
	if got := sizes(p); !slices.Equal(got, []int{7, 1}) {
		t.Errorf("after two falls: %v", got)
	}
	// Nobody joins it, and it does not come back by leaving.
	p.Set(append(slices.Clone(specs), cam(20, "x")...))
	p.Set(append(slices.Clone(specs), cam(20, "x")...)[2:])
	if got := sizes(p); !slices.Equal(got, []int{7, 1}) {
		t.Errorf("with another camera: %v", got)
	}
	p.Set(nil)
	p.Set(specs)
	for _, w := range p.Workers() {
		if slices.Contains(w.Cameras, third) && len(w.Cameras) != 1 {
			t.Errorf("it is pardoned: %+v", w)
		}
	}
}

func TestJudgeForgets(t *testing.T) {
	now := time.Now()
	p, specs := planned(t, 8)
	g := p.groups[0]
	for i := range 5 {
		if _, alone := p.judge(g, specs[0].Camera, now.Add(time.Duration(i)*11*time.Minute)); alone {
			t.Errorf("fall %d, 11 minutes after the last one", i)
		}
		p.judge(g, media.CameraID{}, now.Add(time.Duration(i)*11*time.Minute))
	}
	if got := sizes(p); !slices.Equal(got, []int{8}) {
		t.Errorf("parted: %v", got)
	}
}

// TestJudgeLies shows that a worker can only blame those it has.
func TestJudgeLies(t *testing.T) {
	p, specs := planned(t, 16)
	other := specs[len(specs)-1].Camera
	if who, _ := p.judge(p.groups[0], other, time.Now()); !who.IsZero() {
		t.Errorf("blamed: %v", who)
	}
}

func TestJudgeParts(t *testing.T) {
	now := time.Now()
	p, _ := planned(t, 8)
	p.judge(p.groups[0], media.CameraID{}, now)
	p.judge(p.groups[0], media.CameraID{}, now)
	if got := sizes(p); !slices.Equal(got, []int{4, 4}) {
		t.Errorf("after two falls: %v", got)
	}
	p.judge(p.groups[1], media.CameraID{}, now)
	p.judge(p.groups[2], media.CameraID{}, now)
	if got := sizes(p); !slices.Equal(got, []int{4, 2, 1, 1}) {
		t.Errorf("after two more: %v", got)
	}
	// While that is unexplained, a new camera keeps away.
	if err := p.Set(append(func() (all []wire.Spec) {
		for _, c := range p.cameras {
			all = append(all, c.specs...)
		}
		return all
	}(), cam(30, "x")...)); err != nil {
		t.Fatal(err)
	}
	if got := sizes(p); !slices.Equal(got, []int{4, 2, 1, 1, 1}) {
		t.Errorf("with a new camera: %v", got)
	}
}

func TestBackOff(t *testing.T) {
	p := New(Options{})
	for quick := range 5 {
		if d := p.backOff(quick); d > time.Second {
			t.Errorf("restart %d after %v: 2 s are promised", quick, d)
		}
	}
	for quick := range 100 {
		if d := p.backOff(quick); d <= 0 || d > 15*time.Second {
			t.Errorf("restart %d after %v", quick, d)
		}
	}
}

func TestClock(t *testing.T) {
	var c clock
	now := time.Now()
	low, high := c.window(now)
	if at := media.TicksOf(now); at <= low || at >= high || high-low != 2*media.TicksIn(maxSkew) {
		t.Errorf("window %v to %v at %v", low.Time(), high.Time(), now)
	}
	c = clock{base: now.Add(-time.Second)}
	if low, _ := c.window(now); low == 0 {
		t.Error("a second is no step")
	}
	c.step = now.Add(-forgive / 2)
	if low, high := c.window(now); low != 0 || high < 1<<62 {
		t.Error("after a step any time will do")
	}
}

func TestNameServers(t *testing.T) {
	text := "# comment\nsearch lan\nnameserver 192.0.2.1\n nameserver 2001:db8::1 # x\nnameserver bad\nnameserver 192.0.2.2\nnameserver 192.0.2.3\n"
	want := []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("[2001:db8::1]:53"), netip.MustParseAddrPort("192.0.2.2:53")}
	if got := nameServers([]byte(text)); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := nameServers(bytes.Repeat([]byte("nameserver 1.1.1.1\n"), 10000)); len(got) != 3 {
		t.Errorf("%d servers", len(got))
	}
}

func TestLabelled(t *testing.T) {
	tests := map[string]string{
		`goroutine 22 [running labels:{"stream": "7"}]:`:                    "7",
		`goroutine 22 [running, locked to thread labels:{"stream": "12"}]:`: "12",
		`goroutine 22 [running labels:{stream: 7}]:`:                        "7",
		`goroutine 22 [running]:`:                                           "",
		`goroutine 22 [select labels:{"stream": "7"}]:`:                     "",
		`x goroutine 22 [running labels:{"stream": "7"}]:`:                  "",
		`goroutine 22 [running labels:{"stream": "99999999999999"}]:`:       "",
	}
	for line, want := range tests {
		got := ""
		if m := labelled.FindStringSubmatch(line); m != nil {
			got = m[1]
		}
		if got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
}
