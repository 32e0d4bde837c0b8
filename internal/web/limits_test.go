package web

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestQuietAnswer has an answer that says nothing for longer than a piece may
// take: it goes on, over both versions of HTTP. A caller that does not receive is let go.
func TestQuietAnswer(t *testing.T) {
	const patience = 100 * time.Millisecond
	ended := make(chan error, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if r.URL.Path == "/much" {
			var err error
			for err == nil {
				err = sendPiece(w, rc, make([]byte, 1<<20), patience)
			}
			ended <- err
			return
		}
		for range 3 {
			if err := sendPiece(w, rc, []byte("x"), patience); err != nil {
				t.Error(err)
			}
			time.Sleep(3 * patience)
		}
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil || string(b) != "xxx" || resp.ProtoMajor != 2 {
		t.Errorf("%s: %q, %v", resp.Proto, b, err)
	}
	config := srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /much HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Error("a caller that does not receive holds its answer")
	}
}

// A listener that is too slow for the news is told by the end of its stream.
func TestSlowListener(t *testing.T) {
	h := NewHub()
	slow, leave := h.subscribe()
	defer leave()
	for range 70 {
		h.Tell(News{Kind: ExportNews, ID: "another"})
	}
	ended := false
	for range 70 {
		if _, ok := <-slow; !ok {
			ended = true
			break
		}
	}
	if !ended {
		t.Error("it goes on, and does not know what it missed")
	}
	other, leave2 := h.subscribe()
	defer leave2()
	h.Break()
	if _, ok := <-other; ok {
		t.Error("not told that news were lost")
	}
	h.Tell(News{Kind: StatusNews}) // nobody is there
}
