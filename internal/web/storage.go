package web

import (
	"context"
	"errors"
	"net/http"

	"vigil/internal/actor"
	"vigil/internal/text"
)

// Disks knows where footage goes, and lets that be chosen before there is any.
// The texts of its reasons are those of their codes. Its methods may wait some
// seconds for a disk.
type Disks interface {
	Now() Kept
	Places() []Place          // proposals, one of each disk
	Look(folder string) Place // whether a folder will do; nothing is made
	// Choose takes a folder; again tells that the recorder starts anew for it. What speaks
	// against it is a *text.Failure.
	Choose(ctx context.Context, by actor.Actor, folder string) (again bool, err error)
}

// Kept is where footage goes.
type Kept struct {
	Place
	Chosen bool      // by a person
	Fixed  text.Note // why it cannot be changed; empty: it can
}

// A Place is a folder where footage could go, or why not.
type Place struct {
	Folder            string
	Exists            bool
	Kind              string // of the file system: ext4
	Device, Mount     string // where it is; "" unknown
	Total, Free, Room int64  // bytes; Room for footage
	System            bool   // the disk that has keys and settings too
	Network           bool   // on another machine
	Why               text.Note
}

type placeBody struct {
	Folder  string    `json:"folder"`
	Exists  bool      `json:"exists"`
	Kind    string    `json:"kind,omitempty"`
	Device  string    `json:"device,omitempty"`
	Mount   string    `json:"mount,omitempty"`
	Total   int64     `json:"total"`
	Free    int64     `json:"free"`
	Room    int64     `json:"room"`
	System  bool      `json:"system"`
	Network bool      `json:"network"`
	Why     *noteBody `json:"why,omitempty"`
}

func (c *call) placeBody(p Place) placeBody {
	return placeBody{p.Folder, p.Exists, p.Kind, p.Device, p.Mount, p.Total, p.Free, p.Room, p.System, p.Network, note(c.lang, "storage", p.Why.Code, p.Why.Args)}
}

type storageBody struct {
	Now    placeBody   `json:"now"`
	Chosen bool        `json:"chosen"`
	Fixed  *noteBody   `json:"fixed,omitempty"`
	Places []placeBody `json:"places"`
	Again  bool        `json:"again"`
}

func (c *call) storageBody(again bool) storageBody {
	k := c.Disks.Now()
	b := storageBody{Now: c.placeBody(k.Place), Chosen: k.Chosen, Fixed: note(c.lang, "storage", k.Fixed.Code, k.Fixed.Args), Places: []placeBody{}, Again: again}
	if b.Fixed == nil && !again {
		for _, p := range c.Disks.Places() {
			b.Places = append(b.Places, c.placeBody(p))
		}
	}
	return b
}

func (c *call) getStorage() error { return c.answer(http.StatusOK, c.storageBody(false)) }

// folder reads the name of a folder.
func (c *call) folder() (string, error) {
	var in struct {
		Folder string `json:"folder"`
	}
	if err := c.body(&in); err != nil {
		return "", err
	}
	if in.Folder == "" {
		return "", mistake("/folder", "required")
	}
	return in.Folder, nil
}

// checkFolder says whether a folder will do. It tells an administrator what
// folders there are, as choosing one would.
func (c *call) checkFolder() error {
	name, err := c.folder()
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, c.placeBody(c.Disks.Look(name)))
}

func (c *call) chooseFolder() error {
	name, err := c.folder()
	if err != nil {
		return err
	}
	again, err := c.Disks.Choose(c.r.Context(), c.who(), name)
	var no *text.Failure
	if errors.As(err, &no) {
		p := say(http.StatusConflict, "storage-refused")
		p.args = map[string]string{"why": text.Get(c.lang, no.Code, no.Args)}
		return p
	}
	if err != nil {
		return err
	}
	status := http.StatusOK
	if again {
		status = http.StatusAccepted
	}
	return c.answer(status, c.storageBody(again))
}
