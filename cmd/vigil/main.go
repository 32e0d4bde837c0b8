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
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"vigil/internal/conf"
	"vigil/internal/release"
	"vigil/internal/worker/ingest"
)

type cli struct {
	conf.Config
	ConfigFile kong.ConfigFlag  `name:"config" help:"JSON file with defaults for these flags." type:"existingfile"`
	JSON       bool             `help:"Print data as JSON."`
	Lang       string           `help:"Language of messages: en or zh-TW." enum:"en,zh-TW," default:"" env:"VIGIL_LANG"`
	Version    kong.VersionFlag `help:"Print the version."`

	Init    initCmd    `cmd:"" help:"Make an empty state folder and label the folder for footage."`
	Serve   serveCmd   `cmd:"" help:"Record, and serve the page."`
	Code    codeCmd    `cmd:"" help:"Print a new one-time code for the first administrator."`
	Camera  cameraCmd  `cmd:"" help:"List, add, test and remove cameras."`
	Export  exportCmd  `cmd:"" help:"Write a range of footage to an MP4 file."`
	Check   checkCmd   `cmd:"" help:"Compare ledger, files and catalogue."`
	Verify  verifyCmd  `cmd:"" help:"Read footage again and compare it with the ledger."`
	Audit   auditCmd   `cmd:"" help:"Print the security event log."`
	Alert   alertCmd   `cmd:"" help:"Print what a person must know."`
	Clauses clausesCmd `cmd:"" help:"Print the clauses of TAICS TS-0014-3 and how far each is built."`
}

// An exitCode ends the process with a code of its own after the command has
// said why.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	if len(os.Args) > 1 && os.Args[1] == "ingest" { // a worker: before anything else is set up
		os.Exit(ingest.Main(source{}))
	}
	var c cli
	parser := kong.Must(&c, kong.Name("vigil"), kong.Description("A secure network video recorder."),
		kong.UsageOnError(), kong.Configuration(kong.JSON), kong.Vars{"version": "vigil " + release.Version})
	k, err := parser.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vigil:", err)
		os.Exit(2)
	}
	if err := c.Config.Check(); err != nil {
		fmt.Fprintln(os.Stderr, "vigil:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	k.BindTo(ctx, (*context.Context)(nil))
	if err := k.Run(&c); err != nil {
		var code exitCode
		if errors.As(err, &code) {
			os.Exit(int(code))
		}
		fmt.Fprintln(os.Stderr, "vigil:", err)
		os.Exit(1)
	}
}

// requireApproved refuses to work with keys outside the approved mode: an
// environment variable can switch it off (docs/format/keys.md).
func requireApproved() error {
	if !fips140.Enabled() {
		return errors.New("the FIPS 140-3 mode is off: start Vigil without GODEBUG=fips140=off, and build it with make")
	}
	return nil
}
