package simcam

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Commands is the grammar of Command. PATH may be * for all paths. Behind any
// line but power, reboot, cut, drop, stampone, stampshift, renumber, certificate, go,
// online and calm may stand "for DURATION", which ends the fault by itself.
const Commands = `stall PATH             send nothing, keep connections        go PATH       end it
drop PATH N            keep back the next N packets          droprate PATH SHARE   0 to 1
reorder PATH N         each N packets two change places, 0 ends
stampone PATH D        the next picture is stamped D away    stampevery PATH N D   each Nth picture, 0 ends
stampshift PATH D      stamps jump by D and stay             freeze PATH            one stamp for all pictures
renumber PATH          sequence numbers start anew           refusesound on|off|hangup
pace PATH F            pictures at F (or A/B) of their rate  soundpace PATH F
switch PATH FILM       another film from its next key picture on
sets PATH both|band|sdp
lie PATH KIND N        precede N pictures by something malformed
cut PATH               close the connections of a path       offline PATH  503        online PATH
clock D|TIME           the camera's clock: ahead by D, or set to an RFC 3339 time
refusetcp on|off       461                                   limit N       453 beyond N sessions, 0 none
password USER PASS     others are refused from now on        certificate   make another
power off|on           reboot D                              calm          end all faults`

// Command carries out one line of the grammar in Commands.
func (c *Camera) Command(line string) error {
	w := strings.Fields(line)
	var last time.Duration
	if n := len(w); n > 3 && w[n-2] == "for" {
		d, err := time.ParseDuration(w[n-1])
		if err != nil || d <= 0 {
			return fmt.Errorf("command %q: for how long?", line)
		}
		w, last = w[:n-2], d
	}
	if len(w) == 0 {
		return fmt.Errorf("empty command")
	}
	undo, err := c.command(w[0], w[1:])
	if err != nil {
		return fmt.Errorf("command %q: %w", line, err)
	}
	if last > 0 {
		if undo == nil {
			return fmt.Errorf("command %q: does not last", line)
		}
		c.after(last, undo)
	}
	return nil
}

// args reads the words of a command; the first mistake is kept.
type args struct {
	words []string
	err   error
}

func (a *args) word() string {
	if len(a.words) == 0 {
		a.fail("something is missing")
		return ""
	}
	w := a.words[0]
	a.words = a.words[1:]
	return w
}

func (a *args) fail(format string, v ...any) {
	if a.err == nil {
		a.err = fmt.Errorf(format, v...)
	}
}

func (a *args) number() int {
	n, err := strconv.Atoi(a.word())
	if err != nil || n < 0 {
		a.fail("want a number")
	}
	return n
}

func (a *args) duration() time.Duration {
	d, err := time.ParseDuration(a.word())
	if err != nil {
		a.fail("want a duration")
	}
	return d
}

// factor reads 0.84 or 21/25.
func (a *args) factor() float64 {
	up, down, ratio := strings.Cut(a.word(), "/")
	f, err := strconv.ParseFloat(up, 64)
	if ratio && err == nil {
		var g float64
		g, err = strconv.ParseFloat(down, 64)
		f /= g
	}
	if err != nil {
		a.fail("want a factor")
	}
	return f
}

func (a *args) end() error {
	if a.err == nil && len(a.words) > 0 {
		a.fail("%q is too much", a.words)
	}
	return a.err
}

// command checks a command and carries it out; undo ends what lasts.
func (c *Camera) command(name string, words []string) (undo func(), err error) {
	a := &args{words: words}
	if do, undo, ok := c.cameraCommand(name, a); ok {
		if err := a.end(); err != nil {
			return nil, err
		}
		return undo, do()
	}
	path := a.word()
	do, undoOne := feedCommand(name, a)
	if do == nil {
		return nil, fmt.Errorf("unknown")
	}
	if err := a.end(); err != nil {
		return nil, err
	}
	feeds := c.feeds
	if path != "*" {
		f := c.Feed(strings.Trim(path, "/"))
		if f == nil {
			return nil, fmt.Errorf("no path %q", path)
		}
		feeds = []*Feed{f}
	}
	for _, f := range feeds {
		if err := do(f); err != nil {
			return nil, err
		}
	}
	if undoOne == nil {
		return nil, nil
	}
	return func() {
		for _, f := range feeds {
			undoOne(f)
		}
	}, nil
}

