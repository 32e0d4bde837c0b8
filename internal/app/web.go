package app

import (
	"context"
	"crypto/fips140"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"vigil/internal/actor"
	"vigil/internal/alert"
	"vigil/internal/audit"
	"vigil/internal/clock"
	"vigil/internal/conformity"
	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/playback"
	"vigil/internal/release"
	"vigil/internal/store/volume"
	"vigil/internal/text"
	"vigil/internal/web"
)

// doors are the ways in: HTTPS on a port, and the control socket.
type doors struct {
	*web.Server
	hub      *web.Hub
	cert     *web.Certificate
	listener net.Listener // nil in a command
}

func (a *App) openDoors() (err error) {
	d := &a.doors
	d.cert, err = web.OpenCertificate(a.certificateFile())
	if err != nil {
		if errors.Is(err, document.ErrDamaged) {
			return text.Fail(err, "start.certificate-damaged")
		}
		return err
	}
	if a.mode == Serve {
		d.listener, err = net.Listen("tcp", a.conf.Listen)
		if errors.Is(err, syscall.EADDRINUSE) {
			return text.Fail(err, "start.port-used", "address", a.conf.Listen)
		}
		if err != nil {
			return text.Fail(err, "start.address-bad", "address", a.conf.Listen)
		}
	}
	d.hub = web.NewHub()
	a.footage = &footage{places: a.places, player: playback.New(library{a.places}, a.store.Unwrap, a.unreadable)}
	a.pictures = a.openPictures()
	a.jobs = playback.NewJobs(a.footage.player, func(j playback.Job) { d.hub.Tell(web.News{Kind: web.ExportNews, ID: j.ID.String()}) })
	if a.mode == Serve {
		file := document.File{FS: durable.OS{}, Name: a.places.name("exports"), Key: a.places.ring.Purpose("exports")}
		if err := a.jobs.Keep(file, func(err error) { a.log.Warn("the list of exports could not be kept", "err", err) }); err != nil {
			a.log.Warn("the list of exports begins anew", "err", err)
			a.places.anew(alert.ExportsAnew, err)
		}
	}
	d.Server, err = web.New(web.Options{
		Auth: a.people, Settings: a.settings, Audit: audit.Durably{Log: a.places.log}, Cameras: a.streams, Prober: a.pool, Footage: a.footage, Pictures: a.pictures, Exports: exports{a.jobs, a}, Layouts: a.layouts, Marks: a.marks,
		Alerts: alerts{a.alerts}, Machine: machine{a}, Disks: storage{a}, Demo: a.demo.address, ThirdParty: thirdParty, Clauses: clauses, Own: a.doors.cert, Checker: checker{a}, Hub: d.hub, Log: a.log,
	})
	return err
}

func (p *places) certificateFile() document.File {
	return document.File{FS: durable.OS{}, Name: p.name("certificate"), Key: p.ring.Purpose("tls"), Kind: web.CertificateKind, Version: web.CertificateVersion}
}

// runDoors answers until ctx ends.
func (a *App) runDoors(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error, 2)
	n := 1
	go func() { ends <- a.doors.ServeControl(ctx, a.conf.Socket()) }()
	if a.doors.listener != nil {
		n++
		go func() { ends <- a.doors.Serve(ctx, a.doors.listener, web.TLS(a.doors.cert.Get)) }()
	}
	var errs []error
	for range n {
		errs = append(errs, <-ends)
		cancel() // one door closed: close the other
	}
	return errors.Join(errs...)
}

