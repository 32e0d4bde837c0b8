package simcam

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"
)

// A Camera is a running simulated camera. Safe for concurrent use.
type Camera struct {
	cfg    Config
	feeds  []*Feed
	cancel context.CancelFunc
	ctx    context.Context
	done   sync.WaitGroup // the feeds, and what ends faults

	power sync.Mutex // one start or stop at a time; guards boot, addr and udp
	boot  *boot      // nil while off
	addr  string     // host:port, fixed after the first start
	udp   int        // RTP port

	mu       sync.Mutex // guards all below; after Feed.mu, never before
	cert     tls.Certificate
	user     string
	password string
	clock    time.Duration
	noTCP    bool
	noSound  SoundRefusal
	limit    int
	seats    int
}

// Start starts a camera. It sends from now on, whether anybody reads or not,
// until Close.
func Start(cfg Config) (*Camera, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("simulated camera: %w", err)
	}
	c := &Camera{cfg: cfg, addr: cfg.Addr, user: cfg.User, password: cfg.Password, clock: cfg.ClockOffset, limit: cfg.MaxSessions}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	if cfg.TLS {
		var err error
		if c.cert, err = newCertificate(); err != nil {
			return nil, fmt.Errorf("simulated camera: %w", err)
		}
	}
	now := time.Now()
	loaded := map[string]*film{} // many streams share one film
	load := func(key string, read func() (*film, error)) (*film, error) {
		if f := loaded[key]; f != nil {
			return f, nil
		}
		f, err := read()
		if err != nil {
			return nil, fmt.Errorf("simulated camera: %w", err)
		}
		loaded[key] = f
		return f, nil
	}
	for _, s := range cfg.Streams {
		video, err := load(fmt.Sprintf("video %s %g", s.Source, s.Rate), func() (*film, error) { return loadFilm(cfg.Footage, s.Source, s.Rate) })
		if err != nil {
			return nil, err
		}
		var sound *film
		if s.Sound != "" {
			if sound, err = load("sound "+s.Sound+" of "+s.Source, func() (*film, error) { return loadSound(cfg.Footage, s.Sound, s.Source) }); err != nil {
				return nil, err
			}
		}
		c.feeds = append(c.feeds, newFeed(c, s, video, sound, now))
	}
	b, err := c.start()
	if err != nil {
		return nil, fmt.Errorf("simulated camera: %w", err)
	}
	c.boot = b
	for _, f := range c.feeds {
		c.done.Go(func() { f.run(c.ctx) })
	}
	return c, nil
}

// Close ends the camera and waits for all of it.
func (c *Camera) Close() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.done.Wait()
	c.powerOff()
}

// Addr returns host:port.
func (c *Camera) Addr() string {
	c.power.Lock()
	defer c.power.Unlock()
	return c.addr
}

// URL returns the address of a path, without user and password.
func (c *Camera) URL(path string) string {
	scheme := "rtsp"
	if c.cfg.TLS {
		scheme = "rtsps"
	}
	return scheme + "://" + c.Addr() + "/" + path
}

// Paths returns the paths, in the order of Config.Streams.
func (c *Camera) Paths() (paths []string) {
	for _, f := range c.feeds {
		paths = append(paths, f.stream.Path)
	}
	return paths
}

// Feed returns what a path sends; nil if there is no such path.
func (c *Camera) Feed(path string) *Feed {
	for _, f := range c.feeds {
		if f.stream.Path == path {
			return f
		}
	}
	return nil
}

// Counters returns the totals of all paths.
func (c *Camera) Counters() (l []Counters) {
	for _, f := range c.feeds {
		l = append(l, f.Counters())
	}
	return l
}

// PowerOff closes all connections and refuses new ones until PowerOn. Nothing
// is sent and no numbers are used up meanwhile.
func (c *Camera) PowerOff() { c.powerOff() }

func (c *Camera) powerOff() {
	c.power.Lock()
	defer c.power.Unlock()
	if c.boot == nil {
		return
	}
	for _, f := range c.feeds {
		f.powerOff()
	}
	c.boot.srv.Close()
	c.boot = nil
}

// PowerOn ends PowerOff: the camera is back at the same address, with new RTP
// numbers.
func (c *Camera) PowerOn() error {
	c.power.Lock()
	defer c.power.Unlock()
	if c.boot != nil || c.ctx.Err() != nil {
		return nil
	}
	var err error
	for range 20 { // somebody's outgoing connection may have the port for a moment
		if c.boot, err = c.start(); err == nil {
			return nil
		}
		select {
		case <-c.ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("power on: %w", err)
}

// Reboot is PowerOff and, after d, PowerOn. It returns when the camera is off.
func (c *Camera) Reboot(d time.Duration) {
	c.powerOff()
	c.after(d, func() { _ = c.PowerOn() })
}

// after does something later, unless the camera is closed before.
func (c *Camera) after(d time.Duration, do func()) {
	c.mu.Lock() // so that Close does not begin to wait meanwhile
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return
	}
	c.done.Go(func() {
		select {
		case <-c.ctx.Done():
		case <-time.After(d):
			do()
		}
	})
}

// SetClock sets the camera's clock, which only its sender reports tell, to be
// ahead of ours by d.
func (c *Camera) SetClock(d time.Duration) {
	c.mu.Lock()
	c.clock = d
	c.mu.Unlock()
	for _, f := range c.feeds {
		f.mu.Lock()
		if f.out != nil {
			f.out.video.report, f.out.sound.report = time.Time{}, time.Time{}
		}
		f.mu.Unlock()
	}
}

// SetClockTo sets the camera's clock to a time: 1970, say.
func (c *Camera) SetClockTo(t time.Time) { c.SetClock(time.Until(t)) }

func (c *Camera) clockAt(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Add(c.clock)
}

// A SoundRefusal says what a camera makes of a SETUP for its sound.
type SoundRefusal string

// The refusals.
const (
	SoundTaken   SoundRefusal = "off"
	SoundRefused SoundRefusal = "on"     // 500
	SoundHangsUp SoundRefusal = "hangup" // the connection is closed
)

// RefuseSound lets who wants the sound too fail.
func (c *Camera) RefuseSound(how SoundRefusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noSound = how
}

// RefuseTCP answers SETUP over TCP with 461, or no longer.
func (c *Camera) RefuseTCP(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noTCP = on
}

// Limit sets the number of sessions beyond which SETUP gets 453; 0 is none.
func (c *Camera) Limit(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = n
}

// SetPassword changes who is let in; sessions go on.
func (c *Camera) SetPassword(user, password string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.user, c.password = user, password
}

// Calm ends all faults but Reboot.
func (c *Camera) Calm() {
	c.SetClock(c.cfg.ClockOffset)
	c.mu.Lock()
	c.user, c.password, c.noTCP, c.noSound, c.limit = c.cfg.User, c.cfg.Password, false, SoundTaken, c.cfg.MaxSessions
	c.mu.Unlock()
	for _, f := range c.feeds {
		f.Calm()
	}
}
