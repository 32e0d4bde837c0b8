package app

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/keys"
	"vigil/internal/release"
	"vigil/internal/text"
)

// errLedgerGone is met in a state folder that was in use.
var errLedgerGone = errors.New("the ledger is gone")

// refusals are the reasons not to start that a person can do something about,
// the first that fits. Their texts, start.<code>, say what.
var refusals = []struct {
	err  error
	code string
}{
	{durable.ErrNewer, "newer"},
	{errLedgerGone, "ledger-gone"},
	{durable.ErrSpecial, "in-place"},
	{unix.EISDIR, "in-place"},
	{unix.ENOTDIR, "in-place"},
	{unix.ELOOP, "in-place"},
	{keys.ErrOpenMode, "keys-readable"},
	{keys.ErrNoRoot, "keys-damaged"},
	{keys.ErrRoot, "keys-damaged"},
	{keys.ErrDamaged, "keys-damaged"},
	{document.ErrDamaged, "file-damaged"},
	{unix.EROFS, "read-only"},
	{fs.ErrPermission, "not-allowed"},
	{unix.ENOSPC, "disk-full"},
	{unix.EDQUOT, "disk-full"},
	{unix.EIO, "disk-failed"},
}

// DiskTrouble tells whether an error of the start is one that goes away when the
// disk of the state folder has room again, or reads and writes.
func DiskTrouble(err error) bool {
	var f *text.Failure
	return errors.As(err, &f) && (f.Code == "start.disk-full" || f.Code == "start.disk-failed")
}

// refuse puts an error of the start into words, if it is one of those and has
// none yet.
func refuse(err error, folder string) error {
	var already *text.Failure
	if err == nil || errors.As(err, &already) {
		return err
	}
	file := folder
	if at := new(fs.PathError); errors.As(err, &at) {
		if file = at.Path; !filepath.IsAbs(file) { // of an open folder
			file = filepath.Join(folder, file)
		}
	}
	for _, r := range refusals {
		if !errors.Is(err, r.err) {
			continue
		}
		if file == filepath.Join(folder, durable.LockName) && r.code == "in-place" {
			r.code = "lock-blocked"
		}
		return text.Fail(err, "start."+r.code, "folder", folder, "file", file, "version", release.Version)
	}
	// SQLite does not say why a write failed.
	if d, derr := (durable.OS{}).Disk(folder); derr == nil && d.Free < 1<<20 {
		return text.Fail(err, "start.disk-full", "folder", folder)
	}
	return err
}
