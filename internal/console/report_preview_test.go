package console

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"

	"chirograph.dev/internal/certlog/rendering"
)

// TestPreviewOfCommas: an object that took a report's place does not make its
// preview take much memory, whatever it is. It is not parallel: it counts what
// the process allocates.
func TestPreviewOfCommas(t *testing.T) {
	object := strings.NewReader(rendering.CSVHeader + string(bytes.Repeat([]byte{','}, 4<<20)))
	p := &Preview{Columns: strings.Split(strings.TrimSuffix(rendering.CSVHeader, "\n"), ",")}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := p.readCSV(io.NewSectionReader(object, 0, previewBytes)); err == nil {
		t.Errorf("it is a report: %d rows", len(p.Rows))
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 60 {
		t.Errorf("%d MiB for a preview", n)
	}
}
