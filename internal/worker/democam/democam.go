// Package democam is the demonstration camera: what runs in its process.
//
//	[democam] --RTSP on loopback--> ingest
//
// It plays two films that the program carries, on a listening socket that the
// core hands over, in a jail where it can do nothing else. To the rest of the
// recorder it is a camera like any other.
package democam

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"vigil/internal/simcam"
	"vigil/internal/simcam/footage"
	"vigil/internal/worker/jail"
)

// listenerFD is the socket from the core.
const listenerFD = 3

// Main plays until the process is killed, which happens with the core at the
// latest. It returns an exit code when it cannot.
func Main() int {
	for _, g := range jail.Enter(jail.Demo, listenerFD) {
		if !g.Holds {
			fmt.Fprintf(os.Stderr, "jail: %s: %s\n", g.Name, g.Note)
		}
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP) // the core ends it
	l, err := net.FileListener(os.NewFile(listenerFD, "listener"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "vigil demo-camera is started by vigil serve:", err)
		return 2
	}
	_, err = simcam.Start(simcam.Config{
		Footage: footage.Demo, Listener: l, NoUDP: true, NoMarks: true, Keep: time.Second,
		Streams: []simcam.Stream{{Path: "clock", Source: "clock"}, {Path: "sub", Source: "clock-small"}},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo camera:", err)
		return 1
	}
	select {}
}
