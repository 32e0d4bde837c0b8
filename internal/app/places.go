package app

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"vigil/internal/actor"
	"vigil/internal/alert"
	"vigil/internal/audit"
	"vigil/internal/auth"
	"vigil/internal/catalogue"
	"vigil/internal/clock"
	"vigil/internal/conf"
	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/keys"
	"vigil/internal/layout"
	"vigil/internal/ledger"
	"vigil/internal/live"
	"vigil/internal/mark"
	"vigil/internal/media"
	"vigil/internal/release"
	"vigil/internal/settings"
	"vigil/internal/store"
	"vigil/internal/store/volume"
	"vigil/internal/text"
)

// places are what the parts meet at, in the order in which they open.
type places struct {
	dir       string
	lock      *durable.LockFile
	ring      *keys.Ring
	log       *audit.Log
	settings  *settings.Store
	alerts    *alert.Board
	volumes   []*volume.Volume
	ledger    *ledger.Ledger
	copied    map[*volume.Volume]durable.FS // volumes that have a copy of the ledger, by the root it was found through; owned by the store's visitor
	store     *store.Store
	catalogue *catalogue.Catalogue
	people    *auth.Place
	layouts   *layout.Store
	marks     *mark.Store
	streams   *live.Streams
	started   time.Time
	begun     bool        // the ledger had leaves once
	chosen    atomic.Bool // a person named the folder for footage
}

// origin names the ledger in its checkpoints (C2SP tlog-checkpoint).
const origin = "vigil/ledger"

// vigil is who does what Vigil does by itself.
var vigil = actor.Of("vigil", "")

func (p *places) name(file string) string { return filepath.Join(p.dir, file) }

