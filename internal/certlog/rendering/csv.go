package rendering

import (
	"bytes"
	"unicode/utf8"
)

// CSVHeader is the first line of every CSV report (audit-report.md 8.2).
const CSVHeader = "awsAccountId,requestedByServicePrincipal,certificateArn,serial,subject,notBefore,notAfter,issuedAt,revokedAt,revocationReason,templateArn\n"

// AppendCSV appends a row as one RFC 4180 record of eleven fields with its
// line end, LF. A field is quoted only when it holds a comma, a quote, CR or
// LF, or begins or ends with a space. Bytes that are not UTF-8 become U+FFFD.
func (e *Encoder) AppendCSV(dst []byte, row *Row) []byte {
	dst = appendCSVField(dst, row.Account)
	dst = append(dst, ',')
	dst = appendCSVField(dst, row.Principal)
	dst = append(dst, ',')
	dst = appendCSVField(dst, row.CAARN) // an ARN has nothing to quote
	dst = append(dst, `/certificate/`...)
	dst = appendHex(dst, row.Serial)
	dst = append(dst, ',')
	dst = appendSerial(dst, row.Serial)
	dst = append(dst, ',')
	dst = appendCSVField(dst, row.Subject)
	dst = append(dst, ',')
	dst = e.notBefore.appendTime(dst, row.NotBefore)
	dst = append(dst, ',')
	dst = e.notAfter.appendTime(dst, row.NotAfter)
	dst = append(dst, ',')
	dst = e.issuedAt.appendTime(dst, row.IssuedAt)
	dst = append(dst, ',')
	if row.Revoked {
		dst = e.revokedAt.appendTime(dst, row.RevokedAt)
		dst = append(dst, ',')
		dst = append(dst, Reason(row.Reason)...)
		dst = append(dst, ',')
	} else {
		dst = append(dst, ',', ',')
	}
	dst = appendCSVField(dst, row.Template)
	return append(dst, '\n')
}

func appendCSVField(dst, s []byte) []byte {
	if len(s) == 0 {
		return dst
	}
	class := classifyCSV(s)
	quoted := class&(csvComma|csvQuote) != 0 || s[0] == ' ' || s[len(s)-1] == ' ' ||
		class&csvControl != 0 && bytes.ContainsAny(s, "\r\n")
	if quoted {
		dst = append(dst, '"')
	}
	if class&(csvQuote|csvWide) == 0 {
		dst = append(dst, s...)
	} else {
		dst = appendValid(dst, s, quoted)
	}
	if quoted {
		dst = append(dst, '"')
	}
	return dst
}

// appendValid appends s with bytes that are not UTF-8 replaced and, when
// quoted, quotes doubled.
func appendValid(dst, s []byte, quoted bool) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' && quoted:
			dst = append(append(dst, s[start:i+1]...), '"')
			i++
			start = i
		case c < utf8.RuneSelf:
			i++
		default:
			r, n := utf8.DecodeRune(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += n
		}
	}
	return append(dst, s[start:]...)
}
