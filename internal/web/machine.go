package web

import (
	_ "embed"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"vigil/internal/access"
	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/keys"
	"vigil/internal/media"
	"vigil/internal/settings"
	"vigil/internal/text"
)

type alertBody struct {
	ID           string            `json:"id"`
	Kind         string            `json:"kind"`
	Severity     string            `json:"severity"`
	Object       string            `json:"object"`
	Camera       string            `json:"camera,omitempty"`
	Args         map[string]string `json:"args,omitempty"`
	Title        string            `json:"title"`
	Detail       string            `json:"detail"`
	Since        int64             `json:"since"`
	Last         *int64            `json:"last,omitempty"`
	Count        int               `json:"count"`
	Cleared      *int64            `json:"cleared,omitempty"`
	Acknowledged *ackBody          `json:"acknowledged,omitempty"`
}

type ackBody struct {
	By string `json:"by"`
	At int64  `json:"at"`
}

func (c *call) alertBody(a Alert) alertBody {
	args := map[string]string{"object": a.Object}
	for k, v := range a.Args {
		args[k] = v
	}
	if cam := c.Settings.Get().Camera(a.Camera); cam != nil {
		args["camera"] = cam.Name
	}
	if n := note(c.lang, "camera", args["why"], a.Args); n != nil { // a code of a camera's
		args["why"] = n.Text
	}
	if key := "reason." + args["reason"]; text.Has(key) { // a code of the store's
		args["reason"] = text.Get(c.lang, key, a.Args)
	}
	b := alertBody{
		ID: a.ID, Kind: a.Kind, Severity: "warning", Object: a.Object, Args: a.Args, Since: ms(a.Since), Last: some(a.Last), Count: max(a.Count, 1), Cleared: some(a.Cleared),
		Title: text.Get(c.lang, "alert."+a.Kind, args), Detail: text.Get(c.lang, "alert."+a.Kind+".detail", args),
	}
	if a.Alarm {
		b.Severity = "alarm"
	}
	if !a.Camera.IsZero() {
		b.Camera = a.Camera.String()
	}
	if !a.Acknowledged.IsZero() {
		b.Acknowledged = &ackBody{a.By, ms(a.Acknowledged)}
	}
	return b
}

func (c *call) listAlerts() error {
	all, err := c.flag("all")
	if err != nil {
		return err
	}
	list := []alertBody{}
	for _, a := range c.Alerts.List(all) {
		if c.may(access.See, a.Camera) {
			list = append(list, c.alertBody(a))
		}
	}
	return c.answer(http.StatusOK, map[string]any{"alerts": list})
}

func (c *call) acknowledgeAlert() error {
	a, ok := c.Alerts.Get(c.r.PathValue("alert"))
	if !ok || !c.may(access.See, a.Camera) {
		return notFound()
	}
	if err := access.Allow(c.subject, access.Right{Action: access.Acknowledge, Camera: a.Camera}); err != nil {
		return err
	}
	a, err := c.Alerts.Acknowledge(c.who(), a.ID)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, c.alertBody(a))
}

type recordBody struct {
	Seq    uint64            `json:"seq"`
	At     int64             `json:"at"`
	Time   string            `json:"time"`
	Clock  string            `json:"clock,omitempty"`
	Actor  actor.Actor       `json:"actor"`
	Action audit.Action      `json:"action"`
	Object string            `json:"object,omitempty"`
	Camera string            `json:"camera,omitempty"`
	Result audit.Result      `json:"result"`
	Reason string            `json:"reason,omitempty"`
	Detail map[string]string `json:"detail,omitempty"`
}

