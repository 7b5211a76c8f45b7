package auditreport

import (
	"encoding/binary"
	"math/bits"
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

// reason is the API's name of a CRLReason; UNSPECIFIED for one that it does
// not know, which the renderer refuses before.
func reason(n uint8) string {
	if int(n) < len(reasons) && reasons[n] != "" {
		return reasons[n]
	}
	return reasons[0]
}

func knownReason(n uint8) bool { return int(n) < len(reasons) && reasons[n] != "" }

const timeLayout = "2006-01-02T15:04:05-0700"

// appendTime appends a time as audit-report.md 8.3 writes it, the same as
// time.Time.AppendFormat in a tenth of its time.
func appendTime(dst []byte, sec int64) []byte {
	// 0000-01-01 to 9999-12-31; what lies outside has no four-digit year.
	const first, last = -62167219200, 253402300799
	if sec < first || sec > last {
		return time.Unix(sec, 0).UTC().AppendFormat(dst, timeLayout)
	}
	s := uint64(sec - first)
	days, rest := uint32(s/86400), uint32(s%86400)

	// Civil date from days since 0000-03-01 by the integer method of Neri and
	// Schneider ("Euclidean affine functions", 2023), shifted by a whole
	// 400-year cycle so that January and February of year 0 fit.
	const cycle = 146097
	n1 := 4*(days+cycle-60) + 3
	century, n2 := n1/cycle, n1%cycle|3
	hi, lo := bits.Mul32(2939745, n2)
	year := 100*century + hi - 400
	yday := lo / 2939745 / 4
	n3 := 2141*yday + 197913
	month, day := n3>>16, (n3&0xffff)/2141+1
	if yday >= 306 {
		year, month = year+1, month-12
	}

	var b [24]byte
	put2(b[0:], year/100)
	put2(b[2:], year%100)
	b[4] = '-'
	put2(b[5:], month)
	b[7] = '-'
	put2(b[8:], day)
	b[10] = 'T'
	put2(b[11:], rest/3600)
	b[13] = ':'
	put2(b[14:], rest/60%60)
	b[16] = ':'
	put2(b[17:], rest%60)
	copy(b[19:], "+0000")
	return append(dst, b[:]...)
}

func put2(b []byte, n uint32) {
	_ = b[1]
	b[0], b[1] = '0'+byte(n/10), '0'+byte(n%10)
}

const hexDigits = "0123456789abcdef"

// appendHex appends the serial as lower-case hex, padded on the left to 16 octets.
func appendHex(dst, serial []byte) []byte {
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
	for ; len(b) >= 8; b = b[8:] {
		w := binary.LittleEndian.Uint64(b)
		if w&highs|below(w, ' ')|has(w, '"')|has(w, '\\') != 0 {
			return false
		}
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
