package web

import (
	"slices"
	"strings"
	"testing"
	"time"

	"vigil/internal/audit"
	"vigil/internal/media"
)

//vigil:clause 5.4.3.1
func TestMarks(t *testing.T) {
	b := newBench(t)
	one, two := b.camera("One"), b.camera("Two")
	b.accounts(object{"name": "amy", "role": "administrator"}, object{"name": "bob", "role": "operator", "cameras": []string{one.ID.String()}}, object{"name": "eve", "role": "viewer"}, object{"name": "joe", "role": "operator"})
	amy, bob, eve, joe := b.signIn("amy"), b.signIn("bob"), b.signIn("eve"), b.signIn("joe")
	at := "/cameras/" + one.ID.String() + "/marks"
	count := func(p *person, query string) int {
		return len(p.want(200, "GET", "/marks"+query, nil)["marks"].([]any))
	}
	if count(amy, "") != 0 {
		t.Error("marks at first")
	}
	for _, body := range []object{{}, {"at": -1}, {"at": 1, "text": strings.Repeat("x", 201)}, {"at": 1, "by": "eve"}, {"at": 1, "with": []string{one.ID.String()}}, {"at": "x"}} {
		amy.refused(422, "invalid", "POST", at, body)
	}
	amy.refused(403, "forbidden", "POST", at, object{"at": 1, "with": []string{media.CameraID{9}.String()}}) // as if it were there
	m := bob.want(201, "POST", at, object{"at": 5000, "text": "的士 🚕"})
	if m["by"] != "bob" || m["text"] != "的士 🚕" || m["at"] != 5000.0 || m["cameras"].([]any)[0] != one.ID.String() {
		t.Errorf("%v", m)
	}
	bob.refused(403, "forbidden", "POST", at, object{"at": 6000, "with": []string{two.ID.String()}})
	both := amy.want(201, "POST", at, object{"at": 6000, "with": []string{two.ID.String()}})
	if count(amy, "") != 2 || count(bob, "") != 1 || count(eve, "") != 0 {
		t.Error("marks are shown by other rights than those of the footage")
	}
	if count(amy, "?from=5001") != 1 || count(amy, "?to=5000") != 0 || count(amy, "?from=5000&to=5001") != 1 {
		t.Error("not those of the time that was asked for")
	}
	bob.refused(403, "forbidden", "DELETE", "/marks/"+both["id"].(string), nil) // it is his camera, but not only
	eve.refused(403, "forbidden", "DELETE", "/marks/"+m["id"].(string), nil)
	amy.refused(404, "not-found", "POST", "/marks/"+m["id"].(string)+"/restore", nil)
	if v := joe.refused(403, "mark-of-another", "DELETE", "/marks/"+m["id"].(string), nil); !strings.Contains(v["detail"].(string), "bob put it") {
		t.Errorf("%v", v)
	}
	amy.want(204, "DELETE", "/marks/"+m["id"].(string), nil)
	joe.refused(403, "mark-of-another", "POST", "/marks/"+m["id"].(string)+"/restore", nil)
	amy.refused(404, "not-found", "DELETE", "/marks/"+m["id"].(string), nil)
	amy.refused(404, "not-found", "DELETE", "/marks/"+strings.Repeat("0", 26), nil)
	if count(amy, "") != 1 {
		t.Error("it is still there")
	}
	back := bob.want(200, "POST", "/marks/"+m["id"].(string)+"/restore", nil)
	if back["by"] != "bob" || back["put"] != m["put"] || count(bob, "") != 1 {
		t.Errorf("not as it was: %v", back)
	}
	if got := b.recorded("access"); !slices.ContainsFunc(got, func(r audit.Record) bool { return r.Actor.Name == "joe" && r.Reason == "of bob" }) {
		t.Errorf("refused and not recorded: %+v", got)
	}
	if got := b.recorded(markRemove); len(got) != 1 || got[0].Actor.Name != "amy" || got[0].Camera != one.ID || got[0].Detail["text"] != "的士 🚕" || got[0].Detail["at"] != time.UnixMilli(5000).UTC().Format(time.RFC3339Nano) {
		t.Errorf("recorded %+v", got)
	}
	if len(b.recorded(markPut)) != 2 || len(b.recorded(markRestore)) != 1 {
		t.Error("not recorded")
	}
}
