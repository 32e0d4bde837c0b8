package web

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/layout"
	"vigil/internal/media"
	"vigil/internal/settings"
	"vigil/internal/text"
)

// changes reads the first page.
func (p *person) changes(header ...string) (list []object) {
	p.t.Helper()
	for _, x := range p.want(200, "GET", "/changes", nil, header...)["changes"].([]any) {
		list = append(list, x.(object))
	}
	return list
}

func texts(change object) string {
	var s []string
	for _, e := range change["edits"].([]any) {
		name, _ := e.(object)["name"].(string)
		s = append(s, strings.TrimPrefix(name+": ", ": ")+e.(object)["text"].(string))
	}
	return strings.Join(s, "; ")
}

func (p *person) undo(change object) object {
	p.t.Helper()
	return p.want(200, "POST", "/changes/"+itoa(change["version"].(float64))+"/undo", nil)
}

//vigil:clause 5.2.7.1
func TestChanges(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	s := p.want(200, "GET", "/settings", nil)
	s["storage"].(object)["retentionDays"], s["timeZone"] = 45, "UTC"
	p.want(200, "PUT", "/settings", s)
	in := object{"name": "Door", "user": "viewer", "password": "cam-Secret-1", "streams": []object{{"kind": "main", "url": "rtsp://192.0.2.1/s?token=abc123"}}}
	cam := p.want(201, "POST", "/cameras", in)
	if cam["retentionOwn"] != false || cam["retentionDays"] != 45.0 {
		t.Errorf("%v", cam)
	}
	in["name"], in["password"], in["recording"], in["retentionDays"] = "Gate", "cam-Secret-2", false, 7
	p.want(200, "PUT", "/cameras/"+cam["id"].(string), in)
	p.want(204, "DELETE", "/cameras/"+cam["id"].(string), nil)

	list := p.changes()
	want := []string{
		"Gate: camera removed; its footage stays",
		"Gate: name: Door → Gate; Gate: password: changed; Gate: recording: on → off; Gate: footage is kept: as for all cameras → 7 days",
		"Door: camera added",
		"footage is kept: 30 days → 45 days; time zone: Asia/Taipei → UTC",
	}
	for i, w := range want {
		if got := texts(list[i]); got != w || list[i]["by"].(object)["name"] != "amy" || list[i]["undo"] != true {
			t.Errorf("%d:\n got %s %v\nwant %s", i, got, list[i], w)
		}
	}
	if got := texts(p.changes("Accept-Language", "zh-TW")[3]); got != "錄影保留：30 天 → 45 天; 時區：Asia/Taipei → UTC" {
		t.Error(got)
	}
	if raw, _ := json.Marshal(list); strings.Contains(string(raw), "cam-Secret") || strings.Contains(string(raw), "abc123") {
		t.Errorf("told: %s", raw)
	}

	back := p.undo(list[0])
	if got := p.want(200, "GET", "/cameras/"+cam["id"].(string), nil); got["name"] != "Gate" || got["removed"] != false || got["hasPassword"] != true || back["undoes"] != list[0]["version"] || texts(back) != "Gate: camera brought back" {
		t.Errorf("%v, %v", got, back)
	}
	p.undo(list[1])
	if got := p.want(200, "GET", "/cameras/"+cam["id"].(string), nil); got["name"] != "Door" || got["retentionDays"] != 45.0 || got["recording"].(object)["on"] != true {
		t.Errorf("%v", got)
	}
	p.undo(list[3])
	if got := p.want(200, "GET", "/settings", nil); got["storage"].(object)["retentionDays"] != 30.0 || got["timeZone"] != "Asia/Taipei" {
		t.Errorf("%v", got)
	}
	if r := b.recorded(audit.SettingsChange)[0]; r.Detail["undoes"] != itoa(list[3]["version"].(float64)) || r.Actor.Name != "amy" {
		t.Errorf("recorded %+v", r)
	}
	if got := p.changes(); got[3]["undoneBy"] != got[2]["version"] || got[3]["undo"] != false {
		t.Errorf("%v", got[3])
	}

	// What stands in the way is named, in the language of who asks.
	s = p.want(200, "GET", "/settings", nil)
	s["storage"].(object)["retentionDays"] = 45
	p.want(200, "PUT", "/settings", s)
	again := p.changes()[0]
	s = p.want(200, "GET", "/settings", nil)
	s["storage"].(object)["retentionDays"] = 60
	p.want(200, "PUT", "/settings", s)
	at := "/changes/" + itoa(again["version"].(float64)) + "/undo"
	if v := p.refused(409, settings.UndoChanged, "POST", at, nil); v["title"] != "It was changed again since: footage is kept" || !strings.Contains(v["detail"].(string), "60 days") {
		t.Errorf("%v", v)
	}
	if v := p.refused(409, settings.UndoChanged, "POST", at, nil, "Accept-Language", "zh-TW"); !strings.Contains(v["title"].(string), "錄影保留") || !strings.Contains(v["detail"].(string), "60 天") {
		t.Errorf("%v", v)
	}
	p.refused(409, settings.UndoNothing, "POST", "/changes/"+itoa(list[0]["version"].(float64))+"/undo", nil)
	for _, id := range []string{"999", "0", "-1", "x"} {
		if resp, _ := p.do("POST", "/changes/"+id+"/undo", nil); resp.StatusCode != 404 {
			t.Errorf("%s: %d", id, resp.StatusCode)
		}
	}
	p.refused(422, "invalid", "GET", "/changes?before=0", nil)
	b.accounts(object{"name": "amy", "role": "administrator"}, object{"name": "bob", "role": "operator"}, object{"name": "one", "role": "administrator", "cameras": []string{cam["id"].(string)}})
	for _, name := range []string{"bob", "one"} { // who may not configure all cameras sees no addresses of others'
		b.signIn(name).refused(403, "forbidden", "GET", "/changes", nil)
		b.signIn(name).refused(403, "forbidden", "POST", at, nil)
	}
}

