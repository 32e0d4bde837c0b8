package web

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vigil/internal/access"
	"vigil/internal/actor"
	"vigil/internal/auth"
	"vigil/internal/settings"
	"vigil/internal/text"
)

func (c *call) getSetup() error {
	doc := c.Settings.Get()
	out := struct {
		State       string    `json:"state"`
		CodeExpires *int64    `json:"codeExpires,omitempty"`
		Language    text.Lang `json:"language"`
		TimeZone    string    `json:"timeZone"`
	}{State: "done", Language: doc.Language, TimeZone: "UTC"}
	if c.Auth.SetUpNeeded() {
		out.State, out.TimeZone = "needed", doc.TimeZone
		if t, ok := c.Auth.CodeExpires(); ok {
			out.CodeExpires = some(t)
		}
	}
	return c.answer(http.StatusOK, out)
}

// claim is the only thing that works before there is an account.
//
//vigil:clause 5.4.1.1
func (c *call) claim() error {
	var in struct {
		Code     string    `json:"code"`
		Name     string    `json:"name"`
		Password string    `json:"password"`
		Language text.Lang `json:"language"`
		TimeZone string    `json:"timeZone"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	if !c.Auth.SetUpNeeded() {
		return auth.ErrSetUpDone
	}
	var m text.Mistakes
	if in.Language != "" && !in.Language.Valid() {
		m.Add("/language", "one-of", "choices", "zh-TW, en")
	}
	if in.TimeZone != "" && !settings.KnownZone(in.TimeZone) {
		m.Add("/timeZone", "time-zone")
	}
	if err := m.Err(); err != nil {
		return err
	}
	token, session, err := c.Auth.Claim(c.r.Context(), c.source, in.Code, in.Name, in.Password)
	if err != nil {
		return err
	}
	_, _, err = c.Settings.Change(session.Actor(), func(d *settings.Doc) error {
		if in.Language != "" {
			d.Language = in.Language
		}
		if in.TimeZone != "" {
			d.TimeZone = in.TimeZone
		}
		d.SettingUp = true
		return nil
	})
	if err != nil { // the administrator is there; language and zone can be chosen again
		c.Log.Error("set-up: language and time zone were not kept", "err", err)
	}
	if in.Language != "" {
		if err := c.Auth.SetLanguage(session, in.Language); err != nil {
			c.Log.Error("set-up: the account's language was not kept", "err", err)
		}
	}
	return c.signedIn(http.StatusCreated, token, session)
}

func (c *call) renewSetupCode() error {
	code, expires, err := c.Auth.NewCode(c.who())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, map[string]any{"code": code, "expires": ms(expires)})
}

func (c *call) getPasswordRules() error {
	r := c.Auth.Rules()
	return c.answer(http.StatusOK, map[string]int{"minLength": r.MinLength, "maxLength": r.MaxLength, "classes": r.Classes, "history": r.History})
}

func (c *call) signIn() error {
	var in struct {
		Name     string `json:"name"`
		Password string `json:"password"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	token, session, err := c.Auth.SignIn(c.r.Context(), c.source, in.Name, in.Password)
	if err != nil {
		return err
	}
	if c.session != nil { // the browser had one: the new one takes its place
		if err := c.Auth.SignOut(c.session); err != nil {
			return err
		}
	} else if k, err := c.r.Cookie(cookie); err == nil {
		if old, err := c.Auth.Session(k.Value); err == nil {
			if err := c.Auth.SignOut(old); err != nil {
				return err
			}
		}
	}
	return c.signedIn(http.StatusOK, token, session)
}

// signedIn hands the token out, once, where no script can read it.
//
//vigil:clause 5.2.5.1
func (c *call) signedIn(status int, token string, s *auth.Session) error {
	subject, err := c.Auth.Subject(s)
	if err != nil {
		return err
	}
	c.session, c.subject = s, subject
	http.SetCookie(c.w, &http.Cookie{Name: cookie, Value: token, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	return c.answer(status, c.sessionBody())
}

type sessionBody struct {
	Account            string          `json:"account"`
	Role               access.Role     `json:"role"`
	Rights             []access.Action `json:"rights"`
	Expires            int64           `json:"expires"`
	IdleSeconds        int             `json:"idleSeconds"`
	PasswordMustChange bool            `json:"passwordMustChange"`
	Language           text.Lang       `json:"language,omitempty"`
	LastSignIn         *lastBody       `json:"lastSignIn,omitempty"`
}

type lastBody struct {
	At       int64  `json:"at"`
	Source   string `json:"source"`
	Failures int    `json:"failures"`
}

func (c *call) sessionBody() sessionBody {
	if c.session == nil { // the console: as long as the connection
		all := access.Subject{Actor: actor.Actor{Kind: actor.Person}, Role: access.Administrator}
		return sessionBody{Account: c.who().Name, Role: access.Administrator, Rights: access.Rights(all), Expires: ms(time.Now().Add(auth.Absolute)), IdleSeconds: int(auth.Idle / time.Second)}
	}
	b := sessionBody{
		Account: c.session.Account(), Role: c.subject.Role, Rights: access.Rights(c.subject), Expires: ms(c.session.Expires()),
		IdleSeconds: int(auth.Idle / time.Second), PasswordMustChange: c.subject.MustChange,
		Language: c.Auth.Language(c.session),
	}
	if b.Rights == nil {
		b.Rights = []access.Action{}
	}
	if l := c.session.Last(); l != nil {
		b.LastSignIn = &lastBody{ms(l.At), l.Source, l.Failures}
	}
	return b
}

func (c *call) getSession() error { return c.answer(http.StatusOK, c.sessionBody()) }

func (c *call) signOut() error {
	if c.session == nil {
		return notFound() // the console has none
	}
	err := c.Auth.SignOut(c.session)
	http.SetCookie(c.w, &http.Cookie{Name: cookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	c.w.Header().Set("Clear-Site-Data", `"cache"`)
	if err != nil {
		return err
	}
	return c.nothing()
}

// changeLanguage remembers the language that a person reads.
func (c *call) changeLanguage() error {
	if c.session == nil {
		return notFound() // the console has its own
	}
	var in struct {
		Language text.Lang `json:"language"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	if !in.Language.Valid() {
		return mistake("/language", "one-of", "choices", "zh-TW, en")
	}
	if err := c.Auth.SetLanguage(c.session, in.Language); err != nil {
		return err
	}
	return c.answer(http.StatusOK, c.sessionBody())
}

func (c *call) changePassword() error {
	if c.session == nil {
		return notFound()
	}
	var in struct {
		Old string `json:"old"`
		New string `json:"new"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	token, session, err := c.Auth.ChangePassword(c.r.Context(), c.session, in.Old, in.New)
	if err != nil {
		return err
	}
	return c.signedIn(http.StatusOK, token, session)
}

func (c *call) listAccounts() error {
	type body struct {
		Name               string      `json:"name"`
		Role               access.Role `json:"role"`
		Created            int64       `json:"created"`
		LastSignIn         *int64      `json:"lastSignIn,omitempty"`
		PasswordMustChange bool        `json:"passwordMustChange"`
		Sessions           int         `json:"sessions"`
	}
	list := []body{}
	for _, a := range c.Auth.Accounts() {
		list = append(list, body{a.Name, a.Role, ms(a.Created), some(a.Last), a.MustChange, a.Sessions})
	}
	return c.answer(http.StatusOK, map[string]any{"accounts": list})
}

func (c *call) resetPassword() error {
	var in struct {
		New string `json:"new"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	if err := c.Auth.ResetPassword(c.r.Context(), c.who(), c.r.PathValue("account"), in.New); err != nil {
		return err
	}
	return c.nothing()
}

// MachineZone returns the IANA name of the machine's time zone, as a proposal for
// settings; "UTC" when it cannot be told.
func MachineZone() string {
	if tz := os.Getenv("TZ"); settings.KnownZone(tz) {
		return tz
	}
	if target, err := filepath.EvalSymlinks("/etc/localtime"); err == nil {
		if _, name, ok := strings.Cut(target, "zoneinfo/"); ok && settings.KnownZone(name) {
			return name
		}
	}
	if b, err := os.ReadFile("/etc/timezone"); err == nil && settings.KnownZone(strings.TrimSpace(string(b))) {
		return strings.TrimSpace(string(b))
	}
	return "UTC"
}
