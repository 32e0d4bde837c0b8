// Package conf is what must be known before the state folder can be opened;
// all else is in settings.
package conf

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
)

// A Config is the start-up choice of one recorder: from flags, the
// environment, or a JSON file of the same names (`--config`).
type Config struct {
	State  string `help:"Folder for keys, settings, ledger and catalogue." default:"/var/lib/vigil" env:"VIGIL_STATE" type:"path"`
	Video  string `help:"Folder for footage, best on a disk of its own; default: video in the state folder. Asked for once, then remembered." env:"VIGIL_VIDEO" type:"path"`
	Listen string `help:"Address and port of the page (HTTPS)." default:":8443" env:"VIGIL_LISTEN"`
}

// Check returns every mistake, so that they can be corrected in one go.
func (c Config) Check() error {
	var errs []error
	if !filepath.IsAbs(c.State) {
		errs = append(errs, fmt.Errorf("--state %q: want an absolute path", c.State))
	}
	if c.Video != "" && !filepath.IsAbs(c.Video) {
		errs = append(errs, fmt.Errorf("--video %q: want an absolute path", c.Video))
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("--listen %q: want an address and a port, such as :8443", c.Listen))
	} else if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && port != "0" {
		errs = append(errs, fmt.Errorf("--listen %q: %q is no port", c.Listen, port))
	}
	return errors.Join(errs...)
}

// Socket is where the command line reaches a running recorder.
func (c Config) Socket() string { return filepath.Join(c.State, "control.sock") }
