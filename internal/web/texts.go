package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"vigil/internal/text"
)

// maxTexts bounds what is said anew at once.
const maxTexts = 500

// spoken are the texts that a page keeps on the screen while its language is switched.
var spoken = []string{"camera", "mistake", "problem"}

// sayTexts says again, in the language that is asked for now, what the interface said before: a page has its codes and
// arguments.
func (c *call) sayTexts() error {
	var in struct {
		Texts []struct {
			Key  string `json:"key"`
			Args []struct {
				Name  string `json:"name"`
				Value string `json:"value"`
			} `json:"args"`
		} `json:"texts"`
	}
	if err := c.body(&in); err != nil {
		return err
	}
	if len(in.Texts) > maxTexts {
		return mistake("/texts", "at-most", "max", strconv.Itoa(maxTexts))
	}
	out := []string{}
	for i, x := range in.Texts {
		kind, code, _ := strings.Cut(x.Key, ".")
		if !slices.Contains(spoken, kind) {
			return mistake("/texts/"+strconv.Itoa(i)+"/key", "one-of", "choices", strings.Join(spoken, "., ")+".")
		}
		args := map[string]string{}
		for _, a := range x.Args {
			args[a.Name] = a.Value
		}
		said := ""
		if n := note(c.lang, kind, code, args); n != nil && (kind == "camera" || text.Has(x.Key)) {
			said = n.Text
		}
		out = append(out, said)
	}
	return c.answer(http.StatusOK, map[string]any{"texts": out})
}
