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
// (FULL_OBJECT). Appending n bytes is a linear map over GF(2) on the CRC of what
// is before them, the n-th power of the map of one byte.
func Combine(parts []Part) (string, error) {
	var crc uint64
	steps := []matrix{zeroByte()} // of 1, 2, 4, ... bytes; squaring is what costs, with thousands of parts
	for _, p := range parts {
		b, err := base64.StdEncoding.DecodeString(p.Checksum)
		if err != nil || len(b) != 8 {
			return "", fmt.Errorf("checksum %q of part %d is not a CRC64NVME", p.Checksum, p.Number)
		}
		for n, i := p.Size, 0; n > 0; n, i = n>>1, i+1 {
			if i == len(steps) {
				steps = append(steps, square(&steps[i-1]))
			}
			if n&1 == 1 {
				crc = apply(&steps[i], crc)
			}
		}
		crc ^= binary.BigEndian.Uint64(b)
	}
	return encodeCRC(crc), nil
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
