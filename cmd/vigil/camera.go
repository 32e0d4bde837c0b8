package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"vigil/internal/text"
)

type cameraCmd struct {
	List   cameraList   `cmd:"" help:"List the cameras." default:"1"`
	Add    cameraAdd    `cmd:"" help:"Add a camera; it records at once. Its password is read from VIGIL_CAMERA_PASSWORD."`
	Demo   cameraDemo   `cmd:"" help:"Add the demonstration camera, which the recorder serves itself; it records at once."`
	Change cameraChange `cmd:"" help:"Change a camera, or put another device in its place; its footage stays."`
	Test   cameraTest   `cmd:"" help:"Try a stream and show what comes."`
	Record cameraRecord `cmd:"" help:"Switch recording on or off."`
	Remove cameraRemove `cmd:"" help:"Remove a camera; its footage stays until its retention is over."`
}

type note struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

type cameraInfo struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	State     string `json:"state"`
	Removed   bool   `json:"removed"`
	Link      string `json:"link"`
	Why       *note  `json:"why,omitempty"`
	Recording struct {
		On      bool   `json:"on"`
		Now     bool   `json:"now"`
		ArmedBy string `json:"armedBy,omitempty"`
		Why     *note  `json:"why,omitempty"`
	} `json:"recording"`
	Streams []struct {
		ID            string  `json:"id"`
		Kind          string  `json:"kind"`
		URL           string  `json:"url"`
		State         string  `json:"state"`
		Recorded      bool    `json:"recorded"`
		BitsPerSecond int64   `json:"bitsPerSecond,omitempty"`
		Lost          int64   `json:"lost,omitempty"`
		Notes         []note  `json:"notes,omitempty"`
		Tracks        []track `json:"tracks"`
	} `json:"streams"`
}

type track struct {
	Codec      string `json:"codec"`
	Width      int    `json:"width,omitempty"`
	Height     int    `json:"height,omitempty"`
	SampleRate int    `json:"sampleRate,omitempty"`
}

func (t track) String() string {
	switch {
	case t.Width != 0:
		return fmt.Sprintf("%s %dx%d", t.Codec, t.Width, t.Height)
	case t.SampleRate != 0:
		return fmt.Sprintf("%s %d Hz", t.Codec, t.SampleRate)
	}
	return t.Codec
}

func (cl *client) cameras(ctx context.Context) ([]cameraInfo, error) {
	var list struct{ Cameras []cameraInfo }
	err := cl.call(ctx, "GET", "/cameras", nil, nil, &list)
	return list.Cameras, err
}

// camera finds a camera by its id or its name.
func (cl *client) camera(ctx context.Context, name string) (cameraInfo, error) {
	all, err := cl.cameras(ctx)
	if err != nil {
		return cameraInfo{}, err
	}
	var names []string
	for _, c := range all {
		if c.ID == name || strings.EqualFold(c.Name, name) {
			return c, nil
		}
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return cameraInfo{}, text.Fail(nil, "cli.no-cameras")
	}
	return cameraInfo{}, text.Fail(nil, "cli.no-camera", "name", name, "names", strings.Join(names, ", "))
}

type cameraList struct{}

