package retention

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"vigil/internal/actor"
	"vigil/internal/catalogue"
	"vigil/internal/durable"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/seal"
	"vigil/internal/store"
	"vigil/internal/store/volume"
)

const day = 24 * time.Hour

// A bench has footage as a list, a ledger that says the same, and files on a
// disk in memory, so that removing frees space.
type bench struct {
	// mu is held by the test but while it rests, and by whoever looks at the
	// bench for the keeper.
	mu       sync.Mutex
	t        *testing.T
	disk     *durable.Mem
	vol      *volume.Volume
	segs     []catalogue.Segment
	leaves   map[uint64]ledger.Leaf
	size     uint64
	behind   uint64 // leaves that the catalogue lacks
	holds    []catalogue.Hold
	policy   Policy
	sync     bool
	skew     time.Duration // of the wall clock
	known    *Known
	alerts   map[string]map[string]string
	gone     []string
	noVolume bool
	vain     bool // removing frees nothing
	by       string
	stop     func()
	k        *Keeper
}

var cams = [2]media.CameraID{{1}, {2}}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, disk: durable.NewMem(), leaves: map[uint64]ledger.Leaf{}, alerts: map[string]map[string]string{}, sync: true}
	b.mu.Lock()
	b.policy = Policy{Days: func(media.CameraID) int { return 0 }}
	b.disk.Mkdir("mnt", 0o700)
	b.disk.Mkdir("footage", 0o700)
	b.disk.SyncDir(".")
	b.vol = volume.New(volume.Config{FS: b.disk, Dir: "mnt", Key: seal.NewKey(), New: true, Floor: 1})
	return b
}

// add records a segment of a minute that ended so long ago.
func (b *bench) add(cam int, ago time.Duration, bytes int64) catalogue.Segment {
	return b.addAt(cam, time.Now().Add(-ago), bytes)
}

func (b *bench) addAt(cam int, end time.Time, bytes int64) catalogue.Segment {
	n := len(b.leaves) + 1
	g := catalogue.Segment{
		Leaf: b.size, Segment: media.SegmentID{byte(n >> 8), byte(n)}, Stream: media.StreamID(cams[cam]), Camera: cams[cam],
		Start: end.Add(-time.Minute).UnixNano(), End: end.UnixNano(), Bytes: bytes,
	}
	leaf, err := ledger.SegmentMeta{Segment: g.Segment, Stream: g.Stream, Camera: g.Camera, Start: g.Start, End: g.End, Bytes: bytes}.Leaf()
	if err != nil {
		b.t.Fatal(err)
	}
	b.leaves[g.Leaf] = leaf
	b.size++
	b.segs = append(b.segs, g)
	f, err := b.disk.OpenFile("footage/"+g.Segment.String(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteAt(make([]byte, bytes), 0)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return g
}

func (b *bench) Totals() (list []catalogue.Total, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, cam := range cams {
		t := catalogue.Total{Stream: media.StreamID(cam), Camera: cam}
		for _, g := range b.segs {
			if g.Camera != cam {
				continue
			}
			if t.Segments == 0 || g.Start < t.First {
				t.First = g.Start
			}
			t.Last = max(t.Last, g.End)
			t.Segments++
			t.Bytes += g.Bytes
			t.Recorded += g.End - g.Start
		}
		list = append(list, t)
	}
	return list, nil
}

func (b *bench) sorted() []catalogue.Segment {
	return slices.SortedFunc(slices.Values(b.segs), func(x, y catalogue.Segment) int { return int((x.Start - y.Start) / 1e6) })
}

func (b *bench) Oldest(n int, skip func(catalogue.Segment) bool) (list []catalogue.Segment, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.sorted() {
		if !skip(g) && len(list) < n {
			list = append(list, g)
		}
	}
	return list, nil
}

func (b *bench) Segments(id media.StreamID, from, to int64, fn func(catalogue.Segment) bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.sorted() {
		if g.Stream == id && g.Start < to && (g.End > from || g.Start >= from) && !fn(g) {
			return nil
		}
	}
	return nil
}

func (b *bench) LeastLeaf(id media.StreamID, from, to int64) (leaf uint64, ok bool, err error) {
	err = b.Segments(id, from, to, func(g catalogue.Segment) bool {
		if g.Start >= from && (!ok || g.Leaf < leaf) {
			leaf, ok = g.Leaf, true
		}
		return true
	})
	return leaf, ok, err
}

func (b *bench) Holds(media.CameraID) ([]catalogue.Hold, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.holds, nil
}
func (b *bench) Position() (uint64, uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size - b.behind, 0, nil
}
func (b *bench) Size() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size
}
func (b *bench) Follow(from uint64, fn func(uint64, ledger.Leaf) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := from; i < b.size; i++ {
		l, ok := b.leaves[i]
		if !ok {
			l.Kind = ledger.Tombstone
		}
		if err := fn(i, l); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) Volumes() []*volume.Volume { return []*volume.Volume{b.vol} }

func (b *bench) Remove(_ context.Context, by actor.Actor, refs []store.Ref, why media.Cause, reason string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.by = by.String() + ", " + string(why) + ", " + reason
	for _, r := range refs {
		b.gone = append(b.gone, strings.TrimRight(r.Segment.String(), "0"))
		b.segs = slices.DeleteFunc(b.segs, func(g catalogue.Segment) bool { return g.Segment == r.Segment })
		if !b.vain {
			b.disk.Remove("footage/" + r.Segment.String())
		}
		b.size++
	}
	return nil
}

func (b *bench) Raise(kind, object string, args map[string]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alerts[kind+" "+object] = args
}
func (b *bench) Clear(kind, object string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.alerts, kind+" "+object)
}

func (b *bench) Load(into *Known) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil {
		return fs.ErrNotExist
	}
	*into = *b.known
	return nil
}

