package text

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var hole = regexp.MustCompile(`\{[^}]*\}`)

// Both languages have the same keys with the same arguments, and no key
// twice.
func TestComplete(t *testing.T) {
	for key, en := range messages[English] {
		zh, ok := messages[Chinese][key]
		if !ok {
			t.Errorf("zh-TW lacks %s", key)
			continue
		}
		a, b := hole.FindAllString(en, -1), hole.FindAllString(zh, -1)
		slices.Sort(a)
		slices.Sort(b)
		if !slices.Equal(slices.Compact(a), slices.Compact(b)) {
			t.Errorf("%s: arguments %v in English, %v in Chinese", key, a, b)
		}
		if strings.TrimSpace(en) == "" || strings.TrimSpace(zh) == "" || strings.ContainsAny(en+zh, "<>\n\t") {
			t.Errorf("%s: %q, %q", key, en, zh)
		}
	}
	for key := range messages[Chinese] {
		if _, ok := messages[English][key]; !ok {
			t.Errorf("en lacks %s", key)
		}
	}
	for _, l := range Langs {
		b, _ := files.ReadFile("messages/" + string(l) + ".json")
		d := json.NewDecoder(strings.NewReader(string(b)))
		seen := map[string]bool{}
		d.Token()
		for d.More() {
			k, err := d.Token()
			if err != nil {
				t.Fatal(err)
			}
			if seen[k.(string)] {
				t.Errorf("%s has %s twice", l, k)
			}
			seen[k.(string)] = true
			d.Token()
		}
	}
}

// What a program says, in English, comes behind what is said to a person: the sentence leads.
func TestSentencesLead(t *testing.T) {
	for l, m := range messages {
		for key, s := range m {
			if strings.HasPrefix(key, "alert.") && strings.Contains(s, "{error}") && !strings.HasSuffix(s, " ({error})") && !strings.HasSuffix(s, "（{error}）") {
				t.Errorf("%s: %s: %s", l, key, s)
			}
		}
	}
}

// mainland are words that Taiwan writes otherwise.
var mainland = []string{"录", "摄", "视频", "視頻", "密碼學庫", "用戶", "用户", "信息", "網絡", "軟件", "硬件", "默認", "登錄", "屏幕", "攝像", "硬盤", "字節", "證書", "鏈接", "導出", "設備碼"}

func TestTaiwansTerms(t *testing.T) {
	for key, s := range messages[Chinese] {
		for _, w := range mainland {
			if strings.Contains(s, w) {
				t.Errorf("%s: %q is not how Taiwan says it", key, w)
			}
		}
	}
}

// Every key is said by the code: its last words are a string constant
// somewhere in the sources. A key that nobody says is an old one.
func TestEveryKeyIsUsed(t *testing.T) {
	words := map[string]bool{}
	read := func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || d.Name() == "ui") {
			if d != nil && d.IsDir() {
				return filepath.SkipDir
			}
			return err
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil // somebody else's to report
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if s, err := strconv.Unquote(l.Value); err == nil {
					words[s] = true
				}
			}
			return true
		})
		return nil
	}
	for _, root := range []string{"..", "../../cmd"} {
		if err := filepath.WalkDir(root, read); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range Keys() {
		_, code, _ := strings.Cut(strings.TrimSuffix(key, ".detail"), ".")
		if !words[key] && !words[code] {
			t.Errorf("nothing says %s", key)
		}
	}
}

// Every reason why a camera cannot be recorded has its sentence.
func TestCameraErrorsAreSaid(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "../camera/rtsp/errors.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		v, ok := node.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		if l, ok := v.Values[0].(*ast.BasicLit); ok && l.Kind == token.STRING {
			code, _ := strconv.Unquote(l.Value)
			if n++; !Has("camera." + code) {
				t.Errorf("no text for camera.%s", code)
			}
		}
		return true
	})
	if n < 20 {
		t.Errorf("only %d codes found", n)
	}
}

func TestGet(t *testing.T) {
	args := map[string]string{"max": "{min}", "min": "4"}
	if got := Get(English, "mistake.out-of-range", args); got != "A number from 4 to {min}." {
		t.Errorf("got %q", got)
	}
	if got := Get("fr", "mistake.required", nil); got != "This is needed." {
		t.Errorf("unknown language: %q", got)
	}
	if got := Get(Chinese, "camera.weird", nil); got != "camera.weird" {
		t.Errorf("unknown key: %q", got)
	}
	if got := Get(English, "mistake.too-long", nil); got != "At most ? characters." {
		t.Errorf("missing argument: %q", got)
	}
	if got := fill("a {b", nil); got != "a {b" {
		t.Errorf("open brace: %q", got)
	}
}

func TestChoose(t *testing.T) {
	for header, want := range map[string]Lang{
		"": English, "zh-TW": Chinese, "zh": Chinese, "zh-Hant-TW,zh;q=0.9,en;q=0.8": Chinese, "en-US,en;q=0.9,zh-TW;q=0.8": English,
		"fr": English, "fr,zh-tw;q=0.1": Chinese, "en;q=0.1, zh;q=0.2": Chinese, "zh;q=0": English, "zhx": English, ";;;,,,": English,
		strings.Repeat("fr,", 100) + "zh": English,
	} {
		if got := Choose(header); got != want {
			t.Errorf("%.60q: %s, want %s", header, got, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	var m Mistakes
	if m.Err() != nil {
		t.Error("no mistakes are an error")
	}
	m.Add("/name", "too-long", "max", "3")
	m.Add("/url", "url-bad")
	var got Mistakes
	if !errors.As(m.Err(), &got) || len(got) != 2 || got[0].Args["max"] != "3" || m.Error() != "/name: too-long; /url: url-bad" {
		t.Errorf("%v", got)
	}
}