// listAudit shows the log; who looks at it is in it.
//
//vigil:clause 5.2.7.1 5.2.7.2
func (c *call) listAudit() error {
	q := c.r.URL.Query()
	var m text.Mistakes
	f := audit.Filter{Name: q.Get("actor"), Action: audit.Action(q.Get("action")), Result: audit.Result(q.Get("result"))}
	f.From, _ = c.instant(&m, "from", false)
	f.To, _ = c.instant(&m, "to", false)
	if len(f.Name) > 128 {
		m.Add("?actor", "too-long", "max", "128")
	}
	if len(f.Action) > 64 {
		m.Add("?action", "too-long", "max", "64")
	}
	switch f.Result {
	case "", audit.OK, audit.Failed, audit.Denied:
	default:
		m.Add("?result", "one-of", "choices", "ok, failed, denied")
	}
	if v := q.Get("camera"); v != "" {
		id, err := media.ParseID[struct{}](v)
		if err != nil {
			m.Add("?camera", "wrong-type")
		}
		f.Camera = media.CameraID(id)
	}
	if v := q.Get("before"); v != "" {
		n, err := strconv.ParseUint(v, 10, 63)
		if err != nil {
			m.Add("?before", "wrong-type")
		}
		f.Before = n
	}
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > audit.MaxPage {
			m.Add("?limit", "out-of-range", "min", "1", "max", strconv.Itoa(audit.MaxPage))
		}
		f.Limit = n
	}
	if err := m.Err(); err != nil {
		return err
	}
	if f.Before == 0 { // turning the page is no new look
		detail := map[string]string{}
		for k, v := range q {
			if len(v) > 0 && len(detail) < 8 {
				detail[k] = v[0]
			}
		}
		if err := c.record(audit.LogRead, "", audit.OK, "", detail); err != nil {
			return err
		}
	}
	page, next, err := c.Audit.Read(c.r.Context(), f)
	if err != nil {
		return err
	}
	out := struct {
		Records []recordBody `json:"records"`
		Next    uint64       `json:"next,omitempty"`
	}{Records: []recordBody{}, Next: next}
	for _, r := range page {
		b := recordBody{r.Seq, ms(r.At), r.At.UTC().Format(time.RFC3339Nano), r.Clock, r.Actor, r.Action, r.Object, "", r.Result, r.Reason, r.Detail}
		if !r.Camera.IsZero() {
			b.Camera = r.Camera.String()
		}
		out.Records = append(out.Records, b)
	}
	return c.answer(http.StatusOK, out)
}

// settingsBody is the part of the settings that is not cameras.
type settingsBody struct {
	Version  int64            `json:"version"`
	Language text.Lang        `json:"language"`
	TimeZone string           `json:"timeZone"`
	Storage  settings.Storage `json:"storage"`
	// SettingUp: see settings.Doc.
	SettingUp bool `json:"settingUp"`
}

func (c *call) getSettings() error {
	d := c.Settings.Get()
	return c.answer(http.StatusOK, settingsBody{d.Version, d.Language, d.TimeZone, d.Storage, d.SettingUp})
}

func (c *call) changeSettings() error {
	d := c.Settings.Get()
	in := settingsBody{Version: -1, Language: d.Language, TimeZone: d.TimeZone, Storage: d.Storage, SettingUp: d.SettingUp} // what is left out stays
	if err := c.body(&in); err != nil {
		return err
	}
	if in.Version < 0 {
		return mistake("/version", "required")
	}
	_, now, err := c.Settings.Change(c.who(), func(d *settings.Doc) error {
		if d.Version != in.Version {
			return say(http.StatusConflict, "settings-changed")
		}
		d.Language, d.TimeZone, d.Storage, d.SettingUp = in.Language, in.TimeZone, in.Storage, in.SettingUp
		return nil
	})
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, settingsBody{now.Version, now.Language, now.TimeZone, now.Storage, now.SettingUp})
}

type volumeBody struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	State   string    `json:"state"`
	Total   int64     `json:"total"`
	Free    int64     `json:"free"`
	Used    int64     `json:"used"`
	Reserve int64     `json:"reserve,omitempty"`
	Room    int64     `json:"room"`
	Why     *noteBody `json:"why,omitempty"`
}

type said struct {
	Synchronised bool   `json:"synchronised"`
	Text         string `json:"text"`
}

