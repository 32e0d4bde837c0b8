package catalogue

import (
	"strconv"

	"github.com/ncruces/go-sqlite3"

	"vigil/internal/media"
)

// schemaVersion is in PRAGMA user_version; another one means: make it anew.
const schemaVersion = 4

// The schema. Times are ns since the epoch, durations ns. Streams have small
// numbers in the order in which the ledger names them first. Segments lie by
// stream and start, so a day is read in one piece and appending touches one page
// for each stream; leaf orders those that start at the same time. A removed
// segment leaves the table; what was removed is a stretch in removed. Slots have sums, by the day of UTC (density.go). At most so much of
// a slot is short of footage: a segment makes that less by what it has behind the end of all others; the rest of it
// was again. And more by as much when it is removed. A day has the smallest leaf of the segments that start in it, noLeaf if none does. So the segments of a slot that is full need not be read,
// whatever the clock did.
const schema = `
CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE streams (sid INTEGER PRIMARY KEY, stream BLOB NOT NULL UNIQUE, camera BLOB NOT NULL,
  segments INT NOT NULL, bytes INT NOT NULL, recorded INT NOT NULL, last INT NOT NULL, longest INT NOT NULL);
CREATE TABLE segments (sid INT, start INT, leaf INT, id BLOB NOT NULL, len INT NOT NULL, first INT NOT NULL, span INT NOT NULL,
  bytes INT NOT NULL, cause TEXT, recovered INT, again INT NOT NULL, PRIMARY KEY (sid, start, leaf)) WITHOUT ROWID;
CREATE TABLE gaps (sid INT, till INT, leaf INT, since INT NOT NULL, cause TEXT NOT NULL, lost INT NOT NULL,
  PRIMARY KEY (sid, till, leaf)) WITHOUT ROWID;
CREATE TABLE removed (sid INT, start INT, leaf INT, till INT NOT NULL, cause TEXT NOT NULL, segments INT NOT NULL,
  PRIMARY KEY (sid, start, leaf)) WITHOUT ROWID;
CREATE TABLE density (sid INT, day INT, slots BLOB NOT NULL, least INT NOT NULL, PRIMARY KEY (sid, day)) WITHOUT ROWID;
CREATE TABLE holds (id BLOB PRIMARY KEY, camera BLOB NOT NULL, since INT NOT NULL, till INT NOT NULL, at INT NOT NULL,
  by TEXT NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;
`

// idIndex finds segments by the head of their id.
const (
	createIDs = `CREATE INDEX IF NOT EXISTS ids ON segments (substr(id, 1, 6))`
	dropIDs   = `DROP INDEX IF EXISTS ids`
)

// prepareSchema makes or checks the schema.
func (c *conn) prepareSchema() error {
	version, tables := int64(0), int64(0)
	if err := c.query(`PRAGMA user_version`, func(s *sqlite3.Stmt) bool { version = s.ColumnInt64(0); return true }); err != nil {
		return err
	}
	if err := c.query(`SELECT count(*) FROM sqlite_schema`, func(s *sqlite3.Stmt) bool { tables = s.ColumnInt64(0); return true }); err != nil {
		return err
	}
	switch {
	case tables == 0:
		return c.db.Exec("BEGIN IMMEDIATE;" + schema + createIDs + "; PRAGMA user_version=" + strconv.Itoa(schemaVersion) + "; COMMIT")
	case version != schemaVersion:
		return errReplace
	}
	return nil
}

// A Segment is one row: a segment that is there. Times are ns since the epoch
// on our clock.
type Segment struct {
	Leaf        uint64 // its index in the ledger, where its digests are
	Segment     media.SegmentID
	Stream      media.StreamID
	Camera      media.CameraID
	Start, End  int64
	First, Last media.Ticks
	Bytes       int64
	EndCause    media.Cause
	Recovered   bool
}

const segmentColumns = `start, leaf, id, len, first, span, bytes, cause, recovered`

// scan reads a row of segmentColumns.
func (g *Segment) scan(s *sqlite3.Stmt) {
	g.Start, g.Leaf = s.ColumnInt64(0), uint64(s.ColumnInt64(1))
	copy(g.Segment[:], s.ColumnRawBlob(2))
	g.End = g.Start + s.ColumnInt64(3)
	g.First = media.Ticks(s.ColumnInt64(4))
	g.Last = g.First + media.Ticks(s.ColumnInt64(5))
	g.Bytes, g.EndCause, g.Recovered = s.ColumnInt64(6), cause(s.ColumnRawText(7)), s.ColumnBool(8)
}

// cause saves an allocation for the one that most segments have.
func cause(b []byte) media.Cause {
	if string(b) == string(media.CutLength) {
		return media.CutLength
	}
	return media.Cause(b)
}