// open opens everything, or nothing.
func open(ctx context.Context, c conf.Config, log *slog.Logger) (p *places, err error) {
	disk := durable.OS{}
	half := &places{dir: c.State, streams: live.New(), started: time.Now(), copied: map[*volume.Volume]durable.FS{}}
	p = half
	defer func() {
		if err != nil {
			half.close() // p is nil by now
		}
	}()
	if len(c.Socket()) > maxSocket {
		return nil, text.Fail(nil, "start.path-long", "max", fmt.Sprint(maxSocket-len("/control.sock")))
	}
	if err := ours(disk, p.dir); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(disk, p.dir); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if err := os.Chmod(p.dir, 0o700); errors.Is(err, fs.ErrPermission) {
		return nil, text.Fail(err, "start.other-user", "folder", p.dir)
	} else if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	switch p.lock, err = durable.Lock(p.dir); {
	case errors.Is(err, durable.ErrLocked):
		return nil, text.Fail(err, "start.locked", "folder", p.dir)
	case errors.Is(err, errors.ErrUnsupported):
		log.Warn("the file system of the state folder has no locks: another Vigil on it would not be noticed", "err", err)
	case err != nil:
		return nil, err
	}
	if p.ring, err = openKeys(disk, p.name("keys")); err != nil {
		return nil, err
	}
	if err := p.complete(disk); err != nil {
		return nil, err
	}
	lost := p.lost(disk)
	p.log, err = audit.Open(disk, p.name("audit"), p.ring.Purpose("audit"), audit.Options{
		Clock:   func() string { return string(clock.Now()) },
		Trouble: func(err error) { p.auditTrouble(err, log) },
	})
	if err != nil {
		return nil, err
	}
	if p.settings, err = settings.Open(settings.Options{
		FS: disk, Name: p.name("settings"), Key: p.ring.Purpose("settings"), Audit: audit.Durably{Log: p.log}, TimeZone: machineZone(),
	}); err != nil {
		return nil, err
	}
	for _, f := range []document.File{p.clockFile(), p.certificateFile()} { // read later, when much is under way
		if _, err := f.Load(new(json.RawMessage)); errors.Is(err, document.ErrNewer) {
			return nil, err
		}
	}
	if p.alerts, err = alert.Open(disk, p.name("alerts"), p.ring.Purpose("alerts"), p.log); err != nil {
		return nil, err
	}
	if anew := p.settings.Anew(); anew != nil {
		p.anew(alert.ChangesAnew, anew)
	}
	if p.people, err = auth.Open(auth.Options{
		FS: disk, Dir: p.dir, Accounts: p.ring.Purpose("accounts"), Sessions: p.ring.Purpose("sessions"), Audit: audit.Durably{Log: p.log},
	}); err != nil {
		return nil, err
	}
	p.layouts, err = layout.Open(document.File{FS: disk, Name: p.name("layouts"), Key: p.ring.Purpose("layouts")})
	if p.layouts == nil {
		return nil, err
	}
	p.anew(alert.LayoutsAnew, err)
	p.marks, err = mark.Open(document.File{FS: disk, Name: p.name("marks"), Key: p.ring.Purpose("marks")})
	if p.marks == nil {
		return nil, err
	}
	p.anew(alert.MarksAnew, err)
	shelf, err := p.openVolumes(disk, c, log)
	if err != nil {
		return nil, err
	}
	signer := p.ring.Signer()
	p.ledger, err = ledger.Open(ledger.Folder{FS: disk, Dir: p.name("ledger"), Name: "system"}, shelf,
		ledger.Signer{ECDSA: signer.ECDSA(), Ed25519: signer.Ed25519()}, p.ring.Purpose("ledger"), origin)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if p.begun && p.ledger.Size() == 0 {
		return nil, fmt.Errorf("%w: %s, and from the disks of footage that are there", errLedgerGone, p.name("ledger"))
	}
	p.store = store.Open(store.Config{
		Volumes: p.volumes, Keys: p.ring, Ledger: p.ledger, Audit: auditor{p.log}, Alerts: board{p.alerts, p.settings},
		Attached: func(_ context.Context, v *volume.Volume) {
			if at, err := p.copyOn(v); err != nil {
				log.Error("copy of the ledger", "dir", v.Dir(), "err", err)
			} else if at.FS != nil {
				p.alerts.Clear(alert.LedgerCopy, v.Dir())
				p.found(p.ledger.AddCopy(at))
			}
		},
		Detached: func(_ context.Context, v *volume.Volume) {
			delete(p.copied, v)
			p.ledger.RemoveCopy(v.ID().String())
		},
		Log: log,
	})
	if p.catalogue, err = catalogue.Open(p.name("catalogue"), p.ring.Purpose("catalogue"), catalogue.Options{
		Aside: func(err error) {
			p.alerts.Raise(alert.Condition{Kind: alert.CatalogueAnew, Args: map[string]string{"error": err.Error()}})
		},
	}); err != nil {
		return nil, fmt.Errorf("catalogue: %w", err)
	}
	p.streams.Follow(p.settings.Get())
	for v := range p.copied {
		p.alerts.Clear(alert.LedgerCopy, v.Dir()) // of the last run
	}
	p.found(p.ledger.Findings())
	p.ledger.Tell = func(f ledger.Finding) { p.found([]ledger.Finding{f}) }
	if err := p.resumeAudit(); err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	if p.begun {
		for _, c := range lost {
			p.alerts.Raise(c)
		}
	}
	for _, d := range p.ring.Damaged() {
		p.alerts.Raise(alert.Condition{Kind: alert.KeysDamaged, Object: d.File, Args: map[string]string{"error": d.Err.Error()}})
	}
	return p, nil
}

// close closes what is open, last first.
func (p *places) close() error {
	var errs []error
	if p.catalogue != nil {
		errs = append(errs, p.catalogue.Close())
	}
	if p.ledger != nil {
		errs = append(errs, p.ledger.Close())
	}
	for _, v := range p.volumes { // after the ledger, which has a copy there
		v.Close()
	}
	if p.log != nil {
		errs = append(errs, p.log.Close())
	}
	if p.lock != nil {
		errs = append(errs, p.lock.Unlock())
	}
	return errors.Join(errs...)
}