func (cameraList) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	all, err := cl.cameras(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(all)
	}
	w := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	var notes []string
	links := map[string]string{"plain": c.say("cli.link-plain"), "rtsps-insecure": c.say("cli.link-insecure")}
	for _, cam := range all {
		state := cam.State
		switch {
		case cam.Removed:
			state = "removed"
		case cam.Recording.Now:
			state = "recording"
		case cam.Recording.Why != nil:
			state += " (" + cam.Recording.Why.Text + ")"
		case cam.Why != nil:
			state += " (" + cam.Why.Text + ")"
		}
		address, tracks := "", ""
		if len(cam.Streams) > 0 {
			address = cam.Streams[0].URL
			tracks = fmt.Sprint(cam.Streams[0].Tracks)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", cam.ID, cam.Name, state, address, cmp.Or(links[cam.Link], cam.Link), tracks)
		for _, s := range cam.Streams {
			for _, n := range s.Notes {
				notes = append(notes, fmt.Sprintf("%s: %s", cam.Name, n.Text))
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, n := range notes { // behind the table: a line of its own would end the columns
		fmt.Fprintln(c.Out, n)
	}
	return nil
}

// An address is the part of the camera commands that says where it is.
type address struct {
	URL       string `required:"" help:"Address of the stream: rtsps:// or rtsp://."`
	User      string `help:"User on the camera."`
	Link      string `help:"How the link is secured: rtsps-ca, rtsps-pin, rtsps-insecure or plain. An unencrypted link must be named." enum:"rtsps-ca,rtsps-pin,rtsps-insecure,plain," default:""`
	Pin       string `help:"SHA-256 of the camera's certificate, for rtsps-pin; vigil camera test shows it."`
	CA        string `help:"File with the authority's certificate (PEM), for rtsps-ca." type:"existingfile"`
	Transport string `help:"auto, tcp or udp." enum:"auto,tcp,udp" default:"auto"`
	MD5       bool   `name:"legacy-md5" help:"Accept digest authentication by MD5, which older cameras need." default:"true" negatable:""`
	Basic     bool   `name:"basic-auth" help:"Send the password as it is, without TLS too."`
}

func (a address) input() (map[string]any, error) {
	in := map[string]any{"transport": a.Transport, "legacyMD5": a.MD5, "basicAuth": a.Basic, "user": a.User}
	if p, ok := os.LookupEnv("VIGIL_CAMERA_PASSWORD"); ok {
		in["password"] = p
	}
	link := a.Link
	if link == "" {
		if plainly(a.URL) {
			return nil, text.Fail(nil, "cli.plain-link")
		}
		link = "rtsps-pin"
		if a.CA != "" && a.Pin == "" {
			link = "rtsps-ca"
		}
	}
	in["link"] = link
	if a.Pin != "" {
		in["pin"] = fingerprint(a.Pin)
	}
	if a.CA != "" {
		pem, err := os.ReadFile(a.CA)
		if err != nil {
			return nil, err
		}
		in["ca"] = string(pem)
	}
	return in, nil
}

type cameraAdd struct {
	Name   string `required:"" help:"Its name, for people."`
	Second string `help:"Address of a second, smaller stream."`
	Audio  bool   `help:"Record sound."`
	Off    bool   `help:"Do not record yet."`
	address
}

func (a cameraAdd) Run(ctx context.Context, c *cli) error {
	in, err := a.input()
	if err != nil {
		return err
	}
	streams := []map[string]any{{"kind": "main", "url": a.URL}}
	if a.Second != "" {
		streams = append(streams, map[string]any{"kind": "second", "url": a.Second})
	}
	in["name"], in["streams"], in["audio"], in["recording"] = a.Name, streams, a.Audio, !a.Off
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	var cam cameraInfo
	if err := cl.call(ctx, "POST", "/cameras", nil, in, &cam); err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(cam)
	}
	fmt.Fprintln(c.Out, cam.ID, cam.Name)
	return nil
}

type cameraDemo struct{}

func (cameraDemo) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	var cam cameraInfo
	if err := cl.call(ctx, "POST", "/cameras/demo", nil, nil, &cam); err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(cam)
	}
	fmt.Fprintln(c.Out, cam.ID, cam.Name)
	return nil
}

// cameraChange has nil for what stays as it is.
type cameraChange struct {
	Camera    string  `arg:"" help:"Name or id."`
	Name      *string `help:"Its new name."`
	URL       *string `help:"Address of the stream. Another host or user needs VIGIL_CAMERA_PASSWORD again."`
	Second    *string `help:"Address of the second stream; empty: none."`
	User      *string `help:"User on the camera."`
	Link      *string `help:"How the link is secured: rtsps-ca, rtsps-pin, rtsps-insecure or plain." enum:"rtsps-ca,rtsps-pin,rtsps-insecure,plain"`
	Pin       *string `help:"SHA-256 of the camera's certificate, for rtsps-pin; vigil camera test shows it."`
	CA        *string `help:"File with the authority's certificate (PEM), for rtsps-ca." type:"existingfile"`
	Transport *string `help:"auto, tcp or udp." enum:"auto,tcp,udp"`
	Audio     *bool   `help:"Record sound." negatable:""`
	MD5       *bool   `name:"legacy-md5" help:"Accept digest authentication by MD5, which older cameras need." negatable:""`
	Basic     *bool   `name:"basic-auth" help:"Send the password as it is, without TLS too." negatable:""`
	Retention *int    `name:"retention-days" help:"How long its footage is kept; 0: as long as there is space."`
}

func (ch cameraChange) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	cam, err := cl.camera(ctx, ch.Camera)
	if err != nil {
		return err
	}
	place := "/cameras/" + url.PathEscape(cam.ID)
	var now map[string]any
	if err := cl.call(ctx, "GET", place, nil, nil, &now); err != nil {
		return err
	}
	in := map[string]any{}
	for _, k := range []string{"name", "link", "pin", "ca", "transport", "user", "audio", "legacyMD5", "basicAuth", "retentionDays"} {
		if v, ok := now[k]; ok {
			in[k] = v
		}
	}
	if own, _ := now["retentionOwn"].(bool); !own {
		delete(in, "retentionDays") // it goes on following that of all cameras
	}
	streams, err := ch.streams(cam)
	if err != nil {
		return err
	}
	in["streams"] = streams
	if ch.CA != nil {
		pem, err := os.ReadFile(*ch.CA)
		if err != nil {
			return err
		}
		in["ca"] = string(pem)
	}
	if ch.Pin != nil {
		in["pin"] = fingerprint(*ch.Pin)
	}
	set(in, "name", ch.Name)
	set(in, "user", ch.User)
	set(in, "link", ch.Link)
	set(in, "transport", ch.Transport)
	set(in, "audio", ch.Audio)
	set(in, "legacyMD5", ch.MD5)
	set(in, "basicAuth", ch.Basic)
	set(in, "retentionDays", ch.Retention)
	if p, ok := os.LookupEnv("VIGIL_CAMERA_PASSWORD"); ok {
		in["password"] = p
	}
	if in["link"] != "rtsps-pin" {
		delete(in, "pin")
	}
	if in["link"] != "rtsps-ca" {
		delete(in, "ca")
	}
	if err := cl.call(ctx, "PUT", place, nil, in, &cam); err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(cam)
	}
	fmt.Fprintln(c.Out, cam.ID, cam.Name)
	return nil
}