func (b *bench) Save(k Known) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = &k
	return nil
}

func locked[T any](b *bench, v *T) func() T {
	return func() T {
		b.mu.Lock()
		defer b.mu.Unlock()
		return *v
	}
}

// run starts volume and keeper, which take their first look.
func (b *bench) run() {
	b.t.Helper()
	if err := b.vol.Attach(); err != nil {
		b.t.Fatal(err)
	}
	b.start()
}

func (b *bench) start() {
	skew := locked(b, &b.skew)
	b.k = New(Config{
		Index: b, Book: b, Shelf: b, Alerts: b, Memory: b, Policy: locked(b, &b.policy), Synchronised: locked(b, &b.sync),
		ArmedBy: func() string { return "amy" }, Now: func() time.Time { return time.Now().Add(skew()) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	without := b.noVolume
	go func() {
		if !without {
			b.vol.Run(ctx)
		}
		done <- struct{}{}
	}()
	k := b.k
	go func() { k.Run(ctx); done <- struct{}{} }()
	b.stop = func() {
		cancel()
		b.mu.Unlock()
		<-done
		<-done
		b.mu.Lock()
	}
}

func (b *bench) expect(when string, gone ...media.SegmentID) {
	b.t.Helper()
	var want []string
	for _, id := range gone {
		want = append(want, strings.TrimRight(id.String(), "0"))
	}
	slices.Sort(want)
	slices.Sort(b.gone)
	if !slices.Equal(b.gone, want) {
		b.t.Errorf("%s: removed %v, want %v", when, b.gone, want)
	}
}

// rest lets time pass, and all that is due be done.
func (b *bench) rest(d time.Duration) {
	b.mu.Unlock()
	time.Sleep(d + time.Millisecond)
	synctest.Wait()
	b.mu.Lock()
}

func keepDays(n int) func(media.CameraID) int { return func(media.CameraID) int { return n } }

// TestAge removes what is older than its camera wants, and nothing that is
// held.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		time.Sleep(1000 * day)
		b.policy.Days = func(cam media.CameraID) int { return map[media.CameraID]int{cams[0]: 10, cams[1]: 30}[cam] }
		old := b.add(1, 31*day, 10)
		held := b.add(1, 31*day-time.Hour, 10)
		b.holds = []catalogue.Hold{{Camera: cams[1], From: held.Start + 1, To: held.Start + 2}}
		old2 := b.add(0, 11*day, 10)
		b.add(1, 11*day, 10)
		b.add(0, time.Hour, 10)
		b.run()
		b.rest(time.Minute)
		b.expect("first look", old.Segment, old2.Segment)
		if b.by != "system retention (armed by amy), retention, age" {
			t.Errorf("removed by %s", b.by)
		}
		b.stop()
	})
}

