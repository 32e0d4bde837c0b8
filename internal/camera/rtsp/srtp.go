package rtsp

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/mikey"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
)

// The one protection of RFC 3711 that cameras offer: AES-128 in counter mode,
// HMAC-SHA-1 with a tag of 80 bits; key and salt make the 30 bytes of MIKEY.
const (
	srtpProfile = srtp.ProtectionProfileAes128CmHmacSha1_80
	srtpKey     = 16
	srtpSalt    = 14
)

// A protection is SRTP in one direction of one track.
type protection struct {
	ctx    *srtp.Context
	header rtp.Header // scratch of open

	in   []byte // argument and results of run, so that a packet needs no closure
	out  []byte
	err  error
	rtcp bool
	run  func()
}

func newProtection(keySalt, mki []byte) (p *protection, err error) {
	if len(keySalt) != srtpKey+srtpSalt {
		return nil, fmt.Errorf("key of %d bytes", len(keySalt))
	}
	p = new(protection)
	var opts []srtp.ContextOption
	if len(mki) > 0 {
		opts = append(opts, srtp.MasterKeyIndicator(mki))
	}
	legacySRTP(func() { p.ctx, err = srtp.CreateContext(keySalt[:srtpKey], keySalt[srtpKey:], srtpProfile, opts...) })
	if err != nil {
		return nil, err
	}
	p.run = func() {
		if p.rtcp {
			p.out, p.err = p.ctx.DecryptRTCP(p.in, p.in, nil)
		} else {
			p.out, p.err = p.ctx.DecryptRTP(p.in, p.in, &p.header)
		}
	}
	return p, nil
}

// open decrypts in place and checks; what it returns is a part of b.
func (p *protection) open(b []byte, isRTCP bool) ([]byte, error) {
	p.in, p.rtcp = b, isRTCP
	p.header.CSRC, p.header.Extensions = p.header.CSRC[:0], p.header.Extensions[:0]
	legacySRTP(p.run)
	return p.out, p.err
}

// sealRTCP protects a report of ours.
func (p *protection) sealRTCP(plain []byte) (out []byte, err error) {
	legacySRTP(func() { out, err = p.ctx.EncryptRTCP(nil, plain, &rtcp.Header{}) })
	return out, err
}

// opening returns the protection that a MIKEY message of the camera describes
// (RFC 3830; transport by RFC 4567), and the source it is for, if it says so.
func opening(m *mikey.Message) (p *protection, ssrc uint32, hasSSRC bool, err error) {
	var key, mki []byte
	for _, payload := range m.Payloads {
		switch v := payload.(type) {
		case *mikey.PayloadSP:
			if err := policy(v); err != nil {
				return nil, 0, false, err
			}
		case *mikey.PayloadKEMAC:
			if len(v.SubPayloads) != 1 {
				return nil, 0, false, fmt.Errorf("%d keys", len(v.SubPayloads))
			}
			key, mki = v.SubPayloads[0].KeyData, v.SubPayloads[0].SPI
		}
	}
	if key == nil {
		return nil, 0, false, errors.New("no key")
	}
	if p, err = newProtection(key, mki); err != nil {
		return nil, 0, false, err
	}
	for _, e := range m.Header.CSIDMapInfo {
		p.ctx.SetROC(e.SSRC, e.ROC)
		if e.SSRC != 0 {
			ssrc, hasSSRC = e.SSRC, len(m.Header.CSIDMapInfo) == 1
		}
	}
	return p, ssrc, hasSSRC, nil
}

// policy refuses what srtpProfile is not. A value that is not given is the
// default, which is srtpProfile (RFC 3830 section 6.10.1).
func policy(sp *mikey.PayloadSP) error {
	want := map[mikey.PayloadSPPolicyParamType]byte{
		mikey.PayloadSPPolicyParamTypeEncrAlg:           1,
		mikey.PayloadSPPolicyParamTypeSessionEncrKeyLen: srtpKey,
		mikey.PayloadSPPolicyParamTypeAuthAlg:           1,
		mikey.PayloadSPPolicyParamTypeSRTPEncrOffOn:     1,
		mikey.PayloadSPPolicyParamTypeSRTCPEncrOffOn:    1,
		mikey.PayloadSPPolicyParamTypeSRTPAuthOffOn:     1,
		mikey.PayloadSPPolicyParamTypeAuthTagLen:        10,
	}
	for _, p := range sp.PolicyParams {
		if w, ok := want[p.Type]; ok && (len(p.Value) != 1 || p.Value[0] != w) {
			return fmt.Errorf("policy %d is %x", p.Type, p.Value)
		}
	}
	return nil
}

