package local

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/crc64nvme"
)

// Checksum algorithms under S3's names.
const (
	algCRC32     = "CRC32"
	algCRC32C    = "CRC32C"
	algCRC64NVME = "CRC64NVME"
	algSHA1      = "SHA1"
	algSHA256    = "SHA256"

	typeComposite  = "COMPOSITE"
	typeFullObject = "FULL_OBJECT"
)

var algorithms = [...]string{algCRC32, algCRC32C, algCRC64NVME, algSHA1, algSHA256}

// newHash returns the hash of an algorithm, nil for an unknown one.
func newHash(algorithm string) hash.Hash {
	switch algorithm {
	case algCRC32:
		return crc32.NewIEEE()
	case algCRC32C:
		return crc32.New(crc32.MakeTable(crc32.Castagnoli))
	case algCRC64NVME:
		return crc64nvme.New()
	case algSHA1:
		return sha1.New()
	case algSHA256:
		return sha256.New()
	}
	return nil
}

func checksumHeader(algorithm string) string {
	return "X-Amz-Checksum-" + strings.ToLower(algorithm)
}

func encodeChecksum(sum []byte) string { return base64.StdEncoding.EncodeToString(sum) }

func encodeCRC64(v uint64) string {
	return encodeChecksum(binary.BigEndian.AppendUint64(nil, v))
}

// polynomial combines the CRCs of two neighbouring byte strings into the CRC
// of their concatenation without reading them, as zlib's crc32_combine.
type polynomial struct {
	width uint
	poly  uint64     // reflected
	pow   [64]uint64 // x^(2^k) modulo the polynomial
}

var (
	polyCRC32  = newPolynomial(32, uint64(crc32.IEEE))
	polyCRC32C = newPolynomial(32, uint64(crc32.Castagnoli))
	polyCRC64  = newPolynomial(64, crc64nvme.NVME)
)

func newPolynomial(width uint, poly uint64) *polynomial {
	p := &polynomial{width: width, poly: poly}
	p.pow[0] = 1 << (width - 2)
	for k := 1; k < len(p.pow); k++ {
		p.pow[k] = p.mul(p.pow[k-1], p.pow[k-1])
	}
	return p
}

func (p *polynomial) mul(a, b uint64) uint64 {
	var r uint64
	for m := uint64(1) << (p.width - 1); m != 0; m >>= 1 {
		if a&m != 0 {
			r ^= b
		}
		if b&1 != 0 {
			b = b>>1 ^ p.poly
		} else {
			b >>= 1
		}
	}
	return r
}

// combine returns the CRC of A followed by B, where B is size bytes long.
func (p *polynomial) combine(a, b uint64, size int64) uint64 {
	x := uint64(1) << (p.width - 1)
	for k, n := 3, uint64(size); n != 0; k, n = k+1, n>>1 { // 2^3 bits a byte
		if n&1 != 0 {
			x = p.mul(p.pow[k], x)
		}
	}
	return p.mul(x, a) ^ b
}

func combineCRC64(a, b uint64, size int64) uint64 { return polyCRC64.combine(a, b, size) }

// objectChecksum returns the checksum of an object of parts: of the type
// COMPOSITE the checksum of the parts' checksums, otherwise the CRC of the
// whole, computed from the parts' CRCs. ok is false when a part has none.
func objectChecksum(algorithm, kind string, parts []part) (value string, ok bool) {
	if algorithm == algCRC64NVME {
		var crc uint64
		for i := range parts {
			crc = combineCRC64(crc, parts[i].crc64, parts[i].size)
		}
		return encodeCRC64(crc), true
	}
	if kind == typeComposite {
		h := newHash(algorithm)
		for i := range parts {
			sum, err := base64.StdEncoding.DecodeString(parts[i].checksum)
			if err != nil || len(sum) != h.Size() {
				return "", false
			}
			h.Write(sum)
		}
		return encodeChecksum(h.Sum(nil)) + "-" + strconv.Itoa(len(parts)), true
	}
	p := polyCRC32
	if algorithm == algCRC32C {
		p = polyCRC32C
	}
	var crc uint64
	for i := range parts {
		sum, err := base64.StdEncoding.DecodeString(parts[i].checksum)
		if err != nil || len(sum) != 4 {
			return "", false
		}
		crc = p.combine(crc, uint64(binary.BigEndian.Uint32(sum)), parts[i].size)
	}
	return encodeChecksum(binary.BigEndian.AppendUint32(nil, uint32(crc))), true
}

// declaredChecksum finds the checksum that a request carries in a header, or
// announces in a trailer (then value is empty and trailer is true).
func declaredChecksum(h http.Header) (algorithm, value string, trailer bool, err error) {
	for _, a := range algorithms {
		v := h.Get(checksumHeader(a))
		if v == "" {
			continue
		}
		if algorithm != "" {
			return "", "", false, errorf("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		if !validChecksum(a, v) {
			return "", "", false, errorf("InvalidRequest", "Value for %s header is invalid.", strings.ToLower(checksumHeader(a)))
		}
		algorithm, value = a, v
	}
	for _, name := range strings.Split(h.Get("X-Amz-Trailer"), ",") {
		name = strings.TrimSpace(name)
		if name == "" {
			continue
		}
		found := false
		for _, a := range algorithms {
			if strings.EqualFold(name, checksumHeader(a)) {
				if algorithm != "" {
					return "", "", false, errorf("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
				}
				algorithm, trailer, found = a, true, true
			}
		}
		if !found {
			return "", "", false, errorf("InvalidRequest", "The value specified in the x-amz-trailer header is not supported")
		}
	}
	sdk := h.Get("X-Amz-Sdk-Checksum-Algorithm")
	if sdk != "" {
		if newHash(strings.ToUpper(sdk)) == nil {
			return "", "", false, errorf("InvalidRequest", "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
		}
		if algorithm != "" && !strings.EqualFold(sdk, algorithm) {
			return "", "", false, errorf("InvalidRequest", "Value for x-amz-sdk-checksum-algorithm header is invalid.")
		}
	}
	return algorithm, value, trailer, nil
}

func validChecksum(algorithm, value string) bool {
	sum, err := base64.StdEncoding.DecodeString(value)
	return err == nil && len(sum) == newHash(algorithm).Size()
}

// declaredMD5 decodes Content-MD5; nil when the request has none.
func declaredMD5(h http.Header) ([]byte, error) {
	v := h.Get("Content-Md5")
	if v == "" {
		return nil, nil
	}
	sum, err := base64.StdEncoding.DecodeString(v)
	if err != nil || len(sum) != md5.Size {
		return nil, errorf("InvalidDigest", "The Content-MD5 you specified is not valid.")
	}
	return sum, nil
}
