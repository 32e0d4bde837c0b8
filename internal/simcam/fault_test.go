package simcam

import (
	"slices"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/pion/rtp"
)

// small is a camera whose pictures come every 80 ms, key ones every 2 s.
func small(t *testing.T, change func(*Config)) (*Camera, *Feed) {
	t.Helper()
	t.Parallel()
	cfg := Config{Streams: []Stream{{Path: "v", Source: "clock-small"}}}
	if change != nil {
		change(&cfg)
	}
	c := start(t, cfg)
	return c, c.Feed("v")
}

func command(t *testing.T, c *Camera, line string) {
	t.Helper()
	if err := c.Command(line); err != nil {
		t.Fatal(err)
	}
}

// stamps returns the distances between the stamps of successive pictures, in
// pictures of the small film.
func stamps(l [][]rtp.Packet) (d []int) {
	for i := 1; i < len(l); i++ {
		d = append(d, int(int32(l[i][0].Timestamp-l[i-1][0].Timestamp))/7200)
	}
	return d
}

func TestPicturesGoOnOverTheLoop(t *testing.T) {
	c, f := small(t, func(c *Config) { c.Streams[0].Source = "pyramid" })
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	start := f.nextNumber()
	l := r.pictures(t, start, 150) // more than the 120 of a loop
	for i := 1; i < len(l); i++ {
		if a, b := l[i-1], l[i]; b[0].SequenceNumber != a[len(a)-1].SequenceNumber+1 {
			t.Fatalf("sequence numbers jump at picture %d", i)
		}
	}
	stamps := map[uint32]bool{}
	for _, p := range l[:120] {
		stamps[p[0].Timestamp] = true
	}
	if len(stamps) != 120 {
		t.Errorf("120 pictures have %d stamps", len(stamps))
	}
	for i := range 30 {
		if d := l[i+120][0].Timestamp - l[i][0].Timestamp; d != 4*videoClock {
			t.Errorf("picture %d came again %d ticks later", i, d)
		}
	}
}

func TestStall(t *testing.T) {
	c, f := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	r.pictures(t, 0, 3)
	command(t, c, "stall v")
	n, got := f.nextNumber(), len(r.packets())
	time.Sleep(300 * time.Millisecond) // what would have been sent meanwhile would show
	if m := f.nextNumber(); m != n {
		t.Errorf("%d pictures sent while stalled", m-n)
	}
	if more := len(r.packets()) - got; more > 8 { // some were under way
		t.Errorf("%d packets came while stalled", more)
	}
	command(t, c, "go v")
	l := r.pictures(t, n, 2)
	s := f.Sent(n)
	if s[0].Number != n || !s[0].Key || int32(s[0].Stamp-f.Sent(n - 1)[0].Stamp) < 7200 {
		t.Errorf("after the stall: %+v", s[0])
	}
	if m := Marks(joined(l[0])); len(m) != 1 || m[0].Number != n {
		t.Errorf("the first picture after the stall is %v, want %d", m, n)
	}
}

func joined(ps []rtp.Packet) (b []byte) {
	for _, p := range ps {
		b = append(b, p.Payload...)
	}
	return b
}

func TestDrop(t *testing.T) {
	c, f := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	r.pictures(t, 0, 2)
	command(t, c, "drop v 7")
	eventually(t, "seven packets are dropped", func() bool { return f.Counters().Dropped == 7 })
	r.pictures(t, f.nextNumber(), 2)
	l := r.packets()
	missing := 0
	for i := 1; i < len(l); i++ {
		missing += int(l[i].SequenceNumber - l[i-1].SequenceNumber - 1)
	}
	told := 0
	for _, s := range f.Sent(0) {
		told += s.Dropped
	}
	if missing != 7 || told != 7 {
		t.Errorf("%d packets missing, %d told", missing, told)
	}
	command(t, c, "droprate v 1/2")
	eventually(t, "many packets are dropped", func() bool { return f.Counters().Dropped > 17 })
	command(t, c, "calm")
	n := f.nextNumber()
	r.pictures(t, n, 3)
	for _, s := range f.Sent(n) {
		if s.Dropped > 0 {
			t.Errorf("dropped after the calm: %+v", s)
		}
	}
}

