package web

import (
	"bytes"
	"context"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"vigil/internal/access"
	"vigil/internal/audit"
	"vigil/internal/media"
	"vigil/internal/settings"
	"vigil/internal/text"
	"vigil/internal/worker/wire"
)

type noteBody struct {
	Code string            `json:"code"`
	Args map[string]string `json:"args,omitempty"`
	Text string            `json:"text"`
}

// note says a fact in the caller's language; keys are <kind>.<code>. A camera
// departs from the standard in more ways than there are sentences: the code has to do.
func note(lang text.Lang, kind string, code string, args map[string]string) *noteBody {
	if code == "" {
		return nil
	}
	code = strings.TrimPrefix(code, kind+".")
	key := kind + "." + code
	if !text.Has(key) && kind == "camera" {
		return &noteBody{code, args, text.Get(lang, "camera.other", map[string]string{"code": code})}
	}
	return &noteBody{code, args, text.Get(lang, key, args)}
}

type cameraBody struct {
	ID            media.CameraID `json:"id"`
	Name          string         `json:"name"`
	Removed       bool           `json:"removed"`
	State         string         `json:"state"`
	Why           *noteBody      `json:"why,omitempty"`
	Recording     recordingBody  `json:"recording"`
	Streams       []streamBody   `json:"streams"`
	Link          wire.Link      `json:"link"`
	Pin           string         `json:"pin,omitempty"`
	CA            string         `json:"ca,omitempty"`
	Transport     wire.Transport `json:"transport"`
	User          string         `json:"user"`
	HasPassword   bool           `json:"hasPassword"`
	Audio         bool           `json:"audio"`
	LegacyMD5     bool           `json:"legacyMD5"`
	BasicAuth     bool           `json:"basicAuth"`
	RetentionDays int            `json:"retentionDays"`
	RetentionOwn  bool           `json:"retentionOwn"`
	Demo          bool           `json:"demo"`
	Oldest        *int64         `json:"oldest,omitempty"`
}

type recordingBody struct {
	On      bool      `json:"on"`
	Now     bool      `json:"now"`
	ArmedBy string    `json:"armedBy,omitempty"`
	Since   *int64    `json:"since,omitempty"`
	Why     *noteBody `json:"why,omitempty"`
}

type streamBody struct {
	ID            media.StreamID `json:"id"`
	Kind          settings.Kind  `json:"kind"`
	URL           string         `json:"url"`
	State         string         `json:"state"`
	Why           *noteBody      `json:"why,omitempty"`
	Notes         []*noteBody    `json:"notes,omitempty"`
	Recorded      bool           `json:"recorded"`
	MediaType     string         `json:"mediaType,omitempty"`
	Tracks        []trackBody    `json:"tracks"`
	BitsPerSecond int64          `json:"bitsPerSecond,omitempty"`
	Lost          uint64         `json:"lost,omitempty"`
}

type trackBody struct {
	Number     uint8       `json:"number"`
	Codec      media.Codec `json:"codec"`
	Codecs     string      `json:"codecs,omitempty"`
	Width      int         `json:"width,omitempty"`
	Height     int         `json:"height,omitempty"`
	SampleRate int         `json:"sampleRate,omitempty"`
	Channels   int         `json:"channels,omitempty"`
}

func tracksBody(list []media.Track) []trackBody {
	out := []trackBody{}
	for _, t := range list {
		out = append(out, trackBody{t.Number, t.Codec, t.Codecs, t.Width, t.Height, t.SampleRate, t.Channels})
	}
	return out
}

