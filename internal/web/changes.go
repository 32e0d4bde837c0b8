package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"vigil/internal/actor"
	"vigil/internal/settings"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

// changesPage is how many changes one answer has.
const changesPage = 50

type changeBody struct {
	Version  int64       `json:"version"`
	At       int64       `json:"at"`
	By       actor.Actor `json:"by"`
	Undoes   int64       `json:"undoes,omitempty"`
	File     *int64      `json:"file,omitempty"`
	UndoneBy int64       `json:"undoneBy,omitempty"`
	Undo     bool        `json:"undo"`
	Secrets  bool        `json:"secrets,omitempty"`
	Edits    []editBody  `json:"edits"`
}

type editBody struct {
	Camera string `json:"camera,omitempty"`
	Name   string `json:"name,omitempty"`
	Field  string `json:"field,omitempty"`
	Text   string `json:"text"`
}

func (c *call) changeBody(x settings.Change) changeBody {
	b := changeBody{Version: x.Version, At: ms(x.At), By: x.By, Undoes: x.Undoes, File: some(x.File), UndoneBy: x.UndoneBy, Undo: !x.Lost && x.UndoneBy == 0, Secrets: x.Secrets}
	b.By.Session = ""
	b.Edits = c.editBodies(x.Edits)
	return b
}

func (c *call) editBodies(list []settings.Edit) []editBody {
	out := []editBody{}
	for _, e := range list {
		b := editBody{Name: e.Name, Field: e.Field, Text: editText(c.lang, e)}
		if !e.Camera.IsZero() {
			b.Camera = e.Camera.String()
		}
		out = append(out, b)
	}
	return out
}

// listChanges lists what was changed in the settings, newest first, in words.
func (c *call) listChanges() error {
	before := int64(0)
	if v := c.r.URL.Query().Get("before"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 1 {
			return mistake("?before", "wrong-type")
		}
		before = n
	}
	list, more := c.Settings.Changes(before, changesPage)
	out := struct {
		Changes []changeBody `json:"changes"`
		Next    int64        `json:"next,omitempty"`
	}{Changes: []changeBody{}}
	for _, x := range list {
		out.Changes = append(out.Changes, c.changeBody(x))
	}
	if more {
		out.Next = list[len(list)-1].Version
	}
	return c.answer(http.StatusOK, out)
}

// forgetChange makes a removal final: what opened the cameras of the change is not kept any longer.
//
//vigil:clause 5.2.4.1
func (c *call) forgetChange() error {
	version, err := strconv.ParseInt(c.r.PathValue("change"), 10, 64)
	if err != nil || version < 1 {
		return notFound()
	}
	x, err := c.Settings.ForgetNow(c.who(), version)
	if errors.Is(err, settings.ErrNoChange) {
		return notFound()
	}
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, c.changeBody(x))
}

// undoChange takes one change back, as a new change of the caller's.
//
//vigil:clause 5.2.7.1
func (c *call) undoChange() error {
	version, err := strconv.ParseInt(c.r.PathValue("change"), 10, 64)
	if err != nil || version < 1 {
		return notFound()
	}
	x, err := c.Settings.Undo(c.who(), version)
	var no *settings.UndoError
	switch {
	case errors.Is(err, settings.ErrNoChange):
		return notFound()
	case errors.As(err, &no):
		what := fieldText(c.lang, no.Edit.Field)
		if no.Edit.Name != "" {
			what = no.Edit.Name + ": " + what
		}
		p := say(http.StatusConflict, no.Code, "what", what, "name", no.Edit.Name, "now", valueText(c.lang, no.Edit.Field, no.Now), "days", strconv.Itoa(int(settings.KeepSecrets.Hours()/24)))
		p.mistakes = no.Mistakes
		return p
	case err != nil:
		return err
	}
	return c.answer(http.StatusOK, c.changeBody(x))
}

// editText says one difference, without the name of the camera.
func editText(l text.Lang, e settings.Edit) string {
	switch e.Act {
	case settings.Added, settings.Removed, settings.Restored, settings.Forgotten:
		return text.Get(l, "change."+string(e.Act), nil)
	}
	what := fieldText(l, e.Field)
	if f := settingWords[e.Field]; f.secret {
		return text.Get(l, "change.secret", map[string]string{"what": what})
	}
	return text.Get(l, "change.value", map[string]string{"what": what, "from": valueText(l, e.Field, e.From), "to": valueText(l, e.Field, e.To)})
}

// A fieldWords says how a field of the settings is told.
type fieldWords struct {
	key    string
	say    func(l text.Lang, v any) string // of a value that is there; nil: as it is
	none   string                          // key of the words where there is none
	secret bool                            // only that it changed
}

