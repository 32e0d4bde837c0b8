// Package access says what somebody may do. Everything that people and
// programs ask of Vigil passes [Allow], whatever way it came, and what no line here
// grants is refused.
//
//	web (page, API, control socket) -> auth: who is it? -> [access]: may they?
package access

import (
	"errors"
	"slices"

	"vigil/internal/actor"
	"vigil/internal/media"
)

// An Action is something that can be asked for.
type Action string

// Actions that stand for who asks, not for what the role is.
const (
	Public  Action = "public"  // anybody: the page itself, set-up, sign-in
	Self    Action = "self"    // anybody signed in, about themselves
	Console Action = "console" // a process of the same user on this machine
)

// Actions that are granted.
const (
	See         Action = "see"         // that a camera exists, and its state
	Live        Action = "live"        // its pictures now
	Playback    Action = "playback"    // its stored pictures
	Export      Action = "export"      // a copy of them
	Record      Action = "record"      // switch recording on and off
	Configure   Action = "configure"   // cameras and settings
	Acknowledge Action = "acknowledge" // alerts
	Audit       Action = "audit"       // read the security event log
	Accounts    Action = "accounts"    // other people's
)

// actions lists what can be granted.
var actions = []Action{See, Live, Playback, Export, Record, Configure, Acknowledge, Audit, Accounts}

// A Right is an action on a camera, or on the recorder as a whole when the
// camera is zero.
type Right struct {
	Action Action
	Camera media.CameraID
	// Of is who made the thing that is to be changed; "": it is nobody's. Besides them only who may
	// configure has the right.
	Of string
}

// A Role is a named set of actions.
type Role string

// The roles. The table is the whole of what they may do.
const (
	Administrator Role = "administrator"
	Operator      Role = "operator"
	Viewer        Role = "viewer"
	Auditor       Role = "auditor"
)

var roles = map[Role][]Action{
	Administrator: actions,
	Operator:      {See, Live, Playback, Export, Record, Acknowledge},
	Viewer:        {See, Live},
	Auditor:       {See, Audit},
}

// Valid tells whether there is such a role.
func (r Role) Valid() bool { return roles[r] != nil }

// A Subject is who asks: an actor and, for a person, what their account says.
type Subject struct {
	Actor      actor.Actor
	Role       Role
	Cameras    []media.CameraID // nil: all; else the role holds for these only
	MustChange bool             // the password, before anything else
}

// Why something is refused.
var (
	ErrNobody     = errors.New("not signed in")
	ErrDenied     = errors.New("not allowed")
	ErrMustChange = errors.New("the password must be changed first")
)

// Allow is the one place where rights are decided. It returns nil, ErrNobody,
// ErrDenied or ErrMustChange.
//
// A process of the same user on this machine may do everything: it could read
// the files. A person may do what the role says, for the cameras of the account; a right
// without a camera concerns the recorder as a whole, and an account for some
// cameras only holds no more of it than seeing and acknowledging.
//
//vigil:clause 5.4.3.1
func Allow(s Subject, r Right) error {
	if r.Action == Public {
		return nil
	}
	switch s.Actor.Kind {
	case actor.Console:
		return nil
	case actor.Person:
	default:
		return ErrNobody
	}
	may := func(a Action) bool { return slices.Contains(roles[s.Role], a) }
	switch {
	case r.Action == Self:
		return nil
	case s.MustChange:
		return ErrMustChange
	case !may(r.Action), r.Of != "" && r.Of != s.Actor.Name && !may(Configure):
		return ErrDenied
	case s.Cameras == nil:
		return nil
	case r.Camera.IsZero():
		if r.Action == See || r.Action == Acknowledge {
			return nil
		}
		return ErrDenied
	case slices.Contains(s.Cameras, r.Camera):
		return nil
	}
	return ErrDenied
}

// Rights lists the actions that a subject may do at all, for the page to know
// what to show. It decides nothing.
func Rights(s Subject) (list []Action) {
	for _, a := range actions {
		ok := Allow(s, Right{Action: a}) == nil
		for _, c := range s.Cameras {
			ok = ok || Allow(s, Right{Action: a, Camera: c}) == nil
		}
		if ok {
			list = append(list, a)
		}
	}
	return list
}