// Ready waits until the recorder answers on its control socket.
func (a *App) Ready(ctx context.Context) error {
	for {
		c, err := net.Dial("unix", a.conf.Socket())
		if err == nil {
			return c.Close()
		}
		select {
		case <-a.ended:
			return context.Canceled
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Addresses lists where the page is: the machine's own addresses, when it
// listens on all.
func (a *App) Addresses() (list []string) {
	host, port, _ := net.SplitHostPort(a.doors.listener.Addr().String())
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		return []string{"https://" + net.JoinHostPort(host, port)}
	}
	addrs, _ := net.InterfaceAddrs()
	for _, addr := range addrs {
		if n, ok := addr.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			list = append(list, "https://"+net.JoinHostPort(n.IP.String(), port))
		}
	}
	return append(list, "https://127.0.0.1:"+port)
}

// Fingerprint is the SHA-256 of the page's certificate.
func (a *App) Fingerprint() (sum [32]byte) {
	if c, err := a.doors.cert.Get(&tls.ClientHelloInfo{}); err == nil {
		sum = sha256.Sum256(c.Certificate[0])
	}
	return sum
}

// SetUpNeeded tells whether there is no administrator yet.
func (a *App) SetUpNeeded() bool { return a.people.SetUpNeeded() }

// NewCode makes the one-time code for the first administrator.
func (a *App) NewCode() (code string, expires time.Time, err error) {
	return a.people.NewCode(actor.Actor{Kind: actor.Console, Name: fmt.Sprintf("uid %d", os.Getuid())})
}

// VideoFolder is where footage goes.
func (a *App) VideoFolder() string { return a.volumes[0].Dir() }

func thirdParty() (out []web.Part, err error) {
	parts, err := release.ThirdParty()
	for _, p := range parts {
		out = append(out, web.Part{Name: p.Name, Version: p.Version, Licence: p.Licence})
	}
	slices.SortFunc(out, func(a, b web.Part) int { return strings.Compare(a.Name, b.Name) })
	return out, err
}

func clauses() (out []web.Clause, err error) {
	table, err := conformity.Table()
	for _, r := range table {
		out = append(out, web.Clause{ID: r.ID, Title: r.English, TitleChinese: r.Chinese, State: string(r.State), Missing: r.Missing})
	}
	return out, err
}

// machine tells the page how the recorder is.
type machine struct{ *App }

func (m machine) Recording() map[media.StreamID]bool { return m.recorder.Recording() }

func (m machine) Status(context.Context) (web.Status, error) {
	s := web.Status{
		Version: release.Version, Started: m.started, DaysLeft: -1, BytesPerDay: -1, Keys: m.ring.Mode(),
		FIPS: fips140.Enabled(), Module: "Go Cryptographic Module " + fips140.Version(), Synchronised: clock.Now() == clock.Synchronised, Certificate: m.Fingerprint(),
	}
	var used, bits int64
	for _, t := range m.footage.totals() {
		used += t.Bytes
		if t.First != 0 && (s.Oldest.IsZero() || time.Unix(0, t.First).Before(s.Oldest)) {
			s.Oldest = time.Unix(0, t.First)
		}
	}
	for _, j := range m.streams.Recorded() {
		bits += m.streams.State(j.Stream.ID).BitsPerSecond
	}
	if bits > 0 {
		s.BytesPerDay = bits / 8 * 86400
	}
	var left int64
	for _, v := range m.volumes {
		st := v.Status()
		w := web.Volume{ID: v.ID().String(), Name: v.Dir(), State: webState(st.State), Total: st.Disk.Total, Free: st.Disk.Free, Used: used}
		w.Reserve, w.Room = m.policy().Room(w.Total, w.Free, used)
		if st.Err != nil {
			w.Why = text.Note{Code: "volume." + w.State, Args: map[string]string{"error": st.Err.Error()}}
		}
		left += max(w.Room-used, 0)
		s.Volumes = append(s.Volumes, w)
	}
	if s.BytesPerDay > 0 {
		s.DaysLeft = float64(left) / float64(s.BytesPerDay)
	}
	return s, nil
}

// webState is the state of a volume in the words of the interface.
func webState(s volume.State) string {
	if s == volume.Starting {
		return "missing"
	}
	return string(s)
}

// alerts is the board as the page wants it.
type alerts struct{ *alert.Board }

func (b alerts) List(all bool) (list []web.Alert) {
	for _, a := range b.Board.List(all) {
		list = append(list, webAlert(a))
	}
	return list
}

func (b alerts) Get(id string) (web.Alert, bool) {
	a, ok := b.Board.Get(id)
	return webAlert(a), ok
}

func (b alerts) Acknowledge(by actor.Actor, id string) (web.Alert, error) {
	a, err := b.Board.Acknowledge(by, id)
	if errors.Is(err, alert.ErrGone) {
		err = web.ErrGone
	}
	return webAlert(a), err
}

func webAlert(a alert.Alert) web.Alert {
	return web.Alert{
		ID: a.ID, Kind: string(a.Kind), Alarm: a.Alarm(), Object: a.Object, Camera: a.Camera, Args: a.Args,
		Since: a.Since, Last: a.Last, Count: a.Count, Cleared: a.Cleared, Acknowledged: a.Acknowledged, By: a.By,
	}
}

// tellAlerts passes what changes on the board on to who watches the page.
func (a *App) tellAlerts(ctx context.Context) error {
	for ctx.Err() == nil {
		changes, stop := a.alerts.Watch()
		for open := true; open; {
			select {
			case x, ok := <-changes:
				if open = ok; ok {
					a.doors.hub.Tell(web.News{Kind: web.AlertNews, ID: x.ID})
				} else {
					a.doors.hub.Break() // more came than one could take
				}
			case <-ctx.Done():
				open = false
			}
		}
		stop()
	}
	return nil
}
