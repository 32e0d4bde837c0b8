package simcam

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Control is the camera's remote control over HTTP, for loopback only:
//
//	GET  /counters                  []Counters
//	GET  /sent?path=PATH[&from=N]   []Sent
//	GET  /certificate               PEM
//	POST /command                   lines of Commands; stops at the first that fails
func (c *Camera) Control() http.Handler {
	m := http.NewServeMux()
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v) // a client that has gone
	}
	m.HandleFunc("GET /counters", func(w http.ResponseWriter, _ *http.Request) { answer(w, c.Counters()) })
	m.HandleFunc("GET /sent", func(w http.ResponseWriter, r *http.Request) {
		f := c.Feed(r.FormValue("path"))
		from, err := strconv.ParseUint("0"+r.FormValue("from"), 10, 64)
		if f == nil || err != nil {
			http.Error(w, "want ?path=PATH&from=NUMBER", http.StatusBadRequest)
			return
		}
		answer(w, f.Sent(from))
	})
	m.HandleFunc("GET /certificate", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(c.CertificatePEM()) })
	m.HandleFunc("POST /command", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line == "" {
				continue
			}
			if err := c.Command(line); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
	return m
}
