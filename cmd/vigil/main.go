// Command vigil is a secure network video recorder.
//
//	vigil serve                 record; the page is at the address it prints
//	vigil camera add ...        the command line does what the page does
//
// Exit codes: 0 done; 1 it failed, and said why; 2 the command line is wrong;
// 3 check or verify found trouble.
package main

import (
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"vigil/internal/conf"
	"vigil/internal/release"
	"vigil/internal/text"
	"vigil/internal/worker/democam"
	"vigil/internal/worker/ingest"
	"vigil/internal/worker/picture"
)

type cli struct {
	conf.Config
	ConfigFile kong.ConfigFlag  `name:"config" help:"JSON file with defaults for these flags." type:"existingfile"`
	JSON       bool             `help:"Print data as JSON."`
	Lang       string           `help:"Language of messages: en or zh-TW." enum:"en,zh-TW," default:"" env:"VIGIL_LANG"`
	Version    kong.VersionFlag `help:"Print the version."`
	Out        *output          `kong:"-"`

	Init     initCmd     `cmd:"" help:"Make an empty state folder and label the folder for footage."`
	Serve    serveCmd    `cmd:"" help:"Record, and serve the page."`
	Code     codeCmd     `cmd:"" help:"Print a new one-time code for the first administrator."`
	Password passwordCmd `cmd:"" help:"Set the password of an account, read from the standard input; it must be changed at the next sign-in. Ends the account's sessions and waits."`
	Camera   cameraCmd   `cmd:"" help:"List, add, test and remove cameras."`
	Export   exportCmd   `cmd:"" help:"Write a range of footage to an MP4 file."`
	Check    checkCmd    `cmd:"" help:"Compare ledger, files and catalogue."`
	Verify   verifyCmd   `cmd:"" help:"Read footage again and compare it with the ledger."`
	Audit    auditCmd    `cmd:"" help:"Print the security event log."`
	Alert    alertCmd    `cmd:"" help:"Print what a person must know."`
	Settings settingsCmd `cmd:"" help:"List and undo changes of the settings; take them to a sealed file and back."`
	Clauses  clausesCmd  `cmd:"" help:"Print the clauses of TAICS TS-0014-3 and how far each is built."`
}

// An exitCode ends the process with a code of its own after the command has
// said why.
type exitCode int

// Error is for logs.
func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// An output is where a command prints. It remembers that something did not get
// out: a command whose words were lost has not done its work.
type output struct {
	w   io.Writer
	err error
}

// Write passes on.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.w.Write(b)
	if o.err == nil {
		o.err = err
	}
	return n, err
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "ingest" { // a worker: before anything else is set up
		os.Exit(ingest.Main(source{}))
	}
	if len(os.Args) > 1 && os.Args[1] == "picture" { // likewise
		os.Exit(picture.Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "demo-camera" { // likewise
		os.Exit(democam.Main())
	}
	signal.Ignore(syscall.SIGPIPE) // who reads what we print may go; a recorder goes on, and a command lets go in order
	syscall.Umask(0o077)           // what is made here is for nobody else, whatever makes it
	noCore()
	c := cli{Out: &output{w: os.Stdout}}
	parser := kong.Must(&c, kong.Name("vigil"), kong.Description("A secure network video recorder."),
		kong.UsageOnError(), kong.Configuration(kong.JSON), kong.Vars{"version": "vigil " + release.Version})
	k, err := parser.Parse(os.Args[1:])
	if err == nil {
		err = c.Config.Check()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "vigil: %s\n%s\n", text.Explain(c.language(), err), c.say("cli.usage"))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	k.BindTo(ctx, (*context.Context)(nil))
	os.Exit(c.end(k.Run(&c), ctx.Err() != nil, stop))
}

// noCore keeps what is in memory, keys and camera passwords among it, out of
// core files, and other processes of the same user out of the memory. Where the kernel
// refuses, the files' own modes are left.
//
//vigil:clause 5.2.4.1
func noCore() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// end says what a command failed of and returns the exit code.
func (c *cli) end(err error, interrupted bool, stop func()) int {
	stop() // another Ctrl-C ends at once
	var code exitCode
	switch {
	case errors.As(err, &code):
		return int(code)
	case err == nil && c.Out.err == nil:
		return 0
	case interrupted && errors.Is(err, context.Canceled):
		err = text.Fail(nil, "cli.interrupted")
	case err == nil || errors.Is(err, c.Out.err) && c.Out.err != nil:
		if err = c.Out.err; errors.Is(err, syscall.EPIPE) {
			return 1 // nobody wants to read it
		}
	}
	fmt.Fprintln(os.Stderr, "vigil:", text.Explain(c.language(), err))
	return 1
}

// say is a text of the command line's in the user's language; args are names
// and values, in turn.
func (c *cli) say(key string, args ...string) string {
	m := map[string]string{}
	for i := 0; i+1 < len(args); i += 2 {
		m[args[i]] = args[i+1]
	}
	return text.Get(c.language(), key, m)
}

// requireApproved refuses to work with keys outside the approved mode: an
// environment variable can switch it off (docs/format/keys.md).
func requireApproved() error {
	if !fips140.Enabled() {
		return text.Fail(nil, "start.fips-off")
	}
	return nil
}