// TestClock lets the clock jump in every way: nothing goes because of it.
func TestClock(t *testing.T) {
	for _, c := range []struct {
		name  string
		sync  bool
		jump  time.Duration
		wait  time.Duration
		trust bool
		gone  int // of the two segments, 5 and 3 days old, with 10 days kept
		alert bool
	}{
		{"no jump", true, 0, 4 * day, false, 0, false},
		{"time passes", false, 0, 6 * day, false, 1, false},
		{"a year ahead", false, 365 * day, 3 * day, false, 0, true},
		{"a year ahead, kept by a time service for two hours", true, 365 * day, 2 * time.Hour, false, 0, true},
		{"a year ahead, kept by a time service for two days", true, 365 * day, 2 * day, false, 2, false},
		{"a year ahead, and a person says so", false, 365 * day, time.Hour, true, 2, false},
		{"doubt lets time go on", false, 365 * day, 6 * day, false, 1, true},
		{"a year back", false, -365 * day, 3 * day, false, 0, true},
		{"a year back, and a person says so", false, -365 * day, time.Hour, true, 0, false},
		{"an hour ahead", false, time.Hour, time.Hour, false, 0, false},
	} {
		for _, restart := range []string{"running", "restarted", "at once", "off"} {
			t.Run(c.name+"/"+restart, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t)
					time.Sleep(1000 * day)
					b.sync = false
					b.policy.Days = keepDays(10)
					b.add(0, 5*day, 10)
					b.add(0, 3*day, 10)
					b.addAt(0, time.Now(), 10)
					b.noVolume = true
					b.start()
					b.rest(time.Hour)
					if restart == "off" { // the clock jumps while the recorder is off
						b.stop()
					}
					b.skew, b.sync = c.jump, c.sync
					if restart == "at once" { // before anybody has looked at the clock
						b.addAt(0, time.Now().Add(b.skew), 10)
						b.stop()
					}
					b.rest(10 * time.Minute)
					if restart == "restarted" { // it has recorded with the wrong clock, and starts again
						b.addAt(0, time.Now().Add(b.skew), 10)
						b.stop()
					}
					if restart != "running" {
						b.start()
					}
					if c.trust {
						b.rest(10 * time.Minute)
						b.k.Trust()
					}
					b.rest(c.wait)
					gone := 0
					for _, id := range []string{"000g", "001"} {
						if slices.Contains(b.gone, id) {
							gone++
						}
					}
					if gone != c.gone {
						t.Errorf("%d of the two old segments went (%v), want %d", gone, b.gone, c.gone)
					}
					if _, ok := b.alerts[ClockStep+" "]; ok != c.alert {
						t.Errorf("alerts %v", b.alerts)
					}
					b.stop()
				})
			})
		}
	}
}

// TestClockInSteps: steps that are small enough each add up over restarts, and
// are forgotten as time really passes.
func TestClockInSteps(t *testing.T) {
	for _, c := range []struct {
		name  string
		run   time.Duration // between the steps
		steps int
		gone  int
		alert bool
	}{
		{"five in a row", 10 * time.Minute, 5, 0, true},
		{"one", 10 * time.Minute, 1, 0, false},
		{"off for five hours each night", 19 * time.Hour, 10, 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				time.Sleep(1000 * day)
				b.sync = false
				b.policy.Days = keepDays(1)
				b.add(0, time.Hour, 10)
				b.add(0, 0, 10)
				b.noVolume = true
				b.start()
				b.rest(10 * time.Minute)
				for range c.steps {
					b.stop()
					b.skew += 5 * time.Hour
					b.start()
					b.rest(c.run)
				}
				if len(b.gone) != c.gone {
					t.Errorf("gone: %v, want %d", b.gone, c.gone)
				}
				if _, ok := b.alerts[ClockStep+" "]; ok != c.alert {
					t.Errorf("alerts %v", b.alerts)
				}
				b.stop()
			})
		})
	}
}

