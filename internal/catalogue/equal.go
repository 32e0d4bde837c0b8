package catalogue

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"vigil/internal/seal"
)

// tables are compared in the order of their keys.
var tables = []struct{ name, order string }{
	{"state", "name"}, {"streams", "sid"}, {"segments", "sid, start, leaf"}, {"gaps", "sid, till, leaf"},
	{"removed", "sid, start, leaf"}, {"density", "sid, day"}, {"holds", "id"},
}

// A Difference is the first row in which two catalogues differ.
type Difference struct {
	Table      string
	Have, Want string // the rows as text; empty: there is none
}

// Error makes a Difference an error.
func (d Difference) Error() string {
	return fmt.Sprintf("catalogue: table %s has %q, the ledger says %q", d.Table, d.Have, d.Want)
}

// Equal compares all that two catalogues hold. The error is a Difference when
// they are not equal.
func (c *Catalogue) Equal(want *Catalogue) error {
	return c.read(func(a *conn) error {
		return want.read(func(b *conn) error {
			for _, t := range tables {
				if err := equal(a, b, t.name, `SELECT * FROM `+t.name+` ORDER BY `+t.order); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func equal(a, b *conn, table, sql string) error {
	x, err := a.stmt(sql)
	if err != nil {
		return err
	}
	defer func() { _ = x.Reset() }()
	y, err := b.stmt(sql)
	if err != nil {
		return err
	}
	defer func() { _ = y.Reset() }()
	for {
		moreX, moreY := x.Step(), y.Step()
		if err := x.Err(); err != nil {
			return err
		}
		if err := y.Err(); err != nil {
			return err
		}
		if !moreX && !moreY {
			return nil
		}
		same := moreX && moreY
		for i := 0; same && i < x.ColumnCount(); i++ {
			same = x.ColumnType(i) == y.ColumnType(i) && bytes.Equal(x.ColumnRawText(i), y.ColumnRawText(i))
		}
		if !same {
			return Difference{table, row(x, moreX), row(y, moreY)}
		}
	}
}

func row(s *sqlite3.Stmt, ok bool) string {
	if !ok {
		return ""
	}
	var b strings.Builder
	for i := range s.ColumnCount() {
		if i > 0 {
			b.WriteString(" | ")
		}
		if s.ColumnType(i) == sqlite3.BLOB {
			fmt.Fprintf(&b, "%x", s.ColumnRawBlob(i))
		} else {
			b.WriteString(s.ColumnText(i))
		}
	}
	return b.String()
}

// Check makes a second catalogue from the ledger in a folder for temporary
// files and compares: invariant 3 of `vigil check`. The error is a Difference when
// they differ.
func (c *Catalogue) Check(ctx context.Context, l Source, tmp string) error {
	dir, err := os.MkdirTemp(tmp, "catalogue")
	if err != nil {
		return fmt.Errorf("check catalogue: %w", err)
	}
	defer os.RemoveAll(dir)
	fresh, err := Open(filepath.Join(dir, "catalogue"), seal.NewKey(), c.opts)
	if err != nil {
		return err
	}
	defer fresh.Close()
	c.writing.Lock() // nobody follows meanwhile
	defer c.writing.Unlock()
	if err := c.catchUp(ctx, l); err != nil {
		return err
	}
	at, _, err := c.w.position()
	if err != nil {
		return err
	}
	if err := fresh.CatchUp(ctx, upTo{l, at}); err != nil {
		return err
	}
	return c.Equal(fresh)
}

// upTo is the ledger as it was at a size.
type upTo struct {
	Source
	size uint64
}

func (u upTo) Size() uint64 { return u.size }
