package web

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"vigil/internal/audit"
	"vigil/internal/auth"
	"vigil/internal/document"
	"vigil/internal/settings"
)

// maxImport bounds the body with a file of settings: the file in base64, and a
// passphrase.
const maxImport = settings.MaxFile*4/3 + maxBody

// What is done with the file, for the audit log.
const (
	settingsExport audit.Action = "settings.export"
	settingsImport audit.Action = "settings.import"
)

// exportSettings hands out the settings with the cameras' passwords, sealed
// with a passphrase: the one way in which a password leaves the recorder. Whoever is
// signed in is asked for the own password again, since a page may be left open.
//
//vigil:clause 5.2.4.1 5.4.1.1
func (c *call) exportSettings() error {
	var in struct {
		Passphrase string `json:"passphrase"`
		Password   string `json:"password"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	passphrase, err := auth.NewPassphrase("/passphrase", c.who().Name, in.Passphrase)
	if err != nil {
		return err
	}
	if c.session != nil {
		err := c.Auth.Confirm(c.r.Context(), c.session, in.Password, settingsExport)
		if errors.Is(err, auth.ErrOldPassword) {
			return say(http.StatusForbidden, "own-password-wrong")
		}
		if err != nil {
			return err
		}
	}
	now := time.Now()
	file := settings.NewFile(c.Settings.Get(), c.Layouts.All(), now)
	var sealed []byte
	if werr := c.Auth.Work(c.r.Context(), func() { sealed, err = file.Seal(passphrase, c.fileRounds) }); werr != nil {
		return werr
	}
	if err != nil {
		return fileProblem(err)
	}
	detail := map[string]string{"cameras": strconv.Itoa(len(file.Doc.Cameras)), "version": strconv.FormatInt(file.Doc.Version, 10)}
	if err := c.record(settingsExport, "settings", audit.OK, "", detail); err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", `attachment; filename="vigil-settings-`+now.UTC().Format("20060102-1504")+`.vigil"`)
	h.Set("Content-Length", strconv.Itoa(len(sealed)))
	h.Set("Cache-Control", "no-store")
	c.w.Write(sealed) // an error: the caller left
	return nil
}

// importSettings tells what a file would change, and with the version of the
// settings that was told then, changes it: as one change, which can be undone.
func (c *call) importSettings() error {
	var in struct {
		File       []byte `json:"file"`
		Passphrase string `json:"passphrase"`
		Version    *int64 `json:"version"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	if err := settings.CheckFile(in.File); err != nil {
		return fileProblem(err)
	}
	var file *settings.File
	var err error
	if werr := c.Auth.Work(c.r.Context(), func() { file, err = settings.OpenFile(in.File, auth.Passphrase(in.Passphrase)) }); werr != nil {
		return werr
	}
	if errors.Is(err, settings.ErrPassphrase) {
		if err := c.record(settingsImport, "settings", audit.Denied, "passphrase", nil); err != nil {
			return err
		}
	}
	if err != nil {
		return fileProblem(err)
	}
	out := struct {
		Made    int64       `json:"made"`
		Version int64       `json:"version"`
		Edits   []editBody  `json:"edits"`
		Layouts int         `json:"layouts"`
		Change  *changeBody `json:"change,omitempty"`
	}{Made: ms(file.Made), Layouts: c.Layouts.Missing(file.Layouts)}
	if in.Version == nil {
		plan, version, err := c.Settings.Plan(c.who(), file)
		if err != nil {
			return contradiction(err)
		}
		out.Version, out.Edits = version, c.editBodies(plan.Edits)
		return c.answer(http.StatusOK, out)
	}
	detail := map[string]string{"made": file.Made.UTC().Format(time.RFC3339), "layouts": strconv.Itoa(out.Layouts)}
	if err := c.record(settingsImport, "settings", audit.OK, "", detail); err != nil {
		return err
	}
	done, err := c.Settings.Import(c.who(), file, *in.Version)
	if err == nil && out.Layouts > 0 {
		err = c.Layouts.Add(file.Layouts)
	}
	if err != nil {
		_ = c.record(settingsImport, "settings", audit.Failed, "", detail) // what failed counts
	}
	if errors.Is(err, settings.ErrVersion) {
		return say(http.StatusConflict, "settings-changed")
	}
	if err != nil {
		return contradiction(err)
	}
	out.Version, out.Edits = c.Settings.Get().Version, c.editBodies(done.Edits)
	if done.Version > 0 {
		b := c.changeBody(done)
		out.Change = &b
	}
	return c.answer(http.StatusOK, out)
}

// contradiction says which camera stands in the way of what a file holds.
func contradiction(err error) error {
	p := say(http.StatusConflict, "settings-file-refused")
	if errors.As(err, &p.mistakes) {
		return p
	}
	return err
}

func fileProblem(err error) error {
	switch {
	case errors.Is(err, settings.ErrNotFile):
		return say(http.StatusUnprocessableEntity, "settings-file-other")
	case errors.Is(err, settings.ErrDamaged):
		return say(http.StatusUnprocessableEntity, "settings-file-damaged")
	case errors.Is(err, document.ErrNewer):
		return say(http.StatusUnprocessableEntity, "settings-file-newer")
	case errors.Is(err, settings.ErrPassphrase):
		return say(http.StatusForbidden, "passphrase-wrong")
	case errors.Is(err, settings.ErrTooLarge):
		return say(http.StatusUnprocessableEntity, "settings-file-large", "max", strconv.Itoa(settings.MaxFile))
	}
	return err
}
