package simcam

import (
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5"
)

func TestRebootAndOffline(t *testing.T) {
	c, f := small(t, nil)
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	l := r.pictures(t, 0, 2)
	c.Reboot(500 * time.Millisecond)
	n := f.nextNumber()
	if err := r.client.Wait(); err == nil {
		t.Error("the connection outlived the reboot")
	}
	if _, err := tryPlay(t, c, "v", gortsplib.ProtocolTCP, nil); err == nil && f.nextNumber() == n {
		t.Error("connected while off")
	}
	if f.Counters().Readers != 0 {
		t.Error("a reader is left")
	}
	var again *reader
	eventually(t, "the camera is back", func() bool {
		var err error
		again, err = tryPlay(t, c, "v", gortsplib.ProtocolTCP, nil)
		return err == nil
	})
	m := again.pictures(t, n, 1)
	if m[0][0].SSRC == l[0][0].SSRC {
		t.Error("the same SSRC after a reboot")
	}
	for i, s := range f.Sent(0) {
		if s.Number != uint64(i) {
			t.Fatalf("picture %d has number %d", i, s.Number)
		}
	}

	command(t, c, "offline v")
	if err := again.client.Wait(); err == nil {
		t.Error("the connection outlived the path")
	}
	if _, err := tryPlay(t, c, "v", gortsplib.ProtocolTCP, nil); !isStatus(err, 503) {
		t.Errorf("offline: %v", err)
	}
	command(t, c, "online v")
	again = play(t, c, "v", gortsplib.ProtocolTCP)
	command(t, c, "cut v")
	if err := again.client.Wait(); err == nil {
		t.Error("the connection outlived the cut")
	}
	command(t, c, "power off")
	command(t, c, "power on")
	play(t, c, "v", gortsplib.ProtocolTCP)
}

func TestRefusals(t *testing.T) {
	c, _ := small(t, func(c *Config) { c.MaxSessions = 1 })
	if _, err := tryPlay(t, c, "nothing", gortsplib.ProtocolTCP, nil); !isStatus(err, 404) {
		t.Errorf("unknown path: %v", err)
	}
	r := play(t, c, "v", gortsplib.ProtocolTCP)
	if _, err := tryPlay(t, c, "v", gortsplib.ProtocolTCP, nil); !isStatus(err, 453) {
		t.Errorf("second session: %v", err)
	}
	r.client.Close()
	eventually(t, "the seat is free", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.seats == 0 })
	command(t, c, "refusetcp on")
	if _, err := tryPlay(t, c, "v", gortsplib.ProtocolTCP, nil); !isStatus(err, 461) {
		t.Errorf("TCP: %v", err)
	}
	play(t, c, "v", gortsplib.ProtocolUDP).pictures(t, 0, 2)
	command(t, c, "refusetcp off")
	command(t, c, "refusesound on") // there is none: nobody notices
	command(t, c, "limit 0")
	play(t, c, "v", gortsplib.ProtocolTCP)
}

func TestCommandMistakes(t *testing.T) {
	c, f := small(t, nil)
	for _, line := range []string{
		"", "x", "stall", "stall w", "stall v w", "drop v", "drop v -1", "droprate v x", "pace v 0", "pace v 1/x", "soundpace v 1",
		"stampone v 3", "sets v all", "refusetcp", "refusetcp maybe", "clock x", "limit -1", "password x", "power", "reboot", "reboot 1s 2s",
		"cut v for 1s", "stall v for", "stall v for x", "lie v noise", "certificate", "switch v none.mp4",
	} {
		if err := c.Command(line); err == nil {
			t.Errorf("%q was accepted", line)
		}
	}
	n := f.nextNumber()
	command(t, c, "stall * for 10ms")
	eventually(t, "the stall ends", func() bool { return f.nextNumber() > n })
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	ok := []Stream{{Path: "v", Source: "clock-small"}}
	for name, cfg := range map[string]Config{
		"no stream":  {},
		"public":     {Addr: "0.0.0.0:0", Streams: ok},
		"name":       {Addr: "localhost:0", Streams: ok},
		"no port":    {Addr: "127.0.0.1", Streams: ok},
		"two equal":  {Streams: []Stream{ok[0], ok[0]}},
		"path":       {Streams: []Stream{{Path: "a b", Source: "clock"}}},
		"film":       {Streams: []Stream{{Path: "v", Source: "nothing"}}},
		"sound":      {Streams: []Stream{{Path: "v", Source: "clock", Sound: "nothing"}}},
		"rate":       {Streams: []Stream{{Path: "v", Source: "clock", Rate: 1e9}}},
		"mark":       {Streams: []Stream{{Path: "v", Source: "clock", Mark: 10000}}},
		"auth":       {Auth: "ntlm", User: "x", Streams: ok},
		"wrong port": {Addr: "127.0.0.1:99999", Streams: ok},
	} {
		if c, err := Start(cfg); err == nil {
			c.Close()
			t.Errorf("%s: started", name)
		}
	}
}
