// Command gen writes thirdparty.json, sbom.cdx.json and docs/third-party.md
// from a built binary and the page's lock file. Run it at the top of the
// source tree: gen bin/vigil
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"vigil/internal/release"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(binary string) error {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return err
	}
	var parts []release.Part
	for _, m := range info.Deps {
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", m.Path+"@"+m.Version).Output()
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		licence, err := licenceIn(strings.TrimSpace(string(dir)))
		if err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		parts = append(parts, release.Part{Name: m.Path, Version: m.Version, Licence: licence, Hash: m.Sum, For: "recorder"})
	}
	npm, err := pageParts()
	if err != nil {
		return err
	}
	parts = append(parts, npm...)
	if err := writeJSON("internal/release/thirdparty.json", parts); err != nil {
		return err
	}
	if err := writeJSON("internal/release/sbom.cdx.json", cycloneDX(parts, info.GoVersion)); err != nil {
		return err
	}
	return os.WriteFile("docs/third-party.md", []byte(release.Markdown(parts, info.GoVersion)), 0o644)
}

func writeJSON(name string, v any) error {
	b, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(b, '\n'), 0o644)
}

// pageParts lists the npm packages whose code is served: the lock file's
// entries that are not only for development.
func pageParts() ([]release.Part, error) {
	const ui = "internal/web/ui/"
	var lock struct {
		Packages map[string]struct {
			Version, Integrity, License string
			Dev                         bool
		}
	}
	b, err := os.ReadFile(ui + "package-lock.json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		return nil, err
	}
	var parts []release.Part
	for path, p := range lock.Packages {
		i := strings.LastIndex(path, "node_modules/")
		if i < 0 || p.Dev {
			continue
		}
		parts = append(parts, release.Part{Name: path[i+len("node_modules/"):], Version: p.Version, Licence: p.License, Hash: p.Integrity, For: "page"})
	}
	slices.SortFunc(parts, func(a, b release.Part) int { return strings.Compare(a.Name, b.Name) })
	return parts, nil
}

// licenceIn recognises the licence text of a module by phrases that only that
// licence has. An unknown text stops the build: a person must look.
func licenceIn(dir string) (string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return "", err
	}
	var found []string
	for _, name := range names {
		base := strings.ToUpper(filepath.Base(name))
		if !strings.HasPrefix(base, "LICEN") && !strings.HasPrefix(base, "COPYING") {
			continue
		}
		if st, err := os.Stat(name); err != nil || st.IsDir() {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		text := strings.ToLower(strings.Join(strings.Fields(string(b)), " "))
		if _, id, ok := strings.Cut(string(b), "SPDX-License-Identifier: "); ok && strings.Index(string(b), id) < 80 { // at its top: it speaks for the file
			id, _, _ = strings.Cut(id, "\n")
			found = append(found, strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(id), "*/")))
			continue
		}
		for _, l := range []struct{ id, phrase string }{
			{"Apache-2.0", "Apache License Version 2.0"},
			{"MPL-2.0", "Mozilla Public License Version 2.0"},
			{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
			{"ISC", "Permission to use, copy, modify, and/or distribute this software for any purpose"},
			{"BSD-3-Clause", "Neither the name of"},
			{"BSD-2-Clause", "Redistributions in binary form must reproduce"},
		} {
			if strings.Contains(text, strings.ToLower(l.phrase)) && !slices.Contains(found, l.id) {
				found = append(found, l.id)
				break
			}
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no licence recognised in %s", filepath.Base(dir))
	}
	if len(found) > 1 {
		for i, id := range found {
			if strings.Contains(id, " ") {
				found[i] = "(" + id + ")"
			}
		}
	}
	return strings.Join(found, " AND "), nil
}

// cycloneDX renders the parts as a CycloneDX 1.6 document.
func cycloneDX(parts []release.Part, toolchain string) any {
	type object = map[string]any
	var components []object
	for _, p := range append([]release.Part{{Name: "std", Version: strings.TrimPrefix(toolchain, "go"), Licence: "BSD-3-Clause", For: "recorder"}}, parts...) {
		kind := "golang"
		if p.For == "page" {
			kind = "npm"
		}
		purl := fmt.Sprintf("pkg:%s/%s@%s", kind, strings.ReplaceAll(p.Name, "@", "%40"), p.Version)
		c := object{"type": "library", "bom-ref": purl, "name": p.Name, "version": p.Version, "purl": purl, "licenses": []object{{"expression": p.Licence}}}
		if alg, content, ok := hashOf(p.Hash); ok {
			c["hashes"] = []object{{"alg": alg, "content": content}}
		}
		components = append(components, c)
	}
	refs := make([]any, len(components))
	for i, c := range components {
		refs[i] = c["bom-ref"]
	}
	return object{
		"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
		"metadata": object{
			"component": object{"type": "application", "bom-ref": "vigil", "name": "vigil", "version": release.Version, "licenses": []object{{"expression": "Apache-2.0"}}},
			"tools": object{"components": []object{
				{"type": "application", "name": "vigil release/gen"},
				{"type": "application", "name": "go", "version": strings.TrimPrefix(toolchain, "go"), "description": "compiler and linker, with FIPS 140-3 module v1.0.0"},
			}},
		},
		"components":   components,
		"dependencies": []object{{"ref": "vigil", "dependsOn": refs}},
	}
}

// hashOf turns a module checksum (h1: SHA-256 of the module's file list) or an
// npm integrity (SHA-512) into CycloneDX's form.
func hashOf(s string) (alg, content string, ok bool) {
	for prefix, alg := range map[string]string{"h1:": "SHA-256", "sha512-": "SHA-512"} {
		if rest, found := strings.CutPrefix(s, prefix); found {
			b, err := base64.StdEncoding.DecodeString(rest)
			if err == nil && (len(b) == sha256.Size || len(b) == 64) {
				return alg, hex.EncodeToString(b), true
			}
		}
	}
	return "", "", false
}