// cameraBody is what a caller may see of a camera: never its password, and
// how to reach it only for who may configure it.
//
//vigil:clause 5.2.4.1
func (c *call) cameraBody(doc *settings.Doc, cam *settings.Camera, recording map[media.StreamID]bool) cameraBody {
	b := cameraBody{
		ID: cam.ID, Name: cam.Name, Removed: cam.Gone(), State: "off", Link: cam.Link, Transport: cam.Transport,
		Audio: cam.Audio, LegacyMD5: cam.LegacyMD5, BasicAuth: cam.BasicAuth, RetentionDays: doc.Retention(cam), RetentionOwn: cam.RetentionDays != nil, Demo: cam.Demo, Streams: []streamBody{},
		Recording: recordingBody{On: cam.Recording.On, ArmedBy: cam.Recording.By, Since: some(cam.Recording.Since)},
	}
	configure := c.may(access.Configure, cam.ID)
	if configure {
		b.Pin, b.CA, b.User, b.HasPassword = hex.EncodeToString(cam.Pin), cam.CA, cam.User, !cam.Password.IsZero()
	}
	if !cam.Recording.On {
		b.Recording.ArmedBy = ""
	}
	for i := range cam.Streams {
		s := &cam.Streams[i]
		st := c.Cameras.State(s.ID)
		x := streamBody{ID: s.ID, Kind: s.Kind, State: string(st.State), Recorded: s.Recorded, Tracks: tracksBody(st.Tracks), BitsPerSecond: st.BitsPerSecond, Lost: st.Lost}
		if configure {
			x.URL = s.URL
		}
		if st.Off || cam.Gone() {
			x.State = "off"
		} else {
			x.Why = note(c.lang, "camera", st.Why.Code, st.Why.Args)
			for _, n := range st.Notes {
				x.Notes = append(x.Notes, note(c.lang, "camera", n.Code, n.Args))
			}
		}
		if len(st.Tracks) > 0 {
			x.MediaType = mediaType(playable(st.Tracks))
		}
		if recording[s.ID] {
			b.Recording.Now = true
		} else if cam.Recording.On && s.Recorded && b.Recording.Why == nil {
			b.Recording.Why = x.Why
		}
		if i == 0 {
			b.State, b.Why = x.State, x.Why
		}
		if t := c.Footage.Oldest(s.ID); !t.IsZero() && (b.Oldest == nil || ms(t) < *b.Oldest) {
			b.Oldest = some(t)
		}
		b.Streams = append(b.Streams, x)
	}
	return b
}