// maxSocket is the longest name that a Unix socket takes (sun_path, with its
// zero byte).
const maxSocket = 107

// ours tells whether a folder has a state, or may become one: a folder of
// somebody else's, named by a slip, is left as it is, and one that has state but no keys
// is not touched: new keys would make everything in it unreadable for good.
func ours(disk durable.FS, dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, fs.ErrPermission):
		return text.Fail(err, "start.other-user", "folder", dir)
	case err != nil:
		return fmt.Errorf("state folder: %w", err)
	}
	if there, err := keys.Exists(disk, filepath.Join(dir, "keys")); err != nil || there {
		return err
	}
	strange := ""
	for _, d := range list {
		switch d.Name() {
		case "LOCK", "keys", "lost+found": // the first two from a first start that was killed
		case "settings", "accounts.doc", "ledger":
			return text.Fail(nil, "start.keys-gone", "folder", dir, "name", d.Name())
		default:
			strange = d.Name()
		}
	}
	if strange != "" {
		return text.Fail(nil, "start.not-ours", "folder", dir, "name", strange)
	}
	return nil
}

// openKeys opens the keys, or makes them in a state folder that has never
// been used.
func openKeys(disk durable.FS, dir string) (*keys.Ring, error) {
	there, err := keys.Exists(disk, dir)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	if there {
		ring, err := keys.Open(disk, dir)
		if err != nil {
			return nil, fmt.Errorf("keys: %w", err)
		}
		return ring, nil
	}
	ring, err := keys.Create(disk, dir)
	if err != nil {
		return nil, fmt.Errorf("make keys: %w", err)
	}
	return ring, nil
}

// complete tells whether a state folder that was in use has all that must
// not begin anew: without its settings a recorder would stop recording in silence, and
// without its accounts whoever stands at it would be the next administrator, of all old
// footage too. The ledger is made last at the first start.
//
//vigil:clause 5.4.1.1
func (p *places) complete(disk durable.FS) error {
	if _, err := disk.Stat(filepath.Join(p.name("ledger"), "checkpoint")); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	for _, name := range []string{"settings", "accounts.doc", "volumes"} {
		if _, err := disk.Stat(p.name(name)); errors.Is(err, fs.ErrNotExist) {
			return text.Fail(nil, "start.file-gone", "file", p.name(name))
		} else if err != nil {
			return fmt.Errorf("state folder: %w", err)
		}
	}
	return nil
}

// lost tells which files are not there that are made anew, and should not have to be in a
// recorder that was in use.
func (p *places) lost(disk durable.FS) (list []alert.Condition) {
	gone := func(name string) bool {
		_, err := disk.Stat(name)
		return errors.Is(err, fs.ErrNotExist)
	}
	if name := p.name("alerts"); gone(name) {
		list = append(list, alert.Condition{Kind: alert.BoardAnew, Args: map[string]string{"error": name + " was gone"}})
	}
	if name := p.name("certificate"); gone(name) {
		list = append(list, alert.Condition{Kind: alert.CertificateAnew, Args: map[string]string{"file": name}})
	}
	return list
}

// shelves is the document that remembers which folders hold footage.
type shelves struct {
	Set     volume.SetID `json:"set"`
	Volumes []shelf      `json:"volumes"`
	Begun   bool         `json:"begun,omitempty"` // the ledger has leaves: if it has none, it was lost
	// Chosen: a person named the folder, at the start or in set-up.
	Chosen bool `json:"chosen,omitempty"`
	// Next is a folder that a person chose instead, while nothing was recorded;
	// the next start takes it.
	Next string `json:"next,omitempty"`
}

type shelf struct {
	Dir string    `json:"dir"`
	ID  volume.ID `json:"id"` // zero until its label was first read
}

