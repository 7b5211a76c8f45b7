package rendering

import (
	"bytes"
	"encoding/binary"
	"time"
	"unicode/utf8"
)

// reasons are the API's names of the CRLReason numbers; empty where RFC 5280
// has none or the API does not take it.
var reasons = [...]string{
	0:  "UNSPECIFIED",
	1:  "KEY_COMPROMISE",
	2:  "CERTIFICATE_AUTHORITY_COMPROMISE",
	3:  "AFFILIATION_CHANGED",
	4:  "SUPERSEDED",
	5:  "CESSATION_OF_OPERATION",
	9:  "PRIVILEGE_WITHDRAWN",
	10: "A_A_COMPROMISE",
}

// Reason is the API's name of a CRLReason; UNSPECIFIED for one that it does
// not know, which those who render refuse before.
func Reason(n uint8) string {
	if KnownReason(n) {
		return reasons[n]
	}
	return reasons[0]
}

// KnownReason tells whether a CRLReason has a name in the API. An entry with
// another one cannot be rendered.
func KnownReason(n uint8) bool { return int(n) < len(reasons) && reasons[n] != "" }

// Encoder writes rows; it remembers the dates of the one before, and which of
// its texts need no escaping in JSON. The zero value is ready. Not safe for
// concurrent use.
type Encoder struct {
	notBefore, notAfter, issuedAt, revokedAt day
	account, caARN, template                 plain
}

// plain holds the last text that can stand in a JSON string as it is, since
// neighbours in a log mostly have the same. The zero value is ready.
type plain struct {
	size int
	text [160]byte
}

func (p *plain) append(dst, s []byte) []byte {
	if bytes.Equal(s, p.text[:p.size]) {
		return append(dst, s...)
	}
	if !plainJSON(s) {
		return escapeJSON(dst, s)
	}
	if len(s) <= len(p.text) {
		p.size = copy(p.text[:], s)
	}
	return append(dst, s...)
}

const timeLayout = "2006-01-02T15:04:05-0700"

// A day holds the last date that was written, since neighbours in a log mostly
// share theirs. The zero value is ready.
type day struct {
	number int64 // days since 0000-01-01, plus one; 0 is none
	text   [24]byte
}

// appendTime appends a time as audit-report.md 8.3 writes it, the same as
// time.Time.AppendFormat.
func (d *day) appendTime(dst []byte, sec int64) []byte {
	// 0000-01-01 to 9999-12-31; what lies outside has no four-digit year.
	const first, last = -62167219200, 253402300799
	if sec < first || sec > last {
		return time.Unix(sec, 0).UTC().AppendFormat(dst, timeLayout)
	}
	s := uint64(sec - first)
	number, rest := s/86400, uint32(s%86400)
	if d.number != int64(number)+1 {
		d.number = int64(number) + 1
		date := time.Unix(sec, 0).UTC().AppendFormat(d.text[:0], timeLayout)
		copy(d.text[:], date)
	}
	dst = append(dst, d.text[:]...)
	b := (*[24]byte)(dst[len(dst)-24:])
	put2(b[11:13], rest/3600)
	put2(b[14:16], rest/60%60)
	put2(b[17:19], rest%60)
	return dst
}

const decimals = "00010203040506070809101112131415161718192021222324252627282930313233343536373839" +
	"40414243444546474849505152535455565758596061626364656667686970717273747576777879" +
	"8081828384858687888990919293949596979899"

func put2(b []byte, n uint32) {
	_ = b[1]
	b[0], b[1] = decimals[2*n], decimals[2*n+1]
}

const hexDigits = "0123456789abcdef"

// appendHex appends the serial as lower-case hex, padded on the left to 16 octets.
func appendHex(dst, serial []byte) []byte {
	if len(serial) == 16 {
		dst = append(dst, "00000000000000000000000000000000"...)
		b := (*[32]byte)(dst[len(dst)-32:])
		s := (*[16]byte)(serial)
		for i, c := range s {
			b[2*i], b[2*i+1] = hexDigits[c>>4], hexDigits[c&15]
		}
		return dst
	}
	for n := len(serial); n < 16; n++ {
		dst = append(dst, '0', '0')
	}
	for _, c := range serial {
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}

// appendSerial appends the serial with a colon between octets (audit-report.md 8.4).
func appendSerial(dst, serial []byte) []byte {
	if len(serial) == 16 {
		dst = append(dst, "00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:"...)
		b := (*[48]byte)(dst[len(dst)-48:])
		s := (*[16]byte)(serial)
		for i, c := range s {
			b[3*i], b[3*i+1] = hexDigits[c>>4], hexDigits[c&15]
		}
		return dst[:len(dst)-1]
	}
	for n := len(serial); n < 16; n++ {
		dst = append(dst, '0', '0', ':')
	}
	for _, c := range serial {
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15], ':')
	}
	return dst[:len(dst)-1]
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// below marks, with the high bit of its byte, the first byte of w that is less
// than n (n <= 128), and maybe later ones. A byte of 128 or more is not less.
func below(w uint64, n byte) uint64 { return (w - ones*uint64(n)) &^ w & highs }

// has marks the first byte of w that equals c, and maybe later ones.
func has(w uint64, c byte) uint64 {
	w ^= ones * uint64(c)
	return (w - ones) &^ w & highs
}

// plainJSON tells whether b can stand in a JSON string as it is and is ASCII.
func plainJSON(b []byte) bool {
	var special uint64
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		q, e := w^ones*'"', w^ones*'\\'
		// High bit: not ASCII; and, exact for the lowest byte that has it,
		// below space, a quote, a backslash.
		special |= w | (w-ones*' ')&^w | (q-ones)&^q | (e-ones)&^e
	}
	if special&highs != 0 {
		return false
	}
	for _, c := range b {
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// csvClass says what a CSV field holds.
type csvClass uint8

const (
	csvComma csvClass = 1 << iota
	csvQuote
	csvControl // something below space, so maybe CR or LF
	csvWide    // something beyond ASCII
)

func classifyCSV(b []byte) (class csvClass) {
	var comma, quote, control, wide uint64
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		wide |= w & highs
		control |= below(w, ' ')
		quote |= has(w, '"')
		comma |= has(w, ',')
	}
	for _, c := range b {
		switch {
		case c >= utf8.RuneSelf:
			wide = 1
		case c < ' ':
			control = 1
		case c == '"':
			quote = 1
		case c == ',':
			comma = 1
		}
	}
	if comma != 0 {
		class |= csvComma
	}
	if quote != 0 {
		class |= csvQuote
	}
	if control != 0 {
		class |= csvControl
	}
	if wide != 0 {
		class |= csvWide
	}
	return class
}

// Serial is a serial number as reports have it.
func Serial(serial []byte) string { return string(appendSerial(nil, serial)) }
