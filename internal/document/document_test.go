package document

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"vigil/internal/durable"
	"vigil/internal/seal"
)

type value struct {
	Name string
	N    int
}

func file(m *durable.Mem) File {
	k, _ := seal.KeyFrom(bytes.Repeat([]byte{1}, 32))
	return File{m, "value.doc", k, "value", 2}
}

func TestLoadSave(t *testing.T) {
	m := durable.NewMem()
	f := file(m)
	var got value
	if _, err := f.Load(&got); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("missing: %v", err)
	}
	want := value{"secret name", 7}
	if err := f.Save(want); err != nil {
		t.Fatal(err)
	}
	m.Crash()
	m.Restart()
	if v, err := f.Load(&got); err != nil || got != want || v != 2 {
		t.Fatalf("%v, %d, %v", got, v, err)
	}
	b, _ := durable.ReadFile(m, f.Name, MaxSize)
	if bytes.Contains(b, []byte("secret name")) {
		t.Error("the document is in the clear")
	}
	for i := range b {
		bad := bytes.Clone(b)
		bad[i] ^= 1
		durable.WriteFile(m, f.Name, bad)
		if _, err := f.Load(&got); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	durable.WriteFile(m, f.Name, b)
	other := f
	other.Kind = "other"
	if _, err := other.Load(&got); !errors.Is(err, ErrDamaged) {
		t.Errorf("another kind: %v", err)
	}
	other = f
	other.Key = seal.NewKey()
	if _, err := other.Load(&got); !errors.Is(err, ErrDamaged) {
		t.Errorf("another key: %v", err)
	}
	newer := f
	newer.Version = 3
	if err := newer.Save(want); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(&got); !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("newer: %v", err)
	}
	if v, err := newer.Load(&got); err != nil || v != 3 {
		t.Errorf("%d, %v", v, err)
	}
	raw := f.append(nil, []byte(`{"Name":"x"}`))
	raw[8] = 2
	durable.WriteFile(m, f.Name, raw)
	if _, err := f.Load(&got); !errors.Is(err, ErrDamaged) {
		t.Errorf("this frame, its byte altered: %v", err)
	}
	durable.WriteFile(m, f.Name, f.Key.Seal(raw[:headSize:headSize], []byte(`{}`), f.aad(raw[:headSize])))
	if _, err := f.Load(&got); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer frame: %v", err)
	}
	for _, plain := range []string{`{"Name":"x","Unknown":1}`, `{"Name":"x"}{}`, `{`, ``, `[]`} {
		durable.WriteFile(m, f.Name, f.append(nil, []byte(plain)))
		if _, err := f.Load(&got); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", plain, err)
		}
	}
}

func TestSaveFails(t *testing.T) {
	for _, fault := range []durable.Fault{durable.Refused, durable.AppliedThenError, durable.CrashBefore, durable.CrashAfter} {
		for step := 0; ; step++ {
			m := durable.NewMem()
			f := file(m)
			if err := f.Save(value{"old", 1}); err != nil {
				t.Fatal(err)
			}
			m.Inject(durable.Rule{Skip: step, Fault: fault, Err: unix.ENOSPC})
			err := f.Save(value{"new", 2})
			reached := m.Hits() > 0
			m.Restart()
			var got value
			if _, lerr := f.Load(&got); lerr != nil || got.Name != "old" && got.Name != "new" || err == nil && got.Name != "new" {
				t.Fatalf("fault %d, step %d: %v; then %v, %v", fault, step, err, got, lerr)
			}
			if !reached {
				break
			}
		}
	}
}

// A file of the first version opens for ever.
func TestGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/value.hex")
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	var got value
	if v, err := file(nil).parse(b, &got); err != nil || v != 1 || got != (value{"golden", 42}) {
		t.Errorf("%d, %v, %v", v, got, err)
	}
}

func FuzzParse(f *testing.F) {
	d := file(nil)
	f.Add(d.append(nil, []byte(`{"Name":"x","N":1}`)))
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v value
		d.parse(b, &v)
		d.parse(d.append(nil, b), &v) // past the seal
	})
}
