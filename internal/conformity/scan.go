package conformity

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strings"
)

// Scan collects the clause directives of a source tree. Directives on anything
// but a declaration, and clauses that do not exist, are errors.
func Scan(tree fs.FS) (map[string]Places, error) {
	known := map[string]bool{}
	for _, c := range Clauses {
		known[c.ID] = true
	}
	places := map[string]Places{}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, ".go"):
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		onDecl := map[token.Pos]string{}
		for _, decl := range f.Decls {
			doc, what := docOf(decl)
			if doc != nil {
				for _, c := range doc.List {
					onDecl[c.Pos()] = what
				}
			}
		}
		for _, group := range f.Comments {
			for _, c := range group.List {
				dir, ok := ast.ParseDirective(c.Pos(), c.Text)
				if !ok || dir.Tool != "vigil" || dir.Name != "clause" {
					continue
				}
				what := onDecl[c.Pos()]
				if what == "" {
					return fmt.Errorf("%s: clause directive stands on no declaration", fset.Position(c.Pos()))
				}
				for _, id := range strings.Fields(dir.Args) {
					if !known[id] {
						return fmt.Errorf("%s: no clause %s", fset.Position(c.Pos()), id)
					}
					p, at := places[id], name+" "+what
					if strings.HasSuffix(name, "_test.go") {
						p.Tests = append(p.Tests, at)
					} else {
						p.Code = append(p.Code, at)
					}
					places[id] = p
				}
			}
		}
		return nil
	})
	for _, p := range places {
		slices.Sort(p.Code)
		slices.Sort(p.Tests)
	}
	return places, err
}

// docOf returns the doc comment of a declaration and its name.
func docOf(decl ast.Decl) (*ast.CommentGroup, string) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || len(d.Recv.List) == 0 {
			return d.Doc, d.Name.Name
		}
		t := d.Recv.List[0].Type
		if s, ok := t.(*ast.StarExpr); ok {
			t = s.X
		}
		if id, ok := t.(*ast.Ident); ok {
			return d.Doc, id.Name + "." + d.Name.Name
		}
		return d.Doc, d.Name.Name
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				return d.Doc, s.Name.Name
			case *ast.ValueSpec:
				return d.Doc, s.Names[0].Name
			}
		}
	}
	return nil, ""
}
