package proof

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog/rendering"
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
	Offset int64  `json:"offset"` // in the file
	Serial string `json:"serial"` // in hex, as in the certificate's ARN
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

// sample draws the rows that were asked for. The file is the one that was
// signed.
func (v *verifier) sample(ctx context.Context) error {
	n := v.Sample.rows(v.m.Issued)
	if n == 0 {
		return nil
	}
	drawn := DrawSample(v.m.Root, v.Sample.Nonce, v.m.Issued, n)
	offsets := v.offsets()
	var row uint64 // first of the part
	for i, p := range v.m.Parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := v.samplePart(drawn, row, row+p.Rows, offsets[i], p.Length); err != nil {
			return err
		}
		row += p.Rows
	}
	return nil
}

// samplePart gives the rows of a part that were drawn.
func (v *verifier) samplePart(drawn []uint64, row, end uint64, offset, length int64) error {
	is := func(row uint64) bool { return drawn[row/64]>>(row%64)&1 != 0 }
	any := row
	for any < end && !is(any) {
		any++
	}
	if any == end {
		return nil
	}
	csv := v.m.Format == "CSV"
	r := bufio.NewReaderSize(io.NewSectionReader(v.Report, offset, length), 1<<16)
	var line []byte
	for row < end {
		line = line[:0]
		for {
			s, err := r.ReadSlice('\n')
			line = append(line, s...)
			offset += int64(len(s))
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if err != nil && !(errors.Is(err, io.EOF) && len(line) > 0) {
				return fmt.Errorf("%w: drawing row %d: %w", ErrCannotCheck, row+1, err)
			}
			if !csv || bytes.Count(line, []byte{'"'})%2 == 0 || err != nil { // a line end inside of quotes is none
				break
			}
		}
		text := bytes.TrimSuffix(line, []byte("\n"))
		if !csv {
			text = bytes.TrimSuffix(text, []byte(","))
		}
		if !csv && (len(text) == 0 || text[0] != '{') || csv && string(line) == rendering.CSVHeader {
			continue // what stands between and before the rows
		}
		if is(row) {
			s := SampledRow{Row: row + 1, Offset: offset - int64(len(line)), Serial: serialOf(text, csv), Text: string(text)}
			if v.OnSample == nil {
				v.res.Sample = append(v.res.Sample, s)
			} else if err := v.OnSample(s); err != nil {
				return err
			}
		}
		row++
	}
	return nil
}

// serialOf finds the serial in a row: what follows the last slash of the ARN.
func serialOf(text []byte, csv bool) string {
	_, rest, _ := bytes.Cut(text, []byte("/certificate/"))
	end := byte('"')
	if csv {
		end = ','
	}
	serial, _, _ := bytes.Cut(rest, []byte{end})
	return string(serial)
}
