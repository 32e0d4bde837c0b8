package playback

import (
	"context"
	"fmt"
	"os"
	"path"

	"vigil/internal/durable"
)

// WriteFile makes the export as a new file. It is whole and durable when this
// returns without an error; before, it is called name.part, and after an error it is not there.
// A file that exists is left alone: the error then wraps fs.ErrExist.
func (p *Plan) WriteFile(ctx context.Context, fsys durable.FS, name string, progress func(done int64)) (x *Export, sum [32]byte, err error) {
	if _, err := fsys.Stat(name); err == nil {
		return nil, sum, fmt.Errorf("export to %s: %w", name, os.ErrExist)
	}
	tmp := name + ".part"
	f, err := fsys.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, sum, fmt.Errorf("export to %s: %w", name, err)
	}
	x, sum, err = p.WriteTo(ctx, f, progress)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(tmp, name)
	}
	if err != nil {
		_ = fsys.Remove(tmp) // best effort: it is the caller's folder, and the error says the rest
		return nil, sum, fmt.Errorf("export to %s: %w", name, err)
	}
	if err := fsys.SyncDir(path.Dir(name)); err != nil {
		return nil, sum, fmt.Errorf("export to %s: %w", name, err)
	}
	return x, sum, nil
}
