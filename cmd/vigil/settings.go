package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"vigil/internal/text"
)

type settingsCmd struct {
	Changes settingsChanges `cmd:"" help:"List what was changed in the settings, newest first." default:"1"`
	Undo    settingsUndo    `cmd:"" help:"Take one change back, as a new change."`
	Forget  settingsForget  `cmd:"" help:"Forget at once what opened the cameras of a change: old passwords, and of a removed camera its address. That cannot be undone."`
	Export  settingsExport  `cmd:"" help:"Write the settings, with the passwords of the cameras, to a file that a passphrase opens. It is read from VIGIL_PASSPHRASE, else from the standard input."`
	Import  settingsImport  `cmd:"" help:"Show what a file would change, and with --apply change it. The passphrase is read likewise."`
}

type settingsEdit struct {
	Camera string `json:"camera,omitempty"`
	Name   string `json:"name,omitempty"`
	Field  string `json:"field,omitempty"`
	Text   string `json:"text"`
}

func (e settingsEdit) String() string {
	if e.Name != "" {
		return e.Name + ": " + e.Text
	}
	return e.Text
}

type settingsChange struct {
	Version int64 `json:"version"`
	At      int64 `json:"at"`
	By      struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"by"`
	Undoes   int64          `json:"undoes,omitempty"`
	File     *int64         `json:"file,omitempty"`
	UndoneBy int64          `json:"undoneBy,omitempty"`
	Undo     bool           `json:"undo"`
	Secrets  bool           `json:"secrets,omitempty"`
	Edits    []settingsEdit `json:"edits"`
}

func (x settingsChange) print(w io.Writer) {
	for i, e := range x.Edits {
		if i == 0 {
			fmt.Fprintf(w, "%d\t%s\t%s %s\t%s\n", x.Version, stamp(x.At), x.By.Kind, x.By.Name, e)
		} else {
			fmt.Fprintf(w, "\t\t\t%s\n", e)
		}
	}
}

type settingsChanges struct {
	Limit int `help:"Most changes." default:"50"`
}

// Validate is asked before Run: what is wrong here is the command line.
func (s settingsChanges) Validate() error {
	if s.Limit < 1 {
		return text.Fail(nil, "cli.limit")
	}
	return nil
}

func (s settingsChanges) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	list := []settingsChange{}
	query := map[string][]string{}
	for len(list) < s.Limit {
		var page struct {
			Changes []settingsChange
			Next    int64
		}
		if err := cl.call(ctx, "GET", "/changes", query, nil, &page); err != nil {
			return err
		}
		list = append(list, page.Changes...)
		if page.Next == 0 {
			break
		}
		query["before"] = []string{strconv.FormatInt(page.Next, 10)}
	}
	list = list[:min(len(list), s.Limit)]
	if c.JSON {
		return c.printJSON(list)
	}
	w := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	for _, x := range list {
		x.print(w)
	}
	return nil
}

type settingsUndo struct {
	Change int64 `arg:"" help:"Number of the change; vigil settings changes lists them."`
}

func (s settingsUndo) Run(ctx context.Context, c *cli) error {
	x, err := c.ofChange(ctx, s.Change, "undo")
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(x)
	}
	w := tabwriter.NewWriter(c.Out, 0, 4, 2, ' ', 0)
	defer w.Flush()
	x.print(w)
	return nil
}

type settingsForget struct {
	Change int64 `arg:"" help:"Number of the change; vigil settings changes lists them."`
}

func (s settingsForget) Run(ctx context.Context, c *cli) error {
	x, err := c.ofChange(ctx, s.Change, "forget")
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(x)
	}
	fmt.Fprintln(c.Out, c.say("cli.forgotten", "number", strconv.FormatInt(s.Change, 10)))
	return nil
}

// ofChange does something with a change of the settings.
func (c *cli) ofChange(ctx context.Context, number int64, what string) (x settingsChange, err error) {
	cl, err := c.client(ctx)
	if err != nil {
		return x, err
	}
	defer cl.close()
	n := strconv.FormatInt(number, 10)
	err = cl.call(ctx, "POST", "/changes/"+n+"/"+what, nil, nil, &x)
	var no *problem
	if errors.As(err, &no) && no.Code == "not-found" {
		return x, text.Fail(nil, "cli.no-change", "number", n)
	}
	return x, err
}

// passphrase is that of a file of settings.
func (c *cli) passphrase(ctx context.Context) (string, error) {
	if p, ok := os.LookupEnv("VIGIL_PASSPHRASE"); ok {
		return p, nil
	}
	return secret(ctx, c.say("cli.passphrase"))
}

type settingsExport struct {
	Out string `short:"o" required:"" help:"File to write; an existing one is not touched." type:"path"`
}

func (s settingsExport) Run(ctx context.Context, c *cli) (err error) {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	f, err := os.OpenFile(s.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return text.Fail(nil, "cli.file-there", "file", s.Out)
	}
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			os.Remove(s.Out)
		}
	}()
	phrase, err := c.passphrase(ctx)
	if err != nil {
		return err
	}
	resp, err := cl.send(ctx, "POST", "/settings/export", nil, map[string]string{"passphrase": phrase})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(f, resp.Body)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return c.printJSON(map[string]any{"file": s.Out, "size": n})
	}
	fmt.Fprintln(c.Out, c.say("cli.exported", "file", s.Out, "bytes", strconv.FormatInt(n, 10)))
	return nil
}

type settingsImport struct {
	File  string `arg:"" help:"The file." type:"existingfile"`
	Apply bool   `help:"Change the settings; without it only tell."`
}

// maxSettingsFile is more than the recorder takes, which says so itself.
const maxSettingsFile = 3 << 20

func (s settingsImport) Run(ctx context.Context, c *cli) error {
	cl, err := c.client(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	f, err := os.OpenFile(s.File, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	file, err := io.ReadAll(io.LimitReader(f, maxSettingsFile))
	if err != nil {
		return err
	}
	phrase, err := c.passphrase(ctx)
	if err != nil {
		return err
	}
	type plan struct {
		Made    int64           `json:"made"`
		Version int64           `json:"version"`
		Edits   []settingsEdit  `json:"edits"`
		Layouts int             `json:"layouts"`
		Change  *settingsChange `json:"change,omitempty"`
	}
	var got plan
	in := map[string]any{"file": file, "passphrase": phrase}
	if err := cl.call(ctx, "POST", "/settings/import", nil, in, &got); err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintln(c.Out, c.say("cli.file-made", "time", stamp(got.Made)))
		for _, e := range got.Edits {
			fmt.Fprintln(c.Out, " ", e)
		}
		if got.Layouts > 0 {
			fmt.Fprintln(c.Out, " ", c.say("cli.file-layouts", "n", strconv.Itoa(got.Layouts)))
		}
	}
	nothing := len(got.Edits) == 0 && got.Layouts == 0
	if s.Apply && !nothing {
		in["version"] = got.Version
		if err := cl.call(ctx, "POST", "/settings/import", nil, in, &got); err != nil {
			return err
		}
	}
	switch {
	case c.JSON:
		return c.printJSON(got)
	case nothing:
		fmt.Fprintln(c.Out, c.say("cli.file-same"))
	case !s.Apply:
		fmt.Fprintln(c.Out, c.say("cli.file-apply"))
	case got.Change != nil:
		fmt.Fprintln(c.Out, c.say("cli.file-applied", "number", strconv.FormatInt(got.Change.Version, 10)))
	}
	return nil
}
