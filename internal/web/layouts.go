package web

import (
	"net/http"

	"vigil/internal/layout"
	"vigil/internal/media"
)

// getLayouts lists the caller's arrangements of live pictures.
func (c *call) getLayouts() error {
	return c.answer(http.StatusOK, whole(c.Layouts.Get(c.person())))
}

// changeLayouts replaces them. It is no change of settings: it concerns nobody
// else, and what is shown is decided where pictures are sent.
func (c *call) changeLayouts() error {
	in := layout.List{Version: -1}
	if err := c.body(&in); err != nil {
		return err
	}
	if in.Version < 0 {
		return mistake("/version", "required")
	}
	now, err := c.Layouts.Put(c.person(), in)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, whole(now))
}

// whole has lists where there is nothing.
func whole(l layout.List) layout.List {
	out := layout.List{Version: l.Version, Layouts: []layout.Layout{}}
	for _, x := range l.Layouts {
		if x.Cameras == nil {
			x.Cameras = []media.CameraID{}
		}
		out.Layouts = append(out.Layouts, x)
	}
	return out
}