// TestWrongClockFootage keeps what was recorded while the clock stood in 1970:
// its place in the ledger says how old it is.
func TestWrongClockFootage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		time.Sleep(1000 * day)
		b.policy.Days = keepDays(10)
		old := b.add(0, 11*day, 10)
		b.add(0, 9*day, 10)
		b.addAt(0, time.Unix(3600, 0), 10) // after it in the ledger
		b.addAt(1, time.Now().Add(5000*day), 10)
		b.add(0, time.Hour, 10)
		b.run()
		b.rest(time.Minute)
		b.expect("with footage of 1970", old.Segment)
		b.stop()
	})
}

// TestClockBackOverTheEdge has footage on both sides of the age that was recorded four days ago, by a clock that was set back: the part that
// looks younger does not make the other one old.
//
//vigil:clause 5.2.8.1
func TestClockBackOverTheEdge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		time.Sleep(1000 * day)
		b.policy.Days = keepDays(10)
		b.add(0, 5*day, 10)
		b.add(0, 11*day, 10) // the clock was set back before this, four days ago
		b.add(0, 9*day, 10)
		b.add(0, time.Hour, 10)
		b.run()
		b.rest(time.Minute)
		b.expect("recorded by a clock that was eleven days behind")
		b.stop()
	})
}

// TestRoom removes the oldest until the reserve is there again, before the
// disk is full, and never what is held.
//
//vigil:clause 5.2.8.1
func TestRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		time.Sleep(1000 * day)
		b.disk.Limit(1000_000)
		b.policy.Reserve, b.policy.Low, b.policy.LowDays = 200_000, 300_000, 5
		first := b.add(0, 9*day, 100_000)
		held := b.add(1, 8*day, 100_000)
		third := b.add(0, 3*day, 100_000)
		fourth := b.add(1, 2*day, 100_000)
		b.add(0, day, 300_000)
		b.holds = []catalogue.Hold{{Camera: cams[1], From: held.Start, To: held.End}}
		b.run()
		b.rest(time.Minute)
		b.expect("with 300 kB free")
		if _, ok := b.alerts[SpaceLow+" mnt"]; !ok {
			t.Error("no alert below the set space")
		}
		b.add(1, 0, 100_000)
		b.add(1, 0, 95_000)
		b.rest(time.Minute)
		b.expect("with 100 kB free", first.Segment)
		if _, ok := b.alerts[RetentionShort+" "+cams[0].String()]; ok {
			t.Error("what was old enough counts as short")
		}
		b.add(1, 0, 180_000)
		b.rest(time.Minute)
		b.expect("again", first.Segment, third.Segment, fourth.Segment)
		if args := b.alerts[RetentionShort+" "+cams[0].String()]; args["days"] != "3" || args["wanted"] != "5" {
			t.Errorf("short retention is not told: %v", b.alerts)
		}
		if !strings.HasSuffix(b.by, "retention, space") {
			t.Errorf("removed by %s", b.by)
		}
		b.stop()
	})
}

// TestSpaceAlert goes below the set space and back: one alert, with a margin.
//
//vigil:clause 5.2.8.1
func TestSpaceAlert(t *testing.T) {
	b := newBench(t)
	b.mu.Unlock()
	k := New(Config{Alerts: b})
	p := Policy{Low: 100, LowPercent: 20} // the larger counts: 200 of 1000
	for _, c := range []struct {
		free int64
		want bool
	}{{500, false}, {200, false}, {199, true}, {205, true}, {219, true}, {220, false}, {210, false}, {10, true}, {1000, false}} {
		k.observe("mnt", c.free, 1000, p)
		if _, got := b.alerts[SpaceLow+" mnt"]; got != c.want {
			t.Errorf("%d of 1000 free: alert %v, want %v", c.free, got, c.want)
		}
	}
}

