package rtsp

import (
	"crypto/fips140"
	"crypto/md5" //nolint:gosec // towards old cameras only, see below
	"encoding/hex"
)

// legacyMD5 is the one place where MD5 is used: a Digest answer (RFC 2617) to a
// camera that knows nothing newer, which most are. MD5 is no approved
// algorithm; Options.LegacyMD5 switches it off, and nothing but the log-in to
// that camera rests on it.
//
//vigil:exception approved-algorithms
func legacyMD5(s string) (digest string) {
	fips140.WithoutEnforcement(func() {
		sum := md5.Sum([]byte(s)) //nolint:gosec // as above
		digest = hex.EncodeToString(sum[:])
	})
	return digest
}

// legacySRTP runs f, which does or prepares the AES-CM with HMAC-SHA-1 of RFC
// 3711: what cameras mean by SRTP. The protection of the link is TLS; SRTP comes
// on top where a camera insists on it.
//
//vigil:exception approved-algorithms
func legacySRTP(f func()) { fips140.WithoutEnforcement(f) }
