package app

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/durable"
	"vigil/internal/host"
	"vigil/internal/store/volume"
	"vigil/internal/text"
	"vigil/internal/web"
)

// errRecorded says that the place of footage cannot be changed any more.
var errRecorded = errors.New("footage lies in the folder that was chosen before")

// storage lets a person choose where to record, as long as nothing was.
type storage struct{ *App }

// Now tells where footage goes.
func (s storage) Now() web.Kept {
	p := s.place(s.disks.Look(s.VideoFolder(), volume.Known))
	p.Why = text.Note{} // it is in use: what is there is ours
	return web.Kept{Place: p, Chosen: s.chosen.Load(), Fixed: s.fixed()}
}

// fixed tells why the folder cannot be changed; empty: it can.
func (s storage) fixed() text.Note {
	if s.conf.Video != "" {
		return text.Note{Code: "storage.by-flag"}
	}
	v := s.volumes[0]
	if v.Status().State != volume.Online { // nor is a disk asked that may hang
		return text.Note{Code: "storage.away"}
	}
	switch bare, err := v.Bare(); {
	case err != nil:
		return text.Note{Code: "storage.away"}
	case !bare:
		return text.Note{Code: "storage.recorded"}
	}
	return text.Note{}
}

// Places proposes folders, one on each disk; the one in use is not among them.
func (s storage) Places() (list []web.Place) {
	for _, p := range s.disks.Places("vigil") {
		if w := s.place(p); w.Why.Code == "" && w.Folder != s.VideoFolder() {
			list = append(list, w)
		}
	}
	return list
}

// Look judges a folder.
func (s storage) Look(folder string) web.Place {
	return s.place(s.disks.Look(folder, volume.Known))
}

// troubles are the reasons why a folder does not do, as the page says them.
var troubles = []struct {
	err  error
	code string
}{
	{host.ErrName, "name"}, {host.ErrMemory, "memory"}, {host.ErrTemporary, "temporary"}, {host.ErrReadOnly, "read-only"}, {host.ErrNotWritable, "not-writable"},
	{host.ErrNotEmpty, "not-empty"}, {host.ErrHung, "hung"}, {host.ErrNotFolder, "not-folder"},
}

func (s storage) place(p host.Place) web.Place {
	w := web.Place{
		Folder: p.Folder, Exists: p.Exists, Kind: p.Disk.Kind, Device: p.Device, Mount: p.Mount, Total: p.Disk.Total, Free: p.Disk.Free,
		Network: remote[p.Disk.Kind],
	}
	if own, err := (durable.OS{}).Disk(s.dir); err == nil {
		w.System = own.Device == p.Disk.Device
	}
	_, w.Room = s.policy().Room(w.Total, w.Free, 0)
	for _, t := range troubles {
		if errors.Is(p.Err, t.err) {
			w.Why = text.Note{Code: "storage." + t.code, Args: map[string]string{"folder": p.Folder}}
			break
		}
	}
	below := p.Folder == s.dir || strings.HasPrefix(p.Folder, s.dir+"/")
	switch {
	case w.Why.Code != "":
	case below && p.Folder != filepath.Join(s.dir, "video"):
		w.Why = text.Note{Code: "storage.state", Args: map[string]string{"folder": p.Folder}}
	case w.Room == 0:
		w.Why = text.Note{Code: "storage.full", Args: map[string]string{"folder": p.Folder}}
	}
	return w
}

// remote are the kinds of file systems that lie on another machine.
var remote = map[string]bool{"nfs": true, "cifs": true}

// Choose takes a folder. Another one than it is now is taken by a new start,
// which begins when the answer is out; again tells that.
func (s storage) Choose(_ context.Context, by actor.Actor, folder string) (again bool, err error) {
	s.choosing.Lock()
	defer s.choosing.Unlock()
	folder = filepath.Clean(folder)
	same := folder == s.VideoFolder()
	if !same {
		if why := s.fixed(); why.Code != "" {
			return false, &text.Failure{Note: why}
		}
		if p := s.Look(folder); p.Why.Code != "" {
			return false, &text.Failure{Note: p.Why}
		}
	} else if s.chosen.Load() {
		return false, nil
	}
	record := audit.Record{Actor: by, Action: "volume.choose", Object: folder, Detail: map[string]string{"was": s.VideoFolder()}}
	if _, err := (audit.Durably{Log: s.places.log}).Record(record); err != nil {
		return false, err
	}
	defer func() {
		if err != nil {
			record.Result, record.Reason = audit.Failed, "storage"
			_, _ = s.places.log.Record(record) // the disk's error is what counts
		}
	}()
	file := s.shelfFile(durable.OS{})
	var doc shelves
	if _, err := file.Load(&doc); err != nil {
		return false, err
	}
	if doc.Chosen = true; !same {
		doc.Next = folder
	}
	if err := file.Save(doc); err != nil {
		return false, err
	}
	if same {
		s.chosen.Store(true)
		return false, nil
	}
	select {
	case s.again <- struct{}{}:
	default: // it is on its way
	}
	return true, nil
}