// A clientKey is the key for our direction; Axis cameras want to use it for
// theirs too.
type clientKey struct {
	key, mki []byte
	sealing  *protection
}

func newClientKey(withMKI bool) (*clientKey, error) {
	k := &clientKey{key: make([]byte, srtpKey+srtpSalt)}
	rand.Read(k.key)
	if withMKI {
		k.mki = make([]byte, 4)
		rand.Read(k.mki)
	}
	var err error
	k.sealing, err = newProtection(k.key, k.mki)
	return k, err
}

// header returns the KeyMgmt header of a SETUP (RFC 4567 section 4.2).
func (k *clientKey) header(url string, ssrc uint32) (string, error) {
	random := make([]byte, 20)
	rand.Read(random)
	kv := mikey.SubPayloadKeyDataKVNull
	if len(k.mki) > 0 {
		kv = mikey.SubPayloadKeyDataKVSPI
	}
	param := func(t mikey.PayloadSPPolicyParamType, v byte) mikey.PayloadSPPolicyParam {
		return mikey.PayloadSPPolicyParam{Type: t, Value: []byte{v}}
	}
	m := mikey.Message{
		Header: mikey.Header{
			Version:     1,
			CSBID:       binary.BigEndian.Uint32(random[16:]),
			CSIDMapInfo: []mikey.SRTPIDEntry{{SSRC: ssrc}},
		},
		Payloads: []mikey.Payload{
			&mikey.PayloadT{TSValue: ntpTime(time.Now())},
			&mikey.PayloadRAND{Data: random[:16]},
			&mikey.PayloadSP{PolicyParams: []mikey.PayloadSPPolicyParam{
				param(mikey.PayloadSPPolicyParamTypeEncrAlg, 1),
				param(mikey.PayloadSPPolicyParamTypeSessionEncrKeyLen, srtpKey),
				param(mikey.PayloadSPPolicyParamTypeAuthAlg, 1),
				param(mikey.PayloadSPPolicyParamTypeSessionAuthKeyLen, 20),
				param(mikey.PayloadSPPolicyParamTypeSRTPEncrOffOn, 1),
				param(mikey.PayloadSPPolicyParamTypeSRTCPEncrOffOn, 1),
				param(mikey.PayloadSPPolicyParamTypeSRTPAuthOffOn, 1),
				param(mikey.PayloadSPPolicyParamTypeAuthTagLen, 10),
			}},
			&mikey.PayloadKEMAC{SubPayloads: []*mikey.SubPayloadKeyData{{
				Type: mikey.SubPayloadKeyDataTypeTEK, KV: kv, KeyData: k.key, SPI: k.mki,
			}}},
		},
	}
	b, err := m.Marshal()
	if err != nil {
		return "", err
	}
	return `prot=mikey;uri="` + url + `";data="` + base64.StdEncoding.EncodeToString(b) + `"`, nil
}

// ntpTime is t as NTP has it: seconds since 1900 and a fraction.
func ntpTime(t time.Time) uint64 {
	return uint64(t.Unix()+ntpToUnix)<<32 | uint64(t.Nanosecond())<<32/1_000_000_000
}

// ntpToUnix are the seconds from 1900 to 1970.
const ntpToUnix = 2208988800

// parseKeyMgmt reads the MIKEY message of a KeyMgmt header.
func parseKeyMgmt(v string) (*mikey.Message, error) {
	for p := range strings.SplitSeq(v, ";") {
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "data") {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimSpace(value), `"`))
		if err != nil {
			return nil, err
		}
		m := new(mikey.Message)
		return m, m.Unmarshal(b)
	}
	return nil, errors.New("no data")
}
