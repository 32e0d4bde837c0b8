package access

import (
	"errors"
	"slices"
	"testing"

	"vigil/internal/actor"
	"vigil/internal/media"
)

var (
	one = media.CameraID{1}
	two = media.CameraID{2}
)

// The whole matrix of roles and actions; the wanted half is written out here
// a second time on purpose.
//
//vigil:clause 5.4.3.1
func TestMatrix(t *testing.T) {
	want := map[Role]string{
		Administrator: "see live playback export record configure acknowledge audit accounts",
		Operator:      "see live playback export record acknowledge",
		Viewer:        "see live",
		Auditor:       "see audit",
		"":            "",
		"root":        "",
	}
	for role, list := range want {
		allowed := map[Action]bool{}
		for _, a := range splitActions(list) {
			allowed[a] = true
		}
		s := Subject{Actor: actor.Actor{Kind: actor.Person, Name: "amy"}, Role: role}
		for _, a := range append(slices.Clone(actions), Console, "", "delete-everything") {
			for _, camera := range []media.CameraID{{}, one} {
				err := Allow(s, Right{Action: a, Camera: camera})
				if allowed[a] && err != nil || !allowed[a] && !errors.Is(err, ErrDenied) {
					t.Errorf("%q %q %v: %v", role, a, camera, err)
				}
			}
		}
		if got := Rights(s); len(got) != len(allowed) {
			t.Errorf("%q: rights %v", role, got)
		}
	}
}

func splitActions(s string) (list []Action) {
	for len(s) > 0 {
		n := len(s)
		for i, c := range s {
			if c == ' ' {
				n = i
				break
			}
		}
		list, s = append(list, Action(s[:n])), s[min(n+1, len(s)):]
	}
	return list
}

func TestWho(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Subject
		r    Right
		want error
	}{
		{"nobody, public", Subject{Actor: actor.Actor{Kind: actor.Nobody}}, Right{Action: Public}, nil},
		{"nobody, self", Subject{Actor: actor.Actor{Kind: actor.Nobody}}, Right{Action: Self}, ErrNobody},
		{"nobody with a role", Subject{Actor: actor.Actor{Kind: actor.Nobody}, Role: Administrator}, Right{Action: Live, Camera: one}, ErrNobody},
		{"zero subject", Subject{}, Right{Action: See, Camera: one}, ErrNobody},
		{"system is no caller", Subject{Actor: actor.Of("recorder", "amy")}, Right{Action: See, Camera: one}, ErrNobody},
		{"console", Subject{Actor: actor.Actor{Kind: actor.Console}}, Right{Action: Console}, nil},
		{"console, accounts", Subject{Actor: actor.Actor{Kind: actor.Console}}, Right{Action: Accounts}, nil},
		{"must change, self", person(Administrator, true), Right{Action: Self}, nil},
		{"must change, live", person(Administrator, true), Right{Action: Live, Camera: one}, ErrMustChange},
		{"own camera", person(Operator, false, one), Right{Action: Playback, Camera: one}, nil},
		{"other camera", person(Operator, false, one), Right{Action: Playback, Camera: two}, ErrDenied},
		{"of one's own", person(Operator, false), Right{Action: Playback, Camera: one, Of: "amy"}, nil},
		{"of another", person(Operator, false), Right{Action: Playback, Camera: one, Of: "bob"}, ErrDenied},
		{"of another, administrator", person(Administrator, false), Right{Action: Playback, Camera: one, Of: "bob"}, nil},
		{"of another, of a camera not theirs", person(Administrator, false, two), Right{Action: Playback, Camera: one, Of: "bob"}, ErrDenied},
		{"of another, console", Subject{Actor: actor.Actor{Kind: actor.Console}}, Right{Action: Playback, Camera: one, Of: "bob"}, nil},
		{"one's own and no right", person(Viewer, false), Right{Action: Playback, Camera: one, Of: "amy"}, ErrDenied},
		{"no camera at all", Subject{Actor: actor.Actor{Kind: actor.Person}, Role: Operator, Cameras: []media.CameraID{}}, Right{Action: Live, Camera: one}, ErrDenied},
		{"some cameras, the recorder", person(Administrator, false, one), Right{Action: Configure}, ErrDenied},
		{"some cameras, lists", person(Administrator, false, one), Right{Action: See}, nil},
	} {
		if err := Allow(c.s, c.r); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if got := Rights(person(Viewer, false, one)); !slices.Equal(got, []Action{See, Live}) {
		t.Errorf("rights: %v", got)
	}
}

func person(r Role, must bool, cameras ...media.CameraID) Subject {
	return Subject{Actor: actor.Actor{Kind: actor.Person, Name: "amy"}, Role: r, MustChange: must, Cameras: cameras}
}
