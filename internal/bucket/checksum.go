package bucket

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/minio/crc64nvme"
)

// Checksum is the CRC64NVME of b as S3 writes it: base64 of its eight bytes.
func Checksum(b []byte) string { return encodeCRC(crc64nvme.Checksum(b)) }

func encodeCRC(crc uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, crc))
}

// Combine is the checksum of the object that the parts make up, from theirs
// (FULL_OBJECT).
func Combine(parts []Part) (string, error) {
	var crc uint64
	for _, p := range parts {
		b, err := base64.StdEncoding.DecodeString(p.Checksum)
		if err != nil || len(b) != 8 {
			return "", fmt.Errorf("checksum %q of part %d is not a CRC64NVME", p.Checksum, p.Number)
		}
		crc = combine(crc, binary.BigEndian.Uint64(b), p.Size)
	}
	return encodeCRC(crc), nil
}

// combine is the CRC of A followed by B, given the CRC of A, the CRC of B and
// the length of B in bytes: appending n bytes to A is a linear map on its CRC
// over GF(2), the n-th power of the map of one byte.
func combine(a, b uint64, n int64) uint64 {
	step := zeroByte()
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			a = apply(&step, a)
		}
		step = square(&step)
	}
	return a ^ b
}

// polynomial is that of CRC64NVME, reflected.
const polynomial = 0x9a6c9329ac4bc9b5

// A matrix holds the images of the 64 unit vectors.
type matrix [64]uint64

// zeroByte is the map that a zero byte makes on the register.
func zeroByte() matrix {
	var bit matrix
	bit[0] = polynomial
	for i := 1; i < 64; i++ {
		bit[i] = 1 << (i - 1)
	}
	for range 3 { // one bit, squared three times, is eight bits
		bit = square(&bit)
	}
	return bit
}

func apply(m *matrix, v uint64) (sum uint64) {
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 == 1 {
			sum ^= m[i]
		}
	}
	return sum
}

func square(m *matrix) (s matrix) {
	for i := range m {
		s[i] = apply(m, m[i])
	}
	return s
}
