// Command gen writes places.json and docs/clauses.md. Run it at the top of the
// source tree.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"vigil/internal/conformity"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "clauses:", err)
		os.Exit(1)
	}
}

func run() error {
	places, err := conformity.Scan(os.DirFS("."))
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(places, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile("internal/conformity/places.json", append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile("docs/clauses.md", []byte(conformity.Markdown(conformity.Rows(places))), 0o644)
}