// A removal is made final, by who may configure; no undo brings the camera back then.
//
//vigil:clause 5.2.4.1 5.4.3.1
func TestForgetNow(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	in := object{"name": "Door", "user": "viewer", "password": "cam-Secret-1", "streams": []object{{"kind": "main", "url": "rtsp://192.0.2.1/s"}}}
	cam := p.want(201, "POST", "/cameras", in)
	p.want(204, "DELETE", "/cameras/"+cam["id"].(string), nil)
	list := p.changes()
	if list[0]["secrets"] != true || list[1]["secrets"] != nil {
		t.Errorf("%v", list)
	}
	at := "/changes/" + itoa(list[0]["version"].(float64))
	b.accounts(object{"name": "amy", "role": "administrator"}, object{"name": "bob", "role": "operator"})
	b.signIn("bob").refused(403, "forbidden", "POST", at+"/forget", nil)
	if got := p.want(200, "POST", at+"/forget", nil); got["secrets"] != nil || got["undo"] != false || got["version"] != list[0]["version"] {
		t.Errorf("%v", got)
	}
	p.refused(409, settings.UndoLost, "POST", at+"/undo", nil)
	if r := b.recorded("settings.forget"); len(r) != 1 || r[0].Actor.Name != "amy" || r[0].Object != "Door" || r[0].Camera.String() != cam["id"] {
		t.Errorf("recorded %+v", r)
	}
	for _, id := range []string{"999", "0", "x"} {
		if resp, _ := p.do("POST", "/changes/"+id+"/forget", nil); resp.StatusCode != 404 {
			t.Errorf("%s: %d", id, resp.StatusCode)
		}
	}
}

func TestChangesPages(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	for i := range changesPage + 3 {
		_, _, err := b.set.Change(personActor, func(d *settings.Doc) error { d.Storage.RetentionDays = i + 100; return nil })
		must(t, err)
	}
	first := p.want(200, "GET", "/changes", nil)
	second := p.want(200, "GET", "/changes?before="+itoa(first["next"].(float64)), nil)
	if n, m := len(first["changes"].([]any)), len(second["changes"].([]any)); n != changesPage || m < 3 || second["next"] != nil {
		t.Errorf("%d, %d, %v", n, m, second["next"])
	}
}

