package certlog

import "encoding/binary"

// AppendBundled appends an entry in the form of a C2SP entry bundle: its
// length in two bytes, big-endian, and its bytes. A pack of a block holds the
// block's entries in this form. Part of the format.
func AppendBundled(dst, entry []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(entry))), entry...)
}

// CutBundled takes the first entry off a bundle; ok is false when there is no
// whole one.
func CutBundled(bundle []byte) (entry, rest []byte, ok bool) {
	if len(bundle) < 2 {
		return nil, bundle, false
	}
	n := 2 + int(binary.BigEndian.Uint16(bundle))
	if len(bundle) < n {
		return nil, bundle, false
	}
	return bundle[2:n:n], bundle[n:], true
}
