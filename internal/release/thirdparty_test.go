package release

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestThirdPartyIsWhatIsLinked compares the list with what the build of the
// recorder links now.
//
//vigil:clause 5.6.1.2
func TestThirdPartyIsWhatIsLinked(t *testing.T) {
	parts, err := ThirdParty()
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for _, p := range parts {
		if p.For == "recorder" {
			listed[p.Name] = p.Version
		}
		if p.Licence == "" || p.Version == "" {
			t.Errorf("%s: licence %q, version %q", p.Name, p.Licence, p.Version)
		}
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}", "vigil/cmd/vigil").Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		path, version, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		linked[path] = true
		if listed[path] != version {
			t.Errorf("%s %s is linked, the list says %q: run make sbom", path, version, listed[path])
		}
	}
	for path := range listed {
		if !linked[path] {
			t.Errorf("%s is listed and not linked: run make sbom", path)
		}
	}
	var sbom struct{ Components []struct{ Name string } }
	b, err := os.ReadFile("sbom.cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &sbom); err != nil {
		t.Fatal(err)
	}
	if want := len(parts) + 1; len(sbom.Components) != want { // and the standard library
		t.Errorf("sbom.cdx.json has %d components, the list %d", len(sbom.Components), want)
	}
}