func (c *call) listCameras() error {
	doc, recording := c.Settings.Get(), c.Machine.Recording()
	list := []cameraBody{}
	for i := range doc.Cameras {
		if cam := &doc.Cameras[i]; c.may(access.See, cam.ID) {
			list = append(list, c.cameraBody(doc, cam, recording))
		}
	}
	slices.SortStableFunc(list, func(a, b cameraBody) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return c.answer(http.StatusOK, map[string]any{"cameras": list})
}

func (c *call) getCamera() error { return c.showCamera(http.StatusOK, c.camera.ID) }

func (c *call) showCamera(status int, id media.CameraID) error {
	doc := c.Settings.Get()
	cam := doc.Camera(id)
	if cam == nil {
		return notFound()
	}
	return c.answer(status, c.cameraBody(doc, cam, c.Machine.Recording()))
}

// A reach is how to get to a camera, as entered. Pointers tell left out from
// empty.
type reach struct {
	Link      wire.Link      `json:"link"`
	Pin       string         `json:"pin"`
	CA        string         `json:"ca"`
	Transport wire.Transport `json:"transport"`
	User      string         `json:"user"`
	Password  *string        `json:"password"`
	LegacyMD5 bool           `json:"legacyMD5"`
	BasicAuth bool           `json:"basicAuth"`
}

type cameraInput struct {
	reach
	Name    string `json:"name"`
	Streams []struct {
		Kind     settings.Kind `json:"kind"`
		URL      string        `json:"url"`
		Recorded *bool         `json:"recorded"`
	} `json:"streams"`
	Audio         bool  `json:"audio"`
	Recording     *bool `json:"recording"`
	RetentionDays *int  `json:"retentionDays"`
}

// fill puts what was entered into a camera, with the defaults for what was
// left out.
func (in *reach) fill(cam *settings.Camera, address string) error {
	cam.Link, cam.CA, cam.Transport, cam.User = in.Link, in.CA, in.Transport, in.User
	cam.LegacyMD5, cam.BasicAuth = in.LegacyMD5, in.BasicAuth
	if cam.Link == "" {
		cam.Link = wire.LinkPin // never less than asked for: TLS without a choice is the pin
		if strings.HasPrefix(address, "rtsp://") {
			cam.Link = wire.LinkPlain
		}
	}
	if cam.Transport == "" {
		cam.Transport = wire.Auto
	}
	cam.Pin = nil
	if in.Pin != "" {
		pin, err := hex.DecodeString(in.Pin)
		if err != nil || len(pin) != 32 {
			return mistake("/pin", "wrong-type")
		}
		cam.Pin = pin
	}
	return nil
}

// password keeps the camera's password where none was entered, but only for
// the same hosts and user: it is not sent to another machine unasked.
//
//vigil:clause 5.2.4.1
func (in *reach) password(cam, old *settings.Camera) error {
	switch {
	case in.Password != nil:
		cam.Password = wire.NewSecret(*in.Password)
	case old == nil || old.Password.IsZero():
		cam.Password = wire.Secret{}
	case !cam.Reach().Within(old.Reach()):
		return mistake("/password", "password-needed")
	default:
		cam.Password = old.Password
	}
	return nil
}

func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// camera builds the camera that was entered; old is the one it replaces.
func (in *cameraInput) camera(c *call, old *settings.Camera) (cam settings.Camera, err error) {
	now := time.Now()
	on := true
	if old != nil {
		cam = *old
		on = old.Recording.On
	} else {
		cam.ID, cam.Added = media.CameraID(media.NewID[struct{}]()), now
	}
	cam.Name, cam.Audio, cam.RetentionDays = strings.TrimSpace(in.Name), in.Audio, in.RetentionDays
	cam.Streams = nil
	for _, s := range in.Streams {
		x := settings.Stream{Kind: s.Kind, URL: strings.TrimSpace(s.URL), Recorded: s.Kind == settings.Main}
		if s.Recorded != nil {
			x.Recorded = *s.Recorded
		}
		x.ID = media.StreamID(media.NewID[struct{}]())
		if old != nil {
			for _, o := range old.Streams {
				if o.Kind == s.Kind {
					x.ID = o.ID // another device: the footage stays in one line
				}
			}
		}
		cam.Streams = append(cam.Streams, x)
	}
	first := ""
	if len(cam.Streams) > 0 {
		first = cam.Streams[0].URL
	}
	if err := in.fill(&cam, first); err != nil {
		return cam, err
	}
	if err := in.password(&cam, old); err != nil {
		return cam, err
	}
	if old != nil && cam.Demo {
		cam.Demo = slices.EqualFunc(cam.Streams, old.Streams, func(a, b settings.Stream) bool { return a.URL == b.URL }) // another device took its place
	}
	if in.Recording != nil {
		on = *in.Recording
	}
	if old == nil || on != old.Recording.On {
		cam.Recording = settings.Recording{On: on, By: c.who().Name, Since: now.UTC().Round(0)}
	}
	return cam, nil
}

// unused refuses an address that another camera has, and names it.
func unused(d *settings.Doc, cam *settings.Camera) error {
	for _, o := range d.Cameras {
		if o.ID == cam.ID || o.Gone() {
			continue
		}
		for _, s := range o.Streams {
			for _, x := range cam.Streams {
				if s.URL == x.URL {
					return say(http.StatusConflict, "camera-exists", "name", o.Name)
				}
			}
		}
	}
	return nil
}

func (c *call) addCamera() error {
	var in cameraInput
	if err := c.body(&in); err != nil {
		return err
	}
	cam, err := in.camera(c, nil)
	if err != nil {
		return err
	}
	at := ""
	_, _, err = c.Settings.Change(c.who(), func(d *settings.Doc) error {
		if err := unused(d, &cam); err != nil {
			return err
		}
		at = "/cameras/" + strconv.Itoa(len(d.Cameras))
		d.Cameras = append(d.Cameras, cam)
		return nil
	})
	if err != nil {
		return under(err, at)
	}
	return c.showCamera(http.StatusCreated, cam.ID)
}

// addDemo adds the demonstration camera, which the recorder serves itself.
func (c *call) addDemo() error {
	address, err := c.Demo()
	if err != nil {
		return err
	}
	stream := func(kind settings.Kind, path string) settings.Stream {
		return settings.Stream{ID: media.StreamID(media.NewID[struct{}]()), Kind: kind, URL: "rtsp://" + address + path, Recorded: kind == settings.Main}
	}
	now := time.Now()
	cam := settings.Camera{
		ID: media.CameraID(media.NewID[struct{}]()), Name: text.Get(c.lang, "demo.name", nil), Demo: true, Link: wire.LinkPlain, Transport: wire.TCP, Added: now,
		Streams:   []settings.Stream{stream(settings.Main, "/clock"), stream(settings.Second, "/sub")},
		Recording: settings.Recording{On: true, By: c.who().Name, Since: now.UTC().Round(0)},
	}
	at := ""
	_, _, err = c.Settings.Change(c.who(), func(d *settings.Doc) error {
		if is := d.Demo(); is != nil {
			return say(http.StatusConflict, "demo-exists", "name", is.Name)
		}
		used := func(name string) bool {
			return slices.ContainsFunc(d.Cameras, func(o settings.Camera) bool { return !o.Gone() && strings.EqualFold(o.Name, name) })
		}
		for n, name := 2, cam.Name; used(cam.Name); n++ {
			cam.Name = name + " " + strconv.Itoa(n)
		}
		at = "/cameras/" + strconv.Itoa(len(d.Cameras))
		d.Cameras = append(d.Cameras, cam)
		return nil
	})
	if err != nil {
		return under(err, at)
	}
	return c.showCamera(http.StatusCreated, cam.ID)
}

func (c *call) changeCamera() error {
	var in cameraInput
	if err := c.body(&in); err != nil {
		return err
	}
	at := ""
	_, _, err := c.Settings.Change(c.who(), func(d *settings.Doc) error {
		old := d.Camera(c.camera.ID)
		if old == nil || old.Gone() {
			return notFound()
		}
		cam, err := in.camera(c, old)
		if err != nil {
			return err
		}
		if err := unused(d, &cam); err != nil {
			return err
		}
		for i := range d.Cameras {
			if d.Cameras[i].ID == cam.ID {
				at = "/cameras/" + strconv.Itoa(i)
			}
		}
		*old = cam
		return nil
	})
	if err != nil {
		return under(err, at)
	}
	return c.showCamera(http.StatusOK, c.camera.ID)
}

func (c *call) removeCamera() error {
	_, _, err := c.Settings.Change(c.who(), func(d *settings.Doc) error {
		cam := d.Camera(c.camera.ID)
		if cam == nil || cam.Gone() {
			return notFound()
		}
		cam.Remove(c.who().Name, time.Now().UTC().Round(0))
		return nil
	})
	if err != nil {
		return err
	}
	return c.nothing()
}

// setRecording arms or disarms a camera; the account's name stands beside
// every file that is written until somebody else switches it.
//
//vigil:clause 5.2.7.2
func (c *call) setRecording() error {
	var in struct {
		On *bool `json:"on"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	if in.On == nil {
		return mistake("/on", "required")
	}
	_, _, err := c.Settings.Change(c.who(), func(d *settings.Doc) error {
		cam := d.Camera(c.camera.ID)
		if cam == nil || cam.Gone() {
			return notFound()
		}
		if cam.Recording.On != *in.On {
			cam.Recording = settings.Recording{On: *in.On, By: c.who().Name, Since: time.Now().UTC().Round(0)}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.showCamera(http.StatusOK, c.camera.ID)
}

// probeTime bounds a try of a stream, probeWidth the picture of it, in pixels.
const (
	probeTime  = 25 * time.Second
	probeWidth = 320
)

// noPin is no certificate's digest: with it the handshake ends at the
// certificate, which is what is wanted before there is a pin.
var noPin = make([]byte, 32)

// probeCamera tries a stream. Without a pin nothing secret is sent: the
// connection ends when the camera has shown its certificate.
//
//vigil:clause 5.3.1.1
func (c *call) probeCamera() error {
	var in struct {
		reach
		Camera string `json:"camera"`
		URL    string `json:"url"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	var old *settings.Camera
	if in.Camera != "" {
		id, err := media.ParseID[struct{}](in.Camera)
		if err == nil {
			old = c.Settings.Get().Camera(media.CameraID(id))
		}
		if old == nil || old.Gone() || !c.may(access.Configure, old.ID) {
			return mistake("/camera", "wrong-type")
		}
	}
	cam := settings.Camera{
		ID: media.CameraID(media.NewID[struct{}]()), Name: "probe",
		Streams: []settings.Stream{{ID: media.StreamID(media.NewID[struct{}]()), Kind: settings.Main, URL: strings.TrimSpace(in.URL), Recorded: true}},
	}
	if err := in.fill(&cam, cam.Streams[0].URL); err != nil {
		return err
	}
	if err := in.password(&cam, old); err != nil {
		return err
	}
	if cam.Link == wire.LinkPin && len(cam.Pin) == 0 {
		cam.Pin, cam.User, cam.Password = noPin, "", wire.Secret{}
	}
	if err := cam.Check(); err != nil {
		return err
	}
	select {
	case c.probes <- struct{}{}:
		defer func() { <-c.probes }()
	default:
		p := say(http.StatusServiceUnavailable, "busy")
		p.retry = 5
		return p
	}
	c.camera = old
	if err := c.record("camera.probe", host(cam.Main().URL), audit.OK, "", nil); err != nil { // who makes the recorder knock at a door
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), probeTime)
	defer cancel()
	got, err := c.Prober.Probe(ctx, cam.Spec(cam.Main()))
	if err != nil {
		return err
	}
	type certificate struct {
		SHA256    string   `json:"sha256"`
		Subject   string   `json:"subject"`
		Issuer    string   `json:"issuer"`
		Names     []string `json:"names,omitempty"`
		NotBefore int64    `json:"notBefore"`
		NotAfter  int64    `json:"notAfter"`
	}
	out := struct {
		Fault       *noteBody    `json:"fault,omitempty"`
		Tracks      []trackBody  `json:"tracks"`
		FPS         float64      `json:"fps,omitempty"`
		BitRate     int64        `json:"bitsPerSecond,omitempty"`
		Notes       []*noteBody  `json:"notes"`
		Picture     []byte       `json:"picture,omitempty"`
		MediaType   string       `json:"mediaType,omitempty"`
		Certificate *certificate `json:"certificate,omitempty"`
	}{Tracks: tracksBody(got.Tracks), FPS: got.FPS, BitRate: got.BitRate, Notes: []*noteBody{}}
	if got.Fault != nil {
		code := got.Fault.Code
		if code == "tls-pin-mismatch" && bytes.Equal(cam.Pin, noPin) {
			code = "tls-unknown-authority" // nothing was trusted before: a question and no alarm
		}
		out.Fault = note(c.lang, "camera", code, got.Fault.Args)
	}
	for _, n := range got.Notes {
		if x := note(c.lang, "camera", n.Code, n.Args); x != nil {
			out.Notes = append(out.Notes, x)
		}
	}
	if len(got.Tracks) > 0 {
		out.MediaType = mediaType(playable(got.Tracks))
	}
	if len(got.Tracks) > 0 && len(got.Picture) > 0 {
		out.Picture, _ = c.Pictures.JPEG(ctx, cam.Main().ID, got.Tracks[0], got.Picture, probeWidth) // without a decoder: none
	}
	if x := got.Certificate; x != nil {
		out.Certificate = &certificate{hex.EncodeToString(x.SHA256), x.Subject, x.Issuer, x.Names, x.NotBefore * 1000, x.NotAfter * 1000}
	}
	return c.answer(http.StatusOK, out)
}