// cameraCommand knows the commands without a path.
func (c *Camera) cameraCommand(name string, a *args) (do func() error, undo func(), ok bool) {
	simple := func(f func()) func() error { return func() error { f(); return nil } }
	switch name {
	case "clock":
		w := a.word()
		if t, err := time.Parse(time.RFC3339, w); err == nil {
			do = simple(func() { c.SetClockTo(t) })
		} else if d, err := time.ParseDuration(w); err == nil {
			do = simple(func() { c.SetClock(d) })
		} else {
			a.fail("want a duration or a time")
		}
		return do, func() { c.SetClock(c.cfg.ClockOffset) }, true
	case "refusetcp":
		on := a.word()
		if on != "on" && on != "off" {
			a.fail("want on or off")
		}
		return simple(func() { c.RefuseTCP(on == "on") }), func() { c.RefuseTCP(on != "on") }, true
	case "refusesound":
		how := SoundRefusal(a.word())
		if how != SoundTaken && how != SoundRefused && how != SoundHangsUp {
			a.fail("want on, off or hangup")
		}
		return simple(func() { c.RefuseSound(how) }), func() { c.RefuseSound(SoundTaken) }, true
	case "limit":
		n := a.number()
		return simple(func() { c.Limit(n) }), func() { c.Limit(c.cfg.MaxSessions) }, true
	case "password":
		user, pass := a.word(), a.word()
		return simple(func() { c.SetPassword(user, pass) }), func() { c.SetPassword(c.cfg.User, c.cfg.Password) }, true
	case "certificate":
		return c.NewCertificate, nil, true
	case "power":
		switch a.word() {
		case "off":
			return simple(c.PowerOff), nil, true
		case "on":
			return c.PowerOn, nil, true
		}
		a.fail("want on or off")
		return nil, nil, true
	case "reboot":
		d := a.duration()
		return simple(func() { c.Reboot(d) }), nil, true
	case "calm":
		return simple(c.Calm), nil, true
	}
	return nil, nil, false
}

// feedCommand knows the commands for a path; do is nil for others.
func feedCommand(name string, a *args) (do func(*Feed) error, undo func(*Feed)) {
	simple := func(do func(*Feed)) func(*Feed) error { return func(f *Feed) error { do(f); return nil } }
	switch name {
	case "stall":
		return simple(func(f *Feed) { f.Stall(0) }), (*Feed).Go
	case "go":
		return simple((*Feed).Go), nil
	case "drop":
		n := a.number()
		return simple(func(f *Feed) { f.Drop(n) }), nil
	case "droprate":
		p := a.factor()
		return simple(func(f *Feed) { f.DropShare(p) }), func(f *Feed) { f.DropShare(0) }
	case "reorder":
		n := a.number()
		return simple(func(f *Feed) { f.Reorder(n) }), func(f *Feed) { f.Reorder(0) }
	case "stampone":
		d := a.duration()
		return simple(func(f *Feed) { f.StampOne(d) }), nil
	case "stampevery":
		n, d := a.number(), a.duration()
		return simple(func(f *Feed) { f.StampEvery(n, d) }), func(f *Feed) { f.StampEvery(0, 0) }
	case "stampshift":
		d := a.duration()
		return simple(func(f *Feed) { f.StampShift(d) }), nil
	case "freeze":
		return simple(func(f *Feed) { f.Freeze(true) }), func(f *Feed) { f.Freeze(false) }
	case "renumber":
		return simple((*Feed).Renumber), nil
	case "pace":
		x := a.factor()
		return func(f *Feed) error { return f.Pace(x) }, func(f *Feed) { _ = f.Pace(1) }
	case "soundpace":
		x := a.factor()
		return func(f *Feed) error { return f.SoundPace(x) }, func(f *Feed) { _ = f.SoundPace(1) }
	case "switch":
		film := a.word()
		return func(f *Feed) error { return f.Switch(film) }, func(f *Feed) { _ = f.Switch(f.home) }
	case "sets":
		s := Sets(a.word())
		return func(f *Feed) error { return f.SetSets(s) }, func(f *Feed) { _ = f.SetSets(f.stream.Sets) }
	case "lie":
		kind, n := Lie(a.word()), a.number()
		return func(f *Feed) error { return f.Lie(kind, n) }, func(f *Feed) { _ = f.Lie(kind, 0) }
	case "cut":
		return simple((*Feed).Cut), nil
	case "offline":
		return simple(func(f *Feed) { f.Offline(0) }), (*Feed).Online
	case "online":
		return simple((*Feed).Online), nil
	}
	return nil, nil
}