// Each field that a person can set has words, whatever its value.
func TestEveryFieldHasWords(t *testing.T) {
	days := 7
	one := settings.Camera{ID: media.CameraID{1}, Streams: []settings.Stream{{ID: media.StreamID{1}, Kind: settings.Main}, {ID: media.StreamID{2}, Kind: settings.Second}},
		Pin: []byte{1}, CA: "x", User: "x", RetentionDays: &days, Demo: true}
	raw, err := json.Marshal(settings.Doc{SettingUp: true, Cameras: []settings.Camera{one}})
	must(t, err)
	var doc object
	must(t, json.Unmarshal(raw, &doc))
	own := map[string]bool{"/version": true, "/settingUp": true, "/id": true, "/added": true, "/streams/0/id": true, "/streams/1/id": true, "/streams/0/kind": true, "/streams/1/kind": true}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		if own[at] || settingWords[at].key != "" && at != "/streams/1" {
			return
		}
		switch v := v.(type) {
		case object:
			for k, x := range v {
				walk(at+"/"+k, x)
			}
		case []any:
			for i, x := range v {
				walk(fmt.Sprintf("%s/%d", at, i), x)
			}
		default:
			t.Errorf("%s has no words", at)
		}
	}
	cameras := doc["cameras"].([]any)
	delete(doc, "cameras")
	walk("", doc)
	walk("", cameras[0])
	for field, w := range settingWords {
		for _, l := range text.Langs {
			for _, v := range []any{nil, "", true, false, json.Number("0"), json.Number("7"), "plain", "auto", "zh-TW"} {
				if s := valueText(l, field, v); s == "" || strings.Contains(s, "{") || strings.Contains(s, "value.") {
					t.Errorf("%s %v: %q", field, v, s)
				}
			}
			if s := fieldText(l, field); s == "" || s == w.key {
				t.Errorf("%s: %q", field, s)
			}
		}
	}
}

const phrase = "Lantern-Harbour-42"

// sealed takes the settings away.
func (p *person) sealed() []byte {
	p.t.Helper()
	resp, file := p.do("POST", "/settings/export", object{"passphrase": phrase, "password": password})
	if resp.StatusCode != 200 || !strings.Contains(resp.Header.Get("Content-Disposition"), ".vigil") {
		p.t.Fatalf("%d: %s", resp.StatusCode, file)
	}
	return file
}

//vigil:clause 5.2.4.1
func TestSettingsFile(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	cam := p.want(201, "POST", "/cameras", object{"name": "Door", "user": "viewer", "password": "cam-Secret-1", "streams": []object{{"kind": "main", "url": "rtsp://192.0.2.1/s"}}})["id"].(string)
	p.want(200, "PUT", "/layouts", object{"version": 0, "layouts": []any{object{"id": media.CameraID{1}.String(), "name": "Yard", "columns": 2, "cameras": []string{cam}}}})
	for _, weak := range []string{"", "short", "password1234", "My-amy-Passphrase-1"} {
		p.refused(422, "invalid", "POST", "/settings/export", object{"passphrase": weak, "password": password})
	}
	p.refused(403, "own-password-wrong", "POST", "/settings/export", object{"passphrase": phrase, "password": second})
	p.refused(403, "own-password-wrong", "POST", "/settings/export", object{"passphrase": phrase})
	file := p.sealed()
	if s := string(file); !strings.HasPrefix(s, "VIGILSET") || strings.Contains(s, "cam-Secret") || strings.Contains(s, "Door") {
		t.Errorf("%q", s)
	}
	if r := b.recorded("settings.export"); len(r) != 3 || r[0].Result != audit.OK || r[0].Detail["cameras"] != "1" || r[1].Result != audit.Denied {
		t.Errorf("recorded %+v", r)
	}

	b.srv.rates = newRates() // their own test
	in := object{"file": file, "passphrase": phrase}
	if v := p.want(200, "POST", "/settings/import", in); len(v["edits"].([]any)) != 0 || v["layouts"] != 0.0 {
		t.Errorf("nothing differs: %v", v)
	}
	p.want(204, "DELETE", "/cameras/"+cam, nil)
	p.want(200, "PUT", "/layouts", object{"version": 1, "layouts": []any{}})
	plan := p.want(200, "POST", "/settings/import", in)
	if texts(plan) != "Door: camera brought back" || plan["layouts"] != 1.0 || plan["change"] != nil {
		t.Errorf("%v", plan)
	}
	if !b.set.Get().Cameras[0].Gone() {
		t.Error("telling has changed it")
	}
	in["version"] = plan["version"].(float64) - 1
	p.refused(409, "settings-changed", "POST", "/settings/import", in)
	in["version"] = plan["version"]
	done := p.want(200, "POST", "/settings/import", in)
	if c := b.set.Get().Cameras[0]; c.Gone() || c.Password.Reveal() != "cam-Secret-1" || texts(done["change"].(object)) != "Door: camera brought back" || done["change"].(object)["file"] == nil {
		t.Errorf("%+v, %v", c, done)
	}
	if v := p.want(200, "GET", "/layouts", nil); v["layouts"].([]any)[0].(object)["name"] != "Yard" {
		t.Errorf("%v", v)
	}
	p.undo(done["change"].(object))
	if !b.set.Get().Cameras[0].Gone() {
		t.Error("undone, and it is there")
	}

	b.srv.rates = newRates()
	in = object{"file": file, "passphrase": second}
	p.refused(403, "passphrase-wrong", "POST", "/settings/import", in)
	if r := b.recorded("settings.import"); r[0].Result != audit.Denied || r[0].Reason != "passphrase" {
		t.Errorf("recorded %+v", r)
	}
	bad := append([]byte(nil), file...)
	bad[100] ^= 1
	p.refused(422, "settings-file-damaged", "POST", "/settings/import", object{"file": bad, "passphrase": phrase})
	p.refused(422, "settings-file-other", "POST", "/settings/import", object{"file": []byte("PK\x03\x04 something else"), "passphrase": phrase})
	b.srv.rates = newRates()
	p.refused(413, "too-large", "POST", "/settings/import", object{"file": make([]byte, maxImport), "passphrase": phrase})
	p.refused(413, "too-large", "PUT", "/settings", strings.Repeat(" ", maxBody+1)) // others take what they took

	// On another recorder.
	o := newBench(t)
	q := o.admin()
	plan = q.want(200, "POST", "/settings/import", object{"file": file, "passphrase": phrase})
	q.want(200, "POST", "/settings/import", object{"file": file, "passphrase": phrase, "version": plan["version"]})
	if c := o.set.Get().Cameras[0]; c.ID.String() != cam || c.Password.Reveal() != "cam-Secret-1" || !c.Recording.On || c.Recording.By != "amy" {
		t.Errorf("%+v", c)
	}
	// What contradicts is named.
	_, _, err := o.set.Change(personActor, func(d *settings.Doc) error { d.Cameras = nil; return nil })
	must(t, err)
	q.want(201, "POST", "/cameras", object{"name": "door", "streams": []object{{"kind": "main", "url": "rtsp://192.0.2.2/s"}}})
	v := q.refused(409, "settings-file-refused", "POST", "/settings/import", object{"file": file, "passphrase": phrase})
	if m := v["mistakes"].([]any)[0].(object); m["code"] != "name-used" || m["args"].(object)["camera"] != "Door" {
		t.Errorf("%v", v)
	}
}

