// Package conformity has the clauses of TAICS TS-0014-3:2018 and where the
// code answers each.
//
// A `//vigil:clause 5.2.7.2` directive stands on the declaration where the
// decision is made and on the test that shows it. `make clauses` collects them
// into places.json, which the binary carries, and docs/clauses.md.
package conformity

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"
)

// A Clause is one numbered requirement of the standard.
type Clause struct {
	ID      string `json:"id"`    // "5.1.1.2"
	Level   int    `json:"level"` // the lowest level that asks for it; 0: set by Part 1, whose table is not public
	Own     bool   `json:"own"`   // Part 3's own text; otherwise it points to Part 1
	Chinese string `json:"chinese"`
	English string `json:"english"`
}

// Clauses lists all requirement clauses of Part 3 in its order.
var Clauses = []Clause{
	{"5.1.1.1", 0, false, "實體埠之安全管控", "Control of physical ports"},
	{"5.1.1.2", 2, true, "儲存媒體保護", "Storage media unreadable on another machine"},
	{"5.1.2.1", 0, false, "實體異常行為警示", "Alert on abnormal physical behaviour"},
	{"5.1.3.1", 0, false, "實體防護", "Physical protection"},
	{"5.1.4.1", 0, false, "安全啟動", "Secure boot"},
	{"5.1.5.1", 1, true, "實體備份：外部備份介面", "External backup interface"},
	{"5.1.5.2", 2, true, "資料冗餘", "Redundancy"},
	{"5.1.5.3", 3, true, "硬碟熱備援", "Hot spare"},
	{"5.2.1.1", 0, false, "作業系統與網路服務安全", "Operating system and network services"},
	{"5.2.2.1", 0, false, "網路服務連接埠安全", "Network service ports"},
	{"5.2.3.1", 0, false, "更新安全", "Update security"},
	{"5.2.4.1", 0, false, "敏感性資料儲存安全", "Storage of sensitive data"},
	{"5.2.5.1", 0, false, "網頁管理介面安全", "Web management interface"},
	{"5.2.6.1", 0, false, "操控程式之應用程式介面(API)安全", "API of the control program"},
	{"5.2.7.1", 0, false, "日誌檔與警示", "Log files and alerts"},
	{"5.2.7.2", 1, true, "影像檔案寫入之記錄", "Record of every video file written"},
	{"5.2.8.1", 2, true, "儲存空間警示", "Storage space setting and alert"},
	{"5.2.8.2", 2, true, "影像檔案防竄改警示", "Tamper alert for video files"},
	{"5.2.9.1", 1, true, "影像檔案備份", "Backup of video files"},
	{"5.2.9.2", 3, true, "備份加密", "Encrypted backup"},
	{"5.3.1.1", 0, false, "敏感性資料傳輸安全", "Sensitive data in transit"},
	{"5.3.2.1", 0, false, "通訊協定與設置安全", "Protocols and secure settings"},
	{"5.3.3.1", 0, false, "Wi-Fi 通訊安全", "Wi-Fi and protocol robustness"},
	{"5.4.1.1", 0, false, "鑑別機制安全", "Authentication mechanism"},
	{"5.4.2.1", 0, false, "通行碼鑑別安全", "Password authentication"},
	{"5.4.3.1", 0, false, "權限控管", "Authorisation"},
	{"5.5.1.1", 0, false, "隱私資料的存取保護", "Access to private data"},
	{"5.5.1.2", 2, true, "隱私遮罩", "Privacy mask"},
	{"5.5.2.1", 0, false, "隱私資料的傳輸保護", "Private data in transit"},
	{"5.6.1.1", 2, true, "未授權或遭竄改之預載程式不應啟動", "Altered preloaded programs must not start"},
	{"5.6.1.2", 3, true, "第三方函式庫標明", "Third-party libraries stated"},
}

// A State says how far a clause is built.
type State string

// The states. A clause counts as built only when code and a test both name it;
// that it is met is for a laboratory to say.
const (
	NotYet State = "not yet" // no code names it
	Partly State = "partly"  // code names it and something is known to be missing
	Built  State = "built"
)

// missing says what a clause that code already names still lacks, in the words
// of its card. Taking a row away is a claim that the whole card is done.
var missing = map[string]string{
	"5.1.1.2": "the root key lies in a file on the system disk; binding to a TPM comes later",
	"5.2.4.1": "factory reset",
	"5.2.5.1": "step-up for dangerous acts",
	"5.2.6.1": "scoped API tokens",
	"5.2.7.1": "syslog, signed export, six months' retention",
	"5.2.7.2": "copies, repair, backup and import, which do not exist yet",
	"5.2.8.1": "quota per volume; delivery outside the page",
	"5.2.8.2": "scrub, witness, anchors outside the machine",
	"5.3.1.1": "certificate upload",
	"5.3.2.1": "fuzzing for fixed hours; 802.1X",
	"5.3.3.1": "fuzzing for fixed hours; the image without Wi-Fi",
	"5.4.1.1": "second factor",
	"5.4.2.1": "password age",
	"5.4.3.1": "roles other than the administrator",
	"5.5.1.1": "erasure of one person's or one clip's footage",
	"5.5.2.1": "backup and relay paths, which do not exist yet",
	"5.2.1.1": "image of the appliance, its scan and its hardening report",
	"5.2.2.1": "the recorder's comparison of its own sockets with the declaration",
	"5.1.2.1": "link, disk, case and power sources; delivery outside the page",
	"5.6.1.2": "vulnerability state of each library at release",
}

// Places says where the code answers a clause: "internal/store/commit.go Store.Commit".
type Places struct {
	Code  []string `json:"code,omitempty"`
	Tests []string `json:"tests,omitempty"`
}

//go:embed places.json
var placesJSON []byte

// A Row is a clause with its state.
type Row struct {
	Clause
	State   State  `json:"state"`
	Missing string `json:"missing,omitempty"`
	Places
}

// Table returns all clauses with the places that this binary was built from.
func Table() ([]Row, error) {
	var places map[string]Places
	if err := json.Unmarshal(placesJSON, &places); err != nil {
		return nil, fmt.Errorf("clause places: %w", err)
	}
	return Rows(places), nil
}

// Rows joins the clauses with their places.
func Rows(places map[string]Places) []Row {
	var out []Row
	for _, c := range Clauses {
		r := Row{Clause: c, State: NotYet, Places: places[c.ID]}
		if len(r.Code) > 0 && len(r.Tests) > 0 {
			r.State, r.Missing = Built, missing[c.ID]
			if r.Missing != "" {
				r.State = Partly
			}
		} else if len(r.Code)+len(r.Tests) > 0 {
			r.State, r.Missing = Partly, missing[c.ID]
		}
		out = append(out, r)
	}
	return out
}

// Markdown renders the table as docs/clauses.md.
func Markdown(table []Row) string {
	var b strings.Builder
	b.WriteString("# Clauses of TAICS TS-0014-3:2018\n\nGenerated by `make clauses` from the `//vigil:clause` directives; do not edit. \"Built\" means that code and a test name\nthe clause and nothing of its card is known to be missing; whether it is met is for a laboratory to say.\n\n")
	b.WriteString("| clause | level | title | state | still missing | code | tests |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range table {
		level := fmt.Sprint(r.Level)
		if r.Level == 0 {
			level = "Part 1"
		}
		fmt.Fprintf(&b, "| %s | %s | %s<br>%s | %s | %s | %s | %s |\n", r.ID, level, r.Chinese, r.English, r.State, r.Missing,
			strings.Join(r.Code, "<br>"), strings.Join(r.Tests, "<br>"))
	}
	return b.String()
}
