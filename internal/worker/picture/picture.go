// Package picture is what runs in a picture worker: it enters the jail and
// becomes the decoder.
//
//	pictures -> [picture] = ffmpeg -> pictures
//
// Nothing of ours is between the core and the decoder: pictures of cameras come
// by its standard input and leave as JPEG by its standard output.
package picture

import (
	"fmt"
	"os"
	"syscall"

	"vigil/internal/worker/jail"
)

// Main becomes the decoder; argv[0] is the path of its program. It returns only when that
// fails: the exit code.
func Main(argv []string) int {
	if len(argv) == 0 {
		fmt.Fprintln(os.Stderr, "vigil picture is started by vigil serve")
		return 2
	}
	for _, g := range jail.Enter(jail.Picture(argv[0])) {
		if !g.Holds {
			fmt.Fprintf(os.Stderr, "jail: %s: %s\n", g.Name, g.Note)
		}
	}
	err := syscall.Exec(argv[0], argv, []string{"LANG=C.UTF-8", "TZ=UTC"})
	fmt.Fprintln(os.Stderr, "start the decoder:", err)
	return 1
}
