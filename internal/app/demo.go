package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"vigil/internal/worker"
)

// A demo is the demonstration camera: its socket, which the core holds, and its
// process while there is one in the settings.
type demo struct {
	mu sync.Mutex
	l  *net.TCPListener // guarded by mu; nil: none yet
}

// Ports of demonstration cameras, below those that the kernel gives away; any
// when they are taken.
const demoPort, lastDemoPort = 8554, 8599

// address returns where a demonstration camera that is added now will answer.
func (d *demo) address() (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for port := demoPort; d.l == nil && port <= lastDemoPort; port++ {
		d.l = loopback(port)
	}
	if d.l == nil {
		d.l = loopback(0)
	}
	if d.l == nil {
		return "", errors.New("demo camera: no port on loopback")
	}
	return d.l.Addr().String(), nil
}

func loopback(port int) *net.TCPListener {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return nil
	}
	return l
}

// listener returns the socket of an address that was given away, in this run
// or an earlier one.
func (d *demo) listener(address string) (*net.TCPListener, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.l != nil && d.l.Addr().String() == address {
		return d.l, nil
	}
	at, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil || !at.IP.IsLoopback() {
		return nil, fmt.Errorf("%q is no address of a demo camera", address)
	}
	if d.l != nil {
		d.l.Close()
		d.l = nil
	}
	if d.l = loopback(at.Port); d.l == nil {
		return nil, fmt.Errorf("another program has the port of the demo camera, %s", address)
	}
	return d.l, nil
}

// close gives the port up: nobody connects to a camera that is no more.
func (d *demo) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.l != nil {
		d.l.Close()
		d.l = nil
	}
}

// demoAgain is how long to wait for a port that another program has.
const demoAgain = 5 * time.Second

// runDemo serves the demonstration camera while there is one.
func (a *App) runDemo(ctx context.Context) error {
	defer a.demo.close()
	for ctx.Err() == nil {
		changed := a.settings.Changed()
		at := a.demoAddress()
		if at == "" {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		serving, stop := context.WithCancel(ctx)
		over := make(chan error, 1)
		go func() { over <- a.serveDemo(serving, at) }()
		for at == a.demoAddress() && ctx.Err() == nil {
			select {
			case <-changed:
				changed = a.settings.Changed()
			case err := <-over:
				over <- err
				a.log.Error("demo camera", "err", err)
				select {
				case <-time.After(demoAgain):
				case <-ctx.Done():
				}
				at = "" // try again
			case <-ctx.Done():
			}
		}
		stop()
		<-over
		if a.demoAddress() == "" {
			a.demo.close()
		}
	}
	return nil
}

func (a *App) serveDemo(ctx context.Context, at string) error {
	l, err := a.demo.listener(at)
	if err != nil {
		return err
	}
	f, err := l.File()
	if err != nil {
		return err
	}
	defer f.Close()
	return worker.RunDemo(ctx, worker.Options{Log: a.log}, f)
}

// demoAddress is where the demonstration camera of the settings answers; ""
// without one.
func (a *App) demoAddress() string {
	c := a.settings.Get().Demo()
	if c == nil {
		return ""
	}
	u, err := url.Parse(c.Main().URL)
	if err != nil {
		return ""
	}
	return u.Host
}