// openVolumes looks for the folders that hold footage. The first start makes
// one of them; later starts want the very same. Until it was attached once, nothing
// is kept anywhere and another folder may be named: the first may have been a slip.
//
//  1. The id of the set and the name of the folder are durable. A crash here leaves a folder that was never attached.
//  2. The folder is attached, which labels it for the set. A crash here leaves the same; its label is of our set.
//  3. The id of the volume is durable.
func (p *places) openVolumes(disk durable.FS, c conf.Config, log *slog.Logger) ([]ledger.Folder, error) {
	file := p.shelfFile(disk)
	var doc shelves
	_, err := file.Load(&doc)
	first := errors.Is(err, fs.ErrNotExist)
	if err != nil && !first {
		return nil, fmt.Errorf("volumes: %w", err)
	}
	if first {
		doc = shelves{Set: volume.SetID(newID()), Volumes: []shelf{{Dir: p.name("video")}}}
	}
	if doc.Next != "" && c.Video == "" {
		if err := p.moveVolume(disk, &doc, log); err != nil {
			return nil, fmt.Errorf("volumes: %w", err)
		}
	}
	if s := &doc.Volumes[0]; s.ID.IsZero() {
		if c.Video != "" {
			s.Dir, doc.Chosen = c.Video, true
		}
		if err := file.Save(doc); err != nil {
			return nil, fmt.Errorf("volumes: %w", err)
		}
		if err := os.MkdirAll(s.Dir, 0o700); err != nil {
			return nil, noFootage(err, s.Dir)
		}
	} else if c.Video != "" && c.Video != s.Dir {
		return nil, text.Fail(nil, "start.footage-elsewhere", "kept", s.Dir, "asked", c.Video)
	}
	p.begun = doc.Begun
	p.chosen.Store(doc.Chosen)
	var copies []ledger.Folder
	changed := false
	for i := range doc.Volumes {
		s := &doc.Volumes[i]
		v := p.newVolume(disk, doc.Set, *s, log)
		if err := v.Attach(); err != nil {
			if s.ID.IsZero() {
				return nil, noFootage(err, s.Dir)
			}
			log.Error("volume is not there", "dir", s.Dir, "err", err) // recording waits for it; the store alerts
		} else {
			if s.ID.IsZero() {
				s.ID, changed = v.ID(), true
			}
			if at, err := p.copyOn(v); err != nil {
				log.Error("copy of the ledger", "dir", s.Dir, "err", err)
			} else {
				copies = append(copies, at)
			}
		}
		p.volumes = append(p.volumes, v)
	}
	if changed {
		if err := file.Save(doc); err != nil {
			return nil, fmt.Errorf("volumes: %w", err)
		}
	}
	return copies, nil
}

func (p *places) newVolume(disk durable.FS, set volume.SetID, s shelf, log *slog.Logger) *volume.Volume {
	return volume.New(volume.Config{FS: disk, Dir: s.Dir, Key: p.ring.Purpose("volumes"), Set: set, Volume: s.ID, New: s.ID.IsZero(), Log: log})
}

// moveVolume takes the folder that was chosen in set-up, at the start, when
// nobody writes, so that nothing can be recorded in between. Where footage lies by
// now, or the new folder does not do any more, all stays as it was. Its error is that
// of the state folder.
//
//  1. The new folder is labelled for our set. A crash here leaves an empty volume of ours that nobody knows; it can be chosen again.
//  2. The document names it instead of the old one, under its id. A crash here leaves the old folder's label and copies.
//  3. The old folder is a folder again.
func (p *places) moveVolume(disk durable.FS, doc *shelves, log *slog.Logger) error {
	next := shelf{Dir: doc.Next}
	doc.Next = ""
	was := p.newVolume(disk, doc.Set, doc.Volumes[0], log)
	defer was.Close()
	now := p.newVolume(disk, doc.Set, next, log)
	defer now.Close()
	err := was.Attach()
	if err == nil {
		var bare bool
		if bare, err = was.Bare(); err == nil && !bare {
			err = errRecorded
		}
	}
	if err == nil {
		err = os.MkdirAll(next.Dir, 0o700)
	}
	if err == nil {
		err = now.Attach()
	}
	if err != nil {
		log.Error("the folder that was chosen for footage is not taken", "dir", next.Dir, "err", err)
		return p.shelfFile(disk).Save(doc)
	}
	next.ID = now.ID()
	doc.Volumes[0], doc.Chosen = next, true
	if err := p.shelfFile(disk).Save(doc); err != nil {
		return err
	}
	if err := was.Unmake(); err != nil {
		log.Warn("the folder that was for footage before is not emptied", "dir", was.Dir(), "err", err)
	} else if was.Dir() == p.name("video") {
		_ = os.Remove(was.Dir()) // we made it
	}
	return nil
}

