package proof

import (
	"crypto/sha256"
	"encoding/binary"
	"math"

	"golang.org/x/mod/sumdb/tlog"
)

// Sample says how many rows to draw: Count of them, or Percent of all,
// rounded up. The zero value draws none.
type Sample struct {
	Count   uint64
	Percent float64
	Nonce   string // chosen by the auditor after the report was made
}

// SampledRow is a row that was drawn.
type SampledRow struct {
	Row    uint64 `json:"row"`    // 1 is the first row of the report
	Index  uint64 `json:"index"`  // of the log entry that issued the certificate
	Offset int64  `json:"offset"` // in the file
	Serial string `json:"serial"` // as the report shows it
	Text   string `json:"text"`   // the row as it stands in the report
}

// rows is how many rows of a report of total are drawn.
func (s Sample) rows(total uint64) uint64 {
	n := s.Count
	if s.Percent > 0 {
		n = max(n, uint64(math.Ceil(float64(total)*min(s.Percent, 100)/100)))
	}
	return min(n, total)
}

// DrawSample draws n different rows of a report with that many rows; the first
// row is 0. Anybody can draw them again: for the counters 0, 1, 2, ... take the
// first 8 bytes, big-endian, of SHA-256(root of the tree || nonce || counter as
// 8 bytes, big-endian) as a number x; pass over x when it is at or above the
// largest multiple of rows that 64 bits can count to; else x mod rows is drawn,
// unless it has been; until there are n. Who made the log cannot know the
// nonce, who chooses the nonce cannot change the root. The result has one bit
// for each row.
func DrawSample(root tlog.Hash, nonce string, rows, n uint64) []uint64 {
	drawn := make([]uint64, (rows+63)/64)
	if rows == 0 {
		return drawn
	}
	buf := append(root[:], nonce...)
	buf = append(buf, make([]byte, 8)...)
	over := (math.MaxUint64%rows + 1) % rows // numbers of the last, incomplete multiple
	for counter := uint64(0); n > 0; counter++ {
		binary.BigEndian.PutUint64(buf[len(buf)-8:], counter)
		h := sha256.Sum256(buf)
		x := binary.BigEndian.Uint64(h[:])
		if over > 0 && x >= -over {
			continue
		}
		if w, b := x%rows/64, uint64(1)<<(x%rows%64); drawn[w]&b == 0 {
			drawn[w] |= b
			n--
		}
	}
	return drawn
}
