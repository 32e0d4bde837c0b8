package alert

// A Kind is a fact that a person must know. Its texts are the keys
// alert.<kind> and alert.<kind>.detail (what to do) of package text.
type Kind string

// The kinds.
const (
	CameraLost       Kind = "camera-lost"       // object: camera; camera, why
	CameraUnsteady   Kind = "camera-unsteady"   // object: camera; camera, times, lost
	CameraClock      Kind = "camera-clock"      // object: camera; camera, offset
	RecordingStopped Kind = "recording-stopped" // object: camera; camera
	Overload         Kind = "overload"          // object: camera; camera, lost
	WorkerFelled     Kind = "worker-felled"     // object: camera; camera
	DiskTrouble      Kind = "disk-trouble"      // object: folder of the volume; state, cause, error
	VolumeNewer      Kind = "volume-newer"      // object: folder of the volume; state, cause, error
	VolumeTaken      Kind = "volume-taken"      // object: folder of the volume; state, cause, error
	SpaceLow         Kind = "space-low"         // object: folder of the volume; free, threshold
	SpaceHeld        Kind = "space-held"        // object: folder of the volume; free
	RetentionShort   Kind = "retention-short"   // object: camera; camera, days, wanted
	CommitFailed     Kind = "commit-failed"     // object: "ledger" or "audit"; error
	FileDamaged      Kind = "file-damaged"      // object: segment; camera, from, to, reason
	FileTampered     Kind = "file-tampered"     // object: segment; camera, seconds, from, to, reason
	FileMissing      Kind = "file-missing"      // object: segment; camera, from, to
	FileUnknown      Kind = "file-unknown"      // object: folder of the volume; file, reason
	LedgerShort      Kind = "ledger-short"      // object: folder; have, want
	LedgerForked     Kind = "ledger-forked"     // object: folder; have, want
	LedgerDamaged    Kind = "ledger-damaged"    // object: folder; error
	LedgerCopy       Kind = "ledger-copy"       // object: folder; error
	AuditFailing     Kind = "audit-failing"     // error
	AuditTampered    Kind = "audit-tampered"    // what, first, last
	AuditFull        Kind = "audit-full"        // percent
	ClockStep        Kind = "clock-step"        // step
	ClockFree        Kind = "clock-free"        //
	SignInFailures   Kind = "signin-failures"   // object: account or address; count
	AccountLocked    Kind = "account-locked"    // object: account; minutes
	CatalogueAnew    Kind = "catalogue-anew"    // error
	ChangesAnew      Kind = "changes-anew"      // file, error
	LayoutsAnew      Kind = "layouts-anew"      // file, error
	MarksAnew        Kind = "marks-anew"        // file, error
	ExportsAnew      Kind = "exports-anew"      // file, error
	BoardAnew        Kind = "board-anew"        // error
	KeyMissing       Kind = "key-missing"       // object: camera; camera, day
	KeysDamaged      Kind = "keys-damaged"      // object: file; error
	KeysRestored     Kind = "keys-restored"     // object: file; keys, volume
	Certificate      Kind = "certificate"       // days
	CertificateAnew  Kind = "certificate-anew"  // file
	UncleanStop      Kind = "unclean-stop"      // at
)

// A meaning says how grave a kind is and whether its object is a camera.
type meaning struct {
	alarm  bool // footage or its proof is in danger
	camera bool
}

var meanings = map[Kind]meaning{
	CameraLost: {true, true}, CameraUnsteady: {true, true}, CameraClock: {false, true}, RecordingStopped: {true, true}, Overload: {true, true}, WorkerFelled: {false, true},
	DiskTrouble: {true, false}, VolumeNewer: {true, false}, VolumeTaken: {true, false}, SpaceLow: {false, false}, SpaceHeld: {true, false}, RetentionShort: {false, true}, CommitFailed: {true, false},
	FileDamaged: {true, false}, FileTampered: {true, false}, FileMissing: {true, false}, FileUnknown: {false, false},
	LedgerShort: {true, false}, LedgerForked: {true, false}, LedgerDamaged: {true, false}, LedgerCopy: {false, false},
	AuditFailing: {true, false}, AuditTampered: {true, false}, AuditFull: {false, false},
	ClockStep: {false, false}, ClockFree: {false, false}, SignInFailures: {false, false}, AccountLocked: {false, false},
	CatalogueAnew: {false, false}, ChangesAnew: {false, false}, LayoutsAnew: {false, false}, MarksAnew: {false, false}, ExportsAnew: {false, false}, BoardAnew: {true, false}, KeyMissing: {true, true}, KeysDamaged: {true, false}, KeysRestored: {true, false}, Certificate: {false, false}, CertificateAnew: {true, false}, UncleanStop: {false, false},
}

// Alarm tells whether footage or its proof is in danger. A kind that is not
// known here is taken for grave.
func (k Kind) Alarm() bool {
	m, ok := meanings[k]
	return m.alarm || !ok
}