// copyOn returns the copy of the ledger on a volume; its FS is nil if it was
// returned before and the volume was not away meanwhile. Its root is its own, until the
// ledger closes it: a volume that stops closes the one it writes through, and the last
// leaves, which say that the recorder stopped, come after that.
func (p *places) copyOn(v *volume.Volume) (at ledger.Folder, err error) {
	root, err := v.Root()
	if err != nil || p.copied[v] == root {
		return at, err
	}
	own, err := root.Sub(".")
	if err != nil {
		return at, err
	}
	p.copied[v] = root
	return ledger.Folder{FS: own, Dir: volume.LedgerDir, Name: v.ID().String()}, nil
}

// noFootage says why a folder that was named for footage does not do.
func noFootage(err error, dir string) error {
	code := "footage-failed"
	switch {
	case errors.Is(err, volume.ErrTaken):
		code = "footage-taken"
	case errors.Is(err, volume.ErrForeign), errors.Is(err, durable.ErrNewer):
		code = "footage-foreign"
	}
	return text.Fail(err, "start."+code, "folder", dir)
}

func (p *places) shelfFile(disk durable.FS) document.File {
	return document.File{FS: disk, Name: p.name("volumes"), Key: p.ring.Purpose("settings"), Kind: "volumes", Version: 1}
}

// ledgerBegun remembers that the ledger has leaves.
func (p *places) ledgerBegun() error {
	if p.begun {
		return nil
	}
	file := p.shelfFile(durable.OS{})
	var doc shelves
	if _, err := file.Load(&doc); err != nil {
		return err
	}
	doc.Begun, p.begun = true, true
	return file.Save(doc)
}

// resumeAudit holds the end of the audit log against the newest batch of it
// in the ledger, which is among its last leaves.
//
//vigil:clause 5.2.7.1
func (p *places) resumeAudit() error {
	size := p.ledger.Size()
	var newest audit.Batch
	for back := uint64(512); newest.Last == 0; back *= 16 {
		err := p.ledger.Follow(size-min(size, back), func(_ uint64, leaf ledger.Leaf) error {
			if leaf.Kind != ledger.AuditBatch || leaf.Lost {
				return nil
			}
			m, err := ledger.ParseAudit(leaf)
			newest = audit.Batch{First: m.First, Last: m.Last, Head: m.Head}
			return err
		})
		if err != nil {
			return err
		}
		if back >= size {
			break
		}
	}
	if newest.Last == 0 {
		return nil
	}
	if gone, ok := p.log.Resume(newest); !ok {
		p.alerts.Raise(auditAlert(gone))
	}
	return nil
}

func auditAlert(f audit.Finding) alert.Condition {
	return alert.Condition{Kind: alert.AuditTampered, Args: map[string]string{"what": string(f.Trouble), "first": fmt.Sprint(f.First), "last": fmt.Sprint(f.Last)}}
}