var settingWords = map[string]fieldWords{
	"/language":                {key: "setting.language", say: sayLanguage},
	"/timeZone":                {key: "setting.time-zone"},
	"/storage/retentionDays":   {key: "setting.retention", say: sayKept},
	"/storage/quotaBytes":      {key: "setting.quota", say: sayQuota},
	"/storage/reserveBytes":    {key: "setting.reserve", say: sayBytes},
	"/storage/reservePercent":  {key: "setting.reserve", say: sayPercent},
	"/storage/lowSpaceBytes":   {key: "setting.low-space", say: sayBytes},
	"/storage/lowSpacePercent": {key: "setting.low-space", say: sayPercent},
	"/storage/lowSpaceDays":    {key: "setting.low-days", say: sayLowDays},
	"/name":                    {key: "setting.name"},
	"/streams/0/url":           {key: "setting.address"},
	"/streams/1/url":           {key: "setting.second"},
	"/streams/1":               {key: "setting.second"},
	"/streams/0/recorded":      {key: "setting.recorded", say: saySwitch},
	"/streams/1/recorded":      {key: "setting.second-recorded", say: saySwitch},
	"/link":                    {key: "setting.link", say: sayLink},
	"/transport":               {key: "setting.transport", say: sayTransport},
	"/user":                    {key: "setting.user"},
	"/password":                {key: "setting.password", secret: true},
	"/pin":                     {key: "setting.pin", secret: true},
	"/ca":                      {key: "setting.ca", secret: true},
	"/audio":                   {key: "setting.audio", say: saySwitch},
	"/legacyMD5":               {key: "setting.legacy-md5", say: saySwitch},
	"/basicAuth":               {key: "setting.basic-auth", say: saySwitch},
	"/recording":               {key: "setting.recording", say: saySwitch},
	"/retentionDays":           {key: "setting.retention", say: sayKept, none: "value.as-all"},
	"/demo":                    {key: "setting.demo", say: saySwitch, none: "value.off"},
}

func fieldText(l text.Lang, field string) string {
	if f, ok := settingWords[field]; ok {
		return text.Get(l, f.key, nil)
	}
	return strings.TrimPrefix(field, "/") // of a newer version, or of none that people set
}

func valueText(l text.Lang, field string, v any) string {
	f := settingWords[field]
	switch {
	case v == nil && f.none != "":
		return text.Get(l, f.none, nil)
	case v == nil || v == "":
		return text.Get(l, "value.none", nil)
	case f.say != nil:
		return f.say(l, v)
	}
	return fmt.Sprint(v)
}

func integer(v any) int64 {
	n, _ := v.(json.Number)
	i, _ := n.Int64()
	return i
}

func sayLanguage(_ text.Lang, v any) string {
	if v == string(text.Chinese) {
		return "中文"
	}
	return "English"
}

func saySwitch(l text.Lang, v any) string {
	if v == true {
		return text.Get(l, "value.on", nil)
	}
	return text.Get(l, "value.off", nil)
}

func sayKept(l text.Lang, v any) string {
	if integer(v) == 0 {
		return text.Get(l, "value.kept-all", nil)
	}
	return text.Get(l, "value.days", map[string]string{"n": fmt.Sprint(v)})
}

func sayLowDays(l text.Lang, v any) string {
	if integer(v) == 0 {
		return text.Get(l, "value.low-days", nil)
	}
	return text.Get(l, "value.days", map[string]string{"n": fmt.Sprint(v)})
}

func sayQuota(l text.Lang, v any) string {
	if integer(v) == 0 {
		return text.Get(l, "value.quota-all", nil)
	}
	return sayBytes(l, v)
}

func sayBytes(_ text.Lang, v any) string {
	return strconv.FormatFloat(float64(integer(v))/1e9, 'f', -1, 64) + " GB"
}

func sayPercent(_ text.Lang, v any) string { return fmt.Sprint(v) + " %" }

var linkWords = map[any]string{
	string(wire.LinkPlain): "value.link-plain", string(wire.LinkPin): "value.link-rtsps-pin",
	string(wire.LinkCA): "value.link-rtsps-ca", string(wire.LinkInsecure): "value.link-rtsps-insecure",
}

func sayLink(l text.Lang, v any) string {
	if key, ok := linkWords[v]; ok {
		return text.Get(l, key, nil)
	}
	return fmt.Sprint(v)
}

func sayTransport(l text.Lang, v any) string {
	if v == "auto" {
		return text.Get(l, "value.transport-auto", nil)
	}
	return strings.ToUpper(fmt.Sprint(v))
}