func TestReorder(t *testing.T) {
	c, _ := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP) // over UDP the test's reader would put them in order
	command(t, c, "reorder v 3")
	backwards := func() (n int) {
		l := r.packets()
		for i := 1; i < len(l); i++ {
			if d := int16(l[i].SequenceNumber - l[i-1].SequenceNumber); d == -1 {
				n++
			} else if d < 1 || d > 2 {
				t.Fatalf("step of %d", d)
			}
		}
		return n
	}
	eventually(t, "packets change places", func() bool { return backwards() > 5 })
}

func TestRenumber(t *testing.T) {
	c, f := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	r.pictures(t, 0, 2)
	n := f.nextNumber() - 1
	command(t, c, "renumber v")
	far := 0
	l := r.pictures(t, n, 6)
	for i := 1; i < len(l); i++ {
		if d := l[i][0].SequenceNumber - l[i-1][len(l[i-1])-1].SequenceNumber; d == 1+1<<14 {
			far++
		} else if d != 1 {
			t.Errorf("numbers jump by %d", d)
		}
	}
	if far != 1 {
		t.Errorf("%d jumps", far)
	}
}

func TestStamps(t *testing.T) {
	c, f := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	r.pictures(t, 0, 2)
	n := f.nextNumber() - 1
	command(t, c, "stampone v 3h")
	const far = 3 * 3600 * 90000 / 7200
	if d := stamps(r.pictures(t, n, 6)); !slices.Contains(d, far+1) || !slices.Contains(d, 1-far) {
		t.Errorf("one stamp wrong: steps of %v pictures", d)
	}
	n = f.nextNumber() - 1
	command(t, c, "stampshift v -2s")
	if d := stamps(r.pictures(t, n, 8)); !slices.Contains(d, 1-25) || sum(d) != 7-25 {
		t.Errorf("stamps shifted: steps of %v pictures", d)
	}
	command(t, c, "stampevery v 4 1h")
	n = f.nextNumber() + 1
	d := stamps(r.pictures(t, n, 12))
	if k := count(d, func(x int) bool { return x > 1 }); k < 2 || k > 3 {
		t.Errorf("each fourth stamp wrong: steps of %v pictures", d)
	}
	command(t, c, "stampevery v 0 0s")
	command(t, c, "freeze v")
	n = f.nextNumber() + 1
	if d := stamps(r.pictures(t, n, 6)); count(d, func(x int) bool { return x == 0 }) != 5 {
		t.Errorf("frozen stamps: steps of %v pictures", d)
	}
	command(t, c, "calm")
	n = f.nextNumber() + 1
	if d := stamps(r.pictures(t, n, 4)); sum(d) != 3 {
		t.Errorf("after the calm: steps of %v pictures", d)
	}
}

func sum(l []int) (n int) {
	for _, x := range l {
		n += x
	}
	return n
}

func count(l []int, is func(int) bool) (n int) {
	for _, x := range l {
		if is(x) {
			n++
		}
	}
	return n
}

// 5 pictures sent for each 10 stamped: the time between them, told by the
// marks, is twice what the stamps say.
func TestPace(t *testing.T) {
	c, f := small(t, func(c *Config) { c.Streams[0].Sound = "alaw" })
	play(t, c, "v", gortsplib.ProtocolTCP)
	for _, line := range []string{"pace v 1/2", "soundpace v 0.5"} {
		command(t, c, line)
	}
	n, sounds, from := f.nextNumber()+1, f.Counters().Sounds, time.Now()
	eventually(t, "20 slow pictures", func() bool { return f.nextNumber() > n+20 })
	s := f.Sent(n)[:20]
	real := time.Duration(s[19].At-s[0].At) * time.Millisecond
	stamped := time.Duration(s[19].Stamp-s[0].Stamp) * time.Second / videoClock
	if stamped != 19*80*time.Millisecond || real < stamped*3/2 {
		t.Errorf("20 pictures stamped %v were sent in %v", stamped, real)
	}
	// 50 frames a second are 25 now; only a bound from above is certain.
	if n, most := f.Counters().Sounds-sounds, time.Since(from).Seconds()*25+3; float64(n) > most {
		t.Errorf("%d frames of sound, want at most %g", n, most)
	}
	command(t, c, "pace v 1")
	n = f.nextNumber()
	eventually(t, "pictures at full rate", func() bool { return f.nextNumber() > n })
	k := f.Sent(n)[0]
	if late := (k.At - k.Clock + 60000) % 60000; !k.Key || late > 30000 {
		t.Errorf("after the return to the wall clock: %+v", k)
	}
}