// found raises an alert for each copy of the ledger that is not as it should
// be. A copy that is only behind catches up by itself.
func (p *places) found(list []ledger.Finding) {
	for _, f := range list {
		folder := f.Folder
		for _, v := range p.volumes {
			if v.ID().String() == folder {
				folder = v.Dir() // what a person can find
			}
		}
		if f.Trouble == ledger.Restored {
			p.alerts.Clear(alert.LedgerCopy, folder)
			continue
		}
		kind := map[ledger.Trouble]alert.Kind{
			ledger.Short: alert.LedgerShort, ledger.Forked: alert.LedgerForked, ledger.Damaged: alert.LedgerDamaged,
			ledger.BadSignature: alert.LedgerDamaged, ledger.Unreadable: alert.LedgerCopy, ledger.Unwritable: alert.LedgerCopy,
		}[f.Trouble]
		if kind == "" {
			continue
		}
		args := map[string]string{"have": fmt.Sprint(f.Have), "want": fmt.Sprint(f.Want)}
		if f.Err != nil {
			args["error"] = f.Err.Error()
		}
		p.alerts.Raise(alert.Condition{Kind: kind, Object: folder, Args: args})
	}
}

// anew tells of a document that was damaged and begins anew.
func (p *places) anew(k alert.Kind, err error) {
	if anew := (*document.Anew)(nil); errors.As(err, &anew) {
		p.alerts.Raise(alert.Condition{Kind: k, Args: map[string]string{"file": anew.File, "error": anew.Err.Error()}})
	}
}

// auditTrouble is told when the log cannot be written, and when it can again.
func (p *places) auditTrouble(err error, log *slog.Logger) {
	if p.alerts == nil {
		return // not open yet; Record tells whoever asks
	}
	if err == nil {
		p.alerts.Clear(alert.AuditFailing, "")
		return
	}
	log.Error("audit log cannot be written", "err", err)
	p.alerts.Raise(alert.Condition{Kind: alert.AuditFailing, Args: map[string]string{"error": err.Error()}})
}

func (p *places) cameraName(id media.CameraID) string {
	if c := p.settings.Get().Camera(id); c != nil {
		return c.Name
	}
	return id.String()
}

// begin records the start, in the audit log and in the ledger.
func (p *places) begin(ctx context.Context, reason string) error {
	clean := true
	if _, err := os.Stat(p.name("running")); err == nil {
		clean = false
	}
	if err := durable.WriteFile(durable.OS{}, p.name("running"), nil); err != nil {
		return err
	}
	digest, err := ownDigest()
	if err != nil {
		return fmt.Errorf("digest of the program: %w", err)
	}
	detail := map[string]string{"version": release.Version, "program": fmt.Sprintf("%x", digest), "lastRunEnded": "in order"}
	if !clean {
		detail["lastRunEnded"] = "killed, or power lost"
	}
	if _, err := p.log.Record(audit.Record{Actor: vigil, Action: audit.Start, Object: reason, Detail: detail}); err != nil {
		return err
	}
	_, err = p.ledger.Append(ctx, []ledger.Leaf{ledger.StartMeta{
		At: time.Now().UnixNano(), Version: release.Version, Program: digest, Clean: clean, Clock: string(clock.Now()),
	}.Leaf()})
	if err != nil {
		return err
	}
	return p.ledgerBegun()
}

// end records the stop; what was written before is committed by then.
func (p *places) end(ctx context.Context) error {
	_, err := p.log.Record(audit.Record{Actor: vigil, Action: audit.Stop})
	err = errors.Join(err, auditor{p.log}.last(ctx, p.ledger), os.Remove(p.name("running")))
	level := make(chan struct{})
	go func() {
		defer close(level)
		_ = p.ledger.Level() // a copy that is behind catches up at the next start
	}()
	select {
	case <-level:
	case <-time.After(2 * time.Second): // its disk hangs
	}
	return err
}

func ownDigest() (d ledger.Digest, err error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return d, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return d, err
	}
	h.Sum(d[:0])
	return d, nil
}

// machineZone is the time zone of the machine, as a proposal for display.
func machineZone() string {
	if target, err := os.Readlink("/etc/localtime"); err == nil {
		if _, name, ok := cutLast(target, "zoneinfo/"); ok && settings.KnownZone(name) {
			return name
		}
	}
	return "UTC"
}
