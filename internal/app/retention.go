package app

import (
	"errors"
	"time"

	"vigil/internal/clock"
	"vigil/internal/document"
	"vigil/internal/durable"
	"vigil/internal/media"
	"vigil/internal/retention"
)

// newRetention builds the part that makes room, on what the settings say.
func newRetention(a *App) *retention.Keeper {
	return retention.New(retention.Config{
		Index: a.catalogue, Book: a.ledger, Shelf: a.store, Alerts: board{a.alerts, a.settings},
		Policy:       a.policy,
		Synchronised: func() bool { return clock.Now() == clock.Synchronised },
		Memory:       known{a.clockFile()},
		ArmedBy:      func() string { return "settings" },
		Log:          a.log,
	})
}

// policy is what the settings say of what is kept.
func (p *places) policy() retention.Policy {
	doc := p.settings.Get()
	st := doc.Storage
	return retention.Policy{
		Days: func(id media.CameraID) int {
			if c := doc.Camera(id); c != nil {
				return doc.Retention(c)
			}
			return st.RetentionDays
		},
		Quota: st.QuotaBytes, Reserve: st.ReserveBytes, ReservePercent: st.ReservePercent,
		Low: st.LowSpaceBytes, LowPercent: st.LowSpacePercent, LowDays: st.LowSpaceDays,
	}
}

func (p *places) clockFile() document.File {
	return document.File{FS: durable.OS{}, Name: p.name("clock"), Key: p.ring.Purpose("settings"), Kind: "clock", Version: 1}
}

// known keeps what retention knows of the clock over a restart.
type known struct{ document.File }

// Load makes of a damaged memory the deepest doubt: nothing goes for its age until a
// person, or a time service for a day, says that the clock is right.
func (k known) Load(into *retention.Known) error {
	_, err := k.File.Load(into)
	if errors.Is(err, document.ErrDamaged) {
		*into, err = retention.Known{At: time.Unix(0, 0), Doubt: true}, nil
	}
	return err
}

func (k known) Save(v retention.Known) error { return k.File.Save(v) }
