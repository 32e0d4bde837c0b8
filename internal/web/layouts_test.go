package web

import (
	"testing"

	"vigil/internal/media"
)

func TestLayouts(t *testing.T) {
	b := newBench(t)
	b.admin()
	b.accounts(object{"name": "amy", "role": "administrator"}, object{"name": "bob", "role": "viewer"})
	p := b.signIn("amy")
	one := object{"id": media.CameraID{1}.String(), "name": "Yard", "columns": 2, "cameras": []string{media.CameraID{9}.String()}}
	if v := p.want(200, "GET", "/layouts", nil); v["version"] != 0.0 || len(v["layouts"].([]any)) != 0 {
		t.Errorf("at first: %v", v)
	}
	if v := p.want(200, "PUT", "/layouts", object{"version": 0, "layouts": []any{one}}); v["version"] != 1.0 {
		t.Errorf("%v", v)
	}
	p.refused(409, "layouts-changed", "PUT", "/layouts", object{"version": 0, "layouts": []any{}})
	p.refused(422, "invalid", "PUT", "/layouts", object{"layouts": []any{}})
	one["name"] = ""
	p.refused(422, "invalid", "PUT", "/layouts", object{"version": 1, "layouts": []any{one}})
	if v := p.want(200, "GET", "/layouts", nil); v["layouts"].([]any)[0].(object)["name"] != "Yard" {
		t.Errorf("%v", v)
	}
	if v := b.signIn("bob").want(200, "GET", "/layouts", nil); len(v["layouts"].([]any)) != 0 {
		t.Errorf("bob sees amy's: %v", v)
	}
	b.person().refused(401, "signed-out", "GET", "/layouts", nil)
}
