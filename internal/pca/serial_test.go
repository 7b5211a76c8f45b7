package pca

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestParseSerial(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0f1e": "0f1e", "F1E": "0f1e", "00:0F:1e": "0f1e", "000f1e": "0f1e", "f:1e": "0f1e",
		"0": "", "00:00": "", "": "",
		strings.Repeat("f", 40): strings.Repeat("f", 40), "00" + strings.Repeat("f", 40): strings.Repeat("f", 40),
	} {
		if b, err := ParseSerial(text); err != nil || hex.EncodeToString(b) != want {
			t.Errorf("%q is %x, %v", text, b, err)
		}
	}
	for _, text := range []string{"0x1", "-1", "g", " 1", "1f.", strings.Repeat("f", 41)} {
		if b, err := ParseSerial(text); err == nil {
			t.Errorf("%q is taken for %x", text, b)
		}
	}
}