// TestNeverByMistake finds nothing removed for want of space when the reason
// is not ours to act on.
func TestNeverByMistake(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(b *bench)
		most int // segments that may go
		want string
	}{
		{"nothing is wrong", func(*bench) {}, 3, ""},
		{"a catalogue that lags", func(b *bench) { b.behind = 1 }, 0, ""},
		{"a new catalogue", func(b *bench) { b.segs = nil }, 0, ""},
		{"a catalogue of another ledger", func(b *bench) { clear(b.leaves) }, 0, ""},
		{"a catalogue that is wrong", func(b *bench) {
			for i := range b.segs {
				b.segs[i].Segment[5]++
			}
		}, 0, ""},
		{"an empty mount point", func(b *bench) {
			b.disk.Rename("mnt", "away")
			b.disk.Mkdir("mnt", 0o700)
			b.rest(5 * time.Second)
		}, 0, ""},
		{"removing frees nothing", func(b *bench) { b.vain = true }, 3 * maxPart, DiskTrouble + " mnt"},
		{"all is held", func(b *bench) { b.holds = []catalogue.Hold{{Camera: cams[0], To: time.Now().Add(day).UnixNano()}} }, 0, SpaceHeld + " mnt"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				time.Sleep(1000 * day)
				b.disk.Limit(1000_000)
				for i := range 600 {
					b.add(0, time.Duration(600-i)*time.Hour, 1500)
				}
				if err := b.vol.Attach(); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				go b.vol.Run(ctx)
				c.do(b)
				b.policy.Reserve = 101_000
				cancel()
				synctest.Wait()
				b.start()
				b.rest(10 * time.Minute)
				if c.want == "" && c.most > 0 && len(b.gone) == 0 || len(b.gone) > c.most {
					t.Errorf("%d segments went, at most %d", len(b.gone), c.most)
				}
				if _, ok := b.alerts[c.want]; c.want != "" && !ok {
					t.Errorf("alerts %v, want %s", b.alerts, c.want)
				}
				b.stop()
			})
		})
	}
}

// TestShare: on a small volume the reserve must leave room for footage.
func TestShare(t *testing.T) {
	for _, x := range []struct {
		bytes         int64
		percent, most int
		total, want   int64
	}{
		{2 << 30, 5, mostReserve, 4000 << 30, 200 << 30},
		{2 << 30, 5, mostReserve, 20 << 30, 2 << 30},
		{2 << 30, 5, mostReserve, 100 << 20, 50 << 20},
		{3 << 30, 8, mostLow, 100 << 20, 90 << 20},
		{0, 5, mostReserve, 100 << 20, 5 << 20},
	} {
		if got := share(x.bytes, x.percent, x.most, x.total); got < x.want-100 || got > x.want {
			t.Errorf("%+v: %d", x, got)
		}
	}
}

// TestRoom: what footage may take of a volume, whatever lies there already.
func TestPolicyRoom(t *testing.T) {
	const gb = 1 << 30
	for _, x := range []struct {
		name              string
		p                 Policy
		total, free, used int64
		reserve, room     int64
	}{
		{"an empty disk", Policy{Reserve: 2 * gb, ReservePercent: 5}, 1000 * gb, 1000 * gb, 0, 50 * gb, 950 * gb},
		{"footage makes room for footage", Policy{Reserve: 2 * gb, ReservePercent: 5}, 1000 * gb, 60 * gb, 900 * gb, 50 * gb, 910 * gb},
		{"others' files do not", Policy{Reserve: 2 * gb, ReservePercent: 5}, 1000 * gb, 60 * gb, 100 * gb, 50 * gb, 110 * gb},
		{"below the reserve", Policy{Reserve: 2 * gb, ReservePercent: 5}, 1000 * gb, 10 * gb, 0, 50 * gb, 0},
		{"a quota", Policy{Reserve: 2 * gb, ReservePercent: 5, Quota: 300 * gb}, 1000 * gb, 1000 * gb, 0, 50 * gb, 300 * gb},
		{"a quota larger than the disk", Policy{Reserve: 2 * gb, ReservePercent: 5, Quota: 3000 * gb}, 1000 * gb, 1000 * gb, 0, 50 * gb, 950 * gb},
		{"half of a small disk", Policy{Reserve: 2 * gb, ReservePercent: 5}, gb, gb, 0, gb / 2, gb / 2},
		{"a disk that is away", Policy{Reserve: 2 * gb, ReservePercent: 5}, 0, 0, 0, 0, 0},
	} {
		if reserve, room := x.p.Room(x.total, x.free, x.used); reserve < x.reserve-100 || reserve > x.reserve || room < x.room-100 || room > x.room+100 {
			t.Errorf("%s: reserve %d, room %d", x.name, reserve, room)
		}
	}
}