// Tries at a passphrase are few, as at a password.
func TestSettingsFileIsSlow(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	b.srv.rates = newRates()
	last := 0
	for range signInBurst + 2 {
		resp, _ := p.do("POST", "/settings/import", object{"file": []byte("x"), "passphrase": phrase})
		last = resp.StatusCode
	}
	if last != 429 {
		t.Errorf("%d", last)
	}
}

// A layout that is in a file and not right is refused as a whole.
func TestSettingsFileLayouts(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	f := settings.NewFile(b.set.Get(), map[string][]layout.Layout{"amy": {{ID: "x", Name: "bad"}}}, time.Now())
	file, err := f.Seal(phrase, 600_000)
	must(t, err)
	plan := p.want(200, "POST", "/settings/import", object{"file": file, "passphrase": phrase})
	p.refused(409, "settings-file-refused", "POST", "/settings/import", object{"file": file, "passphrase": phrase, "version": plan["version"]})
}

//vigil:clause 5.3.1.1
func TestOwnCertificate(t *testing.T) {
	b := newBench(t)
	b.accounts(object{"name": "amy", "role": "administrator"}, object{"name": "eve", "role": "viewer"})
	p := b.signIn("amy")
	was := p.want(200, "GET", "/certificate", nil)
	if sum := b.cert.Fingerprint(); was["sha256"] != fmt.Sprintf("%x", sum) || !strings.HasPrefix(was["pem"].(string), "-----BEGIN CERTIFICATE-----") || !strings.Contains(fmt.Sprint(was["names"]), "localhost") {
		t.Errorf("%v", was)
	}
	b.signIn("eve").refused(403, "forbidden", "POST", "/certificate/renew", nil)
	now := p.want(200, "POST", "/certificate/renew", nil)
	if sum := b.cert.Fingerprint(); now["sha256"] == was["sha256"] || now["sha256"] != fmt.Sprintf("%x", sum) {
		t.Errorf("%v", now)
	}
	if r := b.recorded("certificate.renew"); len(r) != 1 || r[0].Detail["old"] != was["sha256"] || r[0].Actor.Kind != actor.Person {
		t.Errorf("recorded %+v", r)
	}
}

func TestClauses(t *testing.T) {
	b := newBench(t)
	p := b.admin()
	for lang, want := range map[string]string{"en": "Storage", "zh-TW": "儲存"} {
		if v := p.want(200, "GET", "/clauses", nil, "Accept-Language", lang)["clauses"].([]any)[0].(object); v["title"] != want || v["state"] != "partly" || v["missing"] != "a TPM" {
			t.Errorf("%v", v)
		}
	}
}
