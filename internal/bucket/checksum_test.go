package bucket

import (
	"math/rand/v2"
	"testing"
)

func TestCombine(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var whole []byte
		var parts []Part
		for n := range 1 + rnd.IntN(6) {
			b := make([]byte, rnd.IntN(5000))
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			parts = append(parts, Part{Number: int32(n + 1), Size: int64(len(b)), Checksum: Checksum(b)})
			whole = append(whole, b...)
		}
		got, err := Combine(parts)
		if err != nil || got != Checksum(whole) {
			t.Fatalf("%d parts, %d bytes: %s, %v; want %s", len(parts), len(whole), got, err, Checksum(whole))
		}
	}
	if got := Checksum([]byte("123456789")); got != "rosUhgp5mIg=" { // check value 0xae8b14860a799888 of the CRC catalogue
		t.Errorf("check value %s", got)
	}
	if _, err := Combine([]Part{{Number: 3, Checksum: "x"}}); err == nil {
		t.Error("accepted a checksum that is none")
	}
}
