package catalogue

import (
	"crypto/aes"
	"crypto/rand"
	"sync"

	"github.com/ncruces/go-sqlite3/vfs"
	xtsvfs "github.com/ncruces/go-sqlite3/vfs/xts"
	"golang.org/x/crypto/xts" //nolint:depguard // the mode of operation alone; AES is crypto/aes. The database's file layer asks for this type.
)

// pageLayer is the name of the file layer below the database: the module's,
// but with AES-256 for temporary files too, which it gives AES-128.
const pageLayer = "vigil-xts"

var registerPages = sync.OnceFunc(func() { vfs.Register(pageLayer, xtsvfs.Wrap(vfs.Find(""), pages{})) })

// pages makes the ciphers of AES-256-XTS (NIST SP 800-38E): keys of 64 bytes,
// sectors of 512.
type pages struct{}

// KDF is asked for keys of temporary files; passphrases are not used.
func (pages) KDF(string) []byte {
	key := make([]byte, 64)
	rand.Read(key) // never fails: crypto/rand ends the process first
	return key
}

// XTS refuses keys of any other length.
func (pages) XTS(key []byte) *xts.Cipher {
	if len(key) != 64 {
		return nil
	}
	c, err := xts.NewCipher(aes.NewCipher, key)
	if err != nil {
		return nil
	}
	return c
}
