package rendering

import "unicode/utf8"

// A JSON report is JSONStart, the rows with JSONSeparator between them, and
// JSONEnd; without rows it is JSONEmpty (audit-report.md 8.1). Start and
// separator are of equal length and differ in their first byte, so rows can be
// rendered before it is known which of them is the first.
const (
	JSONStart     = "[\n"
	JSONSeparator = ",\n"
	JSONEnd       = "\n]\n"
	JSONEmpty     = "[\n]\n"
)

// AppendJSON appends a row as compact JSON, without a line end: the members
// of audit-report.md 8.1 in their order, absent ones left out, escaped only
// where RFC 8259 requires. Bytes that are not UTF-8 become U+FFFD.
func (e *Encoder) AppendJSON(dst []byte, row *Row) []byte {
	dst = append(dst, `{"awsAccountId":"`...)
	dst = e.account.append(dst, row.Account)
	if len(row.Principal) > 0 {
		dst = append(dst, `","requestedByServicePrincipal":"`...)
		dst = appendJSONString(dst, row.Principal)
	}
	dst = append(dst, `","certificateArn":"`...)
	dst = e.caARN.append(dst, row.CAARN)
	dst = append(dst, `/certificate/`...)
	dst = appendHex(dst, row.Serial)
	dst = append(dst, `","serial":"`...)
	dst = appendSerial(dst, row.Serial)
	dst = append(dst, `","subject":"`...)
	dst = appendJSONString(dst, row.Subject)
	dst = append(dst, `","notBefore":"`...)
	dst = e.notBefore.appendTime(dst, row.NotBefore)
	dst = append(dst, `","notAfter":"`...)
	dst = e.notAfter.appendTime(dst, row.NotAfter)
	dst = append(dst, `","issuedAt":"`...)
	dst = e.issuedAt.appendTime(dst, row.IssuedAt)
	if row.Revoked {
		dst = append(dst, `","revokedAt":"`...)
		dst = e.revokedAt.appendTime(dst, row.RevokedAt)
		dst = append(dst, `","revocationReason":"`...)
		dst = append(dst, Reason(row.Reason)...)
	}
	dst = append(dst, `","templateArn":"`...)
	dst = e.template.append(dst, row.Template)
	return append(dst, `"}`...)
}

func appendJSONString(dst, s []byte) []byte {
	if plainJSON(s) {
		return append(dst, s...)
	}
	return escapeJSON(dst, s)
}

func escapeJSON(dst, s []byte) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += n
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	return append(dst, s[start:]...)
}
