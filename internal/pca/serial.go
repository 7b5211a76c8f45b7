package pca

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// MaxSerial is the most octets a serial number has (RFC 5280 4.1.2.2).
const MaxSerial = 20

// ParseSerial reads a serial number as people and clients write it: hexadecimal,
// either case, with or without colons and leading zeros, of odd length too.
// It gives the magnitude without leading zeros, of at most MaxSerial octets; that
// of zero is empty.
func ParseSerial(text string) ([]byte, error) {
	digits := strings.TrimLeft(strings.ReplaceAll(text, ":", ""), "0")
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("serial number %.80q: %w", text, err)
	}
	if len(b) > MaxSerial {
		return nil, fmt.Errorf("serial number of %d octets", len(b))
	}
	return b, nil
}