// getStatus tells how the recorder is, and what it cannot promise: with a key
// file clause 5.1.1.2 is not met.
//
//vigil:clause 5.1.1.2
func (c *call) getStatus() error {
	st, err := c.Machine.Status(c.r.Context())
	if err != nil {
		return err
	}
	type counts struct {
		On  int `json:"on"`
		Now int `json:"now"`
	}
	type guard struct {
		Name  string `json:"name"`
		Holds bool   `json:"holds"`
		Note  string `json:"note,omitempty"`
	}
	type keyState struct {
		Mode   keys.Mode `json:"mode"`
		Clause string    `json:"clause"`
		Met    bool      `json:"met"`
		Text   string    `json:"text"`
	}
	type crypto struct {
		FIPS140 bool   `json:"fips140"`
		Module  string `json:"module"`
	}
	out := struct {
		Version      string       `json:"version"`
		Started      int64        `json:"started"`
		Now          int64        `json:"now"`
		Recording    counts       `json:"recording"`
		Volumes      []volumeBody `json:"volumes"`
		DaysLeft     *float64     `json:"daysLeft,omitempty"`
		BytesPerDay  *int64       `json:"bytesPerDay,omitempty"`
		Oldest       *int64       `json:"oldest,omitempty"`
		Jail         []guard      `json:"jail"`
		Keys         keyState     `json:"keys"`
		Cryptography crypto       `json:"cryptography"`
		Clock        said         `json:"clock"`
		Sessions     int          `json:"sessions"`
		Certificate  string       `json:"certificate"`
	}{
		Version: st.Version, Started: ms(st.Started), Now: ms(time.Now()), Volumes: []volumeBody{}, Oldest: some(st.Oldest), Jail: []guard{},
		Keys:         keyState{st.Keys, "5.1.1.2", st.Keys != keys.KeyFile, text.Get(c.lang, "status.key-file", nil)},
		Cryptography: crypto{st.FIPS, st.Module}, Sessions: c.Auth.Count(), Certificate: hex.EncodeToString(st.Certificate[:]),
		Clock: said{st.Synchronised, text.Get(c.lang, "status.clock-free", nil)},
	}
	if st.Synchronised {
		out.Clock.Text = text.Get(c.lang, "status.clock-synchronised", nil)
	}
	if st.DaysLeft >= 0 {
		out.DaysLeft = &st.DaysLeft
	}
	if st.BytesPerDay >= 0 {
		out.BytesPerDay = &st.BytesPerDay
	}
	for _, v := range st.Volumes {
		out.Volumes = append(out.Volumes, volumeBody{v.ID, v.Name, v.State, v.Total, v.Free, v.Used, v.Reserve, v.Room, note(c.lang, "volume", v.Why.Code, v.Why.Args)})
	}
	for _, g := range c.Cameras.Jail() {
		out.Jail = append(out.Jail, guard{g.Name, g.Holds, g.Note})
	}
	recording := c.Machine.Recording()
	for _, cam := range c.Settings.Get().Cameras {
		if cam.Recording.On && !cam.Gone() {
			out.Recording.On++
		}
		for _, s := range cam.Streams {
			if recording[s.ID] {
				out.Recording.Now++
				break
			}
		}
	}
	return c.answer(http.StatusOK, out)
}

func (c *call) getThirdParty() error {
	parts, err := c.ThirdParty()
	if err != nil {
		return err
	}
	type body struct {
		Name    string `json:"name"`
		Version string `json:"version"`
		Licence string `json:"licence"`
		Text    string `json:"text,omitempty"`
	}
	list := []body{}
	for _, p := range parts {
		list = append(list, body(p))
	}
	return c.answer(http.StatusOK, map[string]any{"modules": list})
}

// getClauses tells how far each clause of the standard is built.
func (c *call) getClauses() error {
	table, err := c.Clauses()
	if err != nil {
		return err
	}
	type body struct {
		ID      string `json:"id"`
		Title   string `json:"title"`
		State   string `json:"state"`
		Missing string `json:"missing,omitempty"`
	}
	list := []body{}
	for _, r := range table {
		b := body{r.ID, r.Title, r.State, r.Missing}
		if c.lang == text.Chinese {
			b.Title = r.TitleChinese
		}
		list = append(list, b)
	}
	return c.answer(http.StatusOK, map[string]any{"standard": "TAICS TS-0014-3:2018", "clauses": list})
}

//go:embed openapi.yaml
var description []byte

func (c *call) getDocument() error {
	c.w.Header().Set("Content-Type", "application/yaml")
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.Write(description)
	return nil
}
