package app

import (
	"context"
	"crypto/rand"
	"maps"
	"strings"

	"vigil/internal/alert"
	"vigil/internal/audit"
	"vigil/internal/ledger"
	"vigil/internal/media"
	"vigil/internal/settings"
	"vigil/internal/store"
)

// auditor is the audit log as the store wants it.
type auditor struct{ *audit.Log }

func (a auditor) Record(e store.Entry) error {
	r := audit.Record{At: e.At, Actor: e.Actor, Action: audit.Action(e.Action), Object: e.Object, Camera: e.Camera, Result: audit.OK, Reason: e.Reason, Detail: e.Detail}
	if !e.OK {
		r.Result = audit.Failed
	}
	_, err := a.Log.Record(r)
	return err
}

func (a auditor) Flush() (leaf ledger.Leaf, anchored func(), ok bool, err error) {
	b, ok, err := a.Log.Flush()
	if !ok {
		return leaf, nil, false, err
	}
	return ledger.AuditMeta{First: b.First, Last: b.Last, Head: b.Head}.Leaf(), func() { a.Anchored(b) }, true, err
}

// last anchors what was recorded after the store's last beat.
func (a auditor) last(ctx context.Context, l *ledger.Ledger) error {
	leaf, anchored, ok, err := a.Flush()
	if err != nil || !ok {
		return err
	}
	if _, err := l.Append(ctx, []ledger.Leaf{leaf}); err != nil {
		return err
	}
	anchored()
	return nil
}

// board is the alert board as the store wants it.
type board struct {
	*alert.Board
	settings *settings.Store
}

// Raise names the camera where only the stream is known: of a file that is gone
// nothing else is.
func (b board) Raise(kind, object string, args map[string]string) {
	c := alert.Condition{Kind: alert.Kind(kind), Object: object, Args: args}
	var stream media.StreamID
	if args["camera"] == "" && stream.UnmarshalText([]byte(args["stream"])) == nil {
		if cam, _ := b.settings.Get().Stream(stream); cam != nil {
			c.Camera, c.Args = cam.ID, maps.Clone(args)
			c.Args["camera"] = cam.Name
		}
	}
	b.Board.Raise(c)
}

func (b board) Clear(kind, object string) { b.Board.Clear(alert.Kind(kind), object) }

func newID() (id [16]byte) {
	rand.Read(id[:])
	return id
}

// cutLast cuts around the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
