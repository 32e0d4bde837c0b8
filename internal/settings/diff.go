package settings

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"vigil/internal/actor"
	"vigil/internal/audit"
	"vigil/internal/media"
)

// A change is what one audit record tells: one camera's, or the recorder's.
type change struct {
	action audit.Action
	camera media.CameraID
	object string
	detail map[string]string // JSON pointer: "old -> new"
}

// The actions of this package in the audit log, besides those of audit.
const (
	recordingOn   audit.Action = "recording.on"
	recordingOff  audit.Action = "recording.off"
	cameraRestore audit.Action = "camera.restore" // a removed one is there again
	cameraForget  audit.Action = "camera.forget"  // its last footage is gone
	// What opened a camera is forgotten at once.
	settingsForget audit.Action = "settings.forget"
)

// Bounds of a record, within those of audit.
const (
	maxDetail = 24
	maxValue  = 200
)

func (c change) record(by actor.Actor, at time.Time, result audit.Result, reason string) audit.Record {
	return audit.Record{At: at, Actor: by, Action: c.action, Object: c.object, Camera: c.camera, Result: result, Reason: reason, Detail: c.detail}
}

// records tells what edits are in the words of the audit log, secrets masked.
// Switching recording is a record of its own: it arms.
func records(list []edit, why Cause) (out []change) {
	for i := 0; i < len(list); {
		one := list[i:]
		if n := slices.IndexFunc(one, func(e edit) bool { return e.Camera != list[i].Camera }); n > 0 {
			one = one[:n]
		}
		i += len(one)
		out = append(out, recordsOf(one)...)
	}
	for i := range out {
		for k, v := range why.detail() {
			if out[i].detail == nil {
				out[i].detail = map[string]string{}
			}
			out[i].detail[k] = v
		}
	}
	return out
}

// recordsOf is records for the edits of one camera, or of the recorder.
func recordsOf(list []edit) (out []change) {
	e := list[0]
	armed := func(whole bool, v any) {
		on, _ := get(v, "/on").(bool)
		switch {
		case on:
			out = append(out, change{recordingOn, e.Camera, e.Name, nil})
		case !whole:
			out = append(out, change{recordingOff, e.Camera, e.Name, nil})
		}
	}
	switch e.Act {
	case Added:
		out = append(out, change{audit.CameraAdd, e.Camera, e.Name, details(list)})
		armed(true, get(value(e.To), recordingField))
		return out
	case Restored:
		out = append(out, change{cameraRestore, e.Camera, e.Name, details(list)})
		armed(true, get(value(e.To), recordingField))
		return out
	case Removed:
		return []change{{audit.CameraRemove, e.Camera, e.Name, nil}}
	case Forgotten:
		return []change{{cameraForget, e.Camera, e.Name, nil}}
	}
	if e.Camera.IsZero() {
		return []change{{audit.SettingsChange, e.Camera, "settings", details(list)}}
	}
	if d := details(list); len(d) > 0 {
		out = append(out, change{audit.CameraChange, e.Camera, e.Name, d})
	}
	for _, x := range list {
		if x.Field == recordingField {
			armed(false, value(x.To))
		}
	}
	return out
}

// details are the leaves that differ, without a switch of recording.
func details(list []edit) map[string]string {
	d := map[string]string{}
	for _, e := range list {
		if e.Field == recordingField {
			continue
		}
		if e.Field == passwordField {
			d[e.Field] = "changed"
			continue
		}
		was, is := flat(e.Field, value(e.From)), flat(e.Field, value(e.To))
		for k := range is {
			if was[k] != is[k] {
				d[k] = was[k] + " -> " + is[k]
			}
		}
		for k := range was {
			if _, ok := is[k]; !ok {
				d[k] = was[k] + " -> "
			}
		}
	}
	if len(d) > maxDetail {
		for _, k := range slices.Sorted(maps.Keys(d))[maxDetail:] {
			delete(d, k)
		}
	}
	return d
}

// flat turns a value into its leaves by JSON pointer, without passwords.
func flat(at string, v any) map[string]string {
	out := map[string]string{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			for k, x := range v {
				walk(at+"/"+k, x)
			}
		case []any:
			for i, x := range v {
				walk(at+"/"+strconv.Itoa(i), x)
			}
		default:
			if at != passwordField {
				out[at] = shown(at, v)
			}
		}
	}
	walk(at, v)
	return out
}

// shown is a leaf as people may see it.
func shown(field string, v any) string {
	s := fmt.Sprint(v)
	if strings.HasSuffix(field, "/url") {
		s, _, _ = strings.Cut(s, "?") // some cameras take a token there
	}
	for len(s) > maxValue || !utf8.ValidString(s) {
		s = s[:min(len(s)-1, maxValue)]
	}
	return s
}