// streams are those that the camera has, with the new addresses.
func (ch cameraChange) streams(cam cameraInfo) ([]map[string]any, error) {
	var list []map[string]any
	for _, s := range cam.Streams {
		switch {
		case s.Kind == "main" && ch.URL != nil:
			if ch.Link == nil && plainly(*ch.URL) && cam.Link != "plain" {
				return nil, text.Fail(nil, "cli.plain-link")
			}
			s.URL = *ch.URL
		case s.Kind == "second" && ch.Second != nil:
			continue
		}
		list = append(list, map[string]any{"kind": s.Kind, "url": s.URL, "recorded": s.Recorded})
	}
	if ch.Second != nil && *ch.Second != "" {
		list = append(list, map[string]any{"kind": "second", "url": *ch.Second})
	}
	return list, nil
}

func set[T any](in map[string]any, key string, value *T) {
	if value != nil {
		in[key] = *value
	}
}

// plainly tells whether an address is one without TLS.
func plainly(address string) bool { return strings.HasPrefix(strings.ToLower(address), "rtsp://") }

// fingerprint is a fingerprint as the recorder writes it.
func fingerprint(s string) string { return strings.ToLower(strings.ReplaceAll(s, ":", "")) }

type cameraTest struct{ address }

func (t cameraTest) Run(ctx context.Context, c *cli) error {
	in, err := t.input()
	if err != nil {
		return err
	}
	in["url"] = t.URL
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	var found struct {
		Fault       *note   `json:"fault,omitempty"`
		Tracks      []track `json:"tracks"`
		FPS         float64 `json:"fps,omitempty"`
		BitRate     int64   `json:"bitsPerSecond,omitempty"`
		Notes       []note  `json:"notes"`
		Certificate *struct {
			SHA256  string `json:"sha256"`
			Subject string `json:"subject"`
			Issuer  string `json:"issuer"`
		} `json:"certificate,omitempty"`
	}
	if err := cl.call(ctx, "POST", "/cameras/probe", nil, in, &found); err != nil {
		return err
	}
	if c.JSON {
		if err := c.printJSON(found); err != nil {
			return err
		}
	} else {
		for _, t := range found.Tracks {
			fmt.Fprintln(c.Out, t)
		}
		if found.BitRate > 0 {
			fmt.Fprintln(c.Out, c.say("cli.rates", "fps", strconv.FormatFloat(found.FPS, 'f', 1, 64), "rate", strconv.FormatFloat(float64(found.BitRate)/1e6, 'f', 1, 64)))
		}
		for _, n := range found.Notes {
			fmt.Fprintln(c.Out, n.Text)
		}
		if found.Certificate != nil {
			fmt.Fprintf(c.Out, "%s\n  %s\n", c.say("cli.certificate", "sha256", found.Certificate.SHA256), c.say("cli.issued", "subject", found.Certificate.Subject, "issuer", found.Certificate.Issuer))
		}
	}
	if found.Certificate != nil && in["link"] == "rtsps-pin" && t.Pin == "" { // as far as it goes before somebody trusts it
		return text.Fail(nil, "cli.pin", "sha256", found.Certificate.SHA256)
	}
	if found.Fault != nil {
		return errors.New(found.Fault.Text)
	}
	return nil
}

type cameraRecord struct {
	Camera string `arg:"" help:"Name or id."`
	State  string `arg:"" enum:"on,off" help:"on or off."`
}

func (r cameraRecord) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	cam, err := cl.camera(ctx, r.Camera)
	if err != nil {
		return err
	}
	return cl.call(ctx, "PUT", "/cameras/"+url.PathEscape(cam.ID)+"/recording", nil, map[string]bool{"on": r.State == "on"}, nil)
}

type cameraRemove struct {
	Camera string `arg:"" help:"Name or id."`
}

func (r cameraRemove) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	cam, err := cl.camera(ctx, r.Camera)
	if err != nil {
		return err
	}
	return cl.call(ctx, "DELETE", "/cameras/"+url.PathEscape(cam.ID), nil, nil, nil)
}
