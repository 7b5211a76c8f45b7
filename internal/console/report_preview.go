package console

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/pca"
)

const (
	previewRows = 20
	// previewBytes is how much of a report is read for its first rows; a row
	// that does not fit is not shown. It is little, since an object that took the
	// report's place can be one row of nothing but commas: forty times as much in memory.
	previewBytes = 256 << 10
	// maxPreviews are made at a time, since each holds some megabytes; others
	// wait for previewWait.
	maxPreviews = 4
	previewWait = 10 * time.Second
)

// Preview is the beginning of a report; of both formats the columns are those
// of CSV.
type Preview struct {
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
	More    bool       `json:"more"`
}

// reportPreview is GET report/preview.
func (c *Console) reportPreview(ctx context.Context, in *request) (any, error) {
	r, err := c.found(ctx, actionGetReport, in.Get("ca"), in.Get("report"))
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, previewWait)
	defer cancel()
	if err := c.previews.Acquire(waiting, 1); err != nil {
		return nil, &pca.Error{Code: pca.ServiceUnavailable, Message: "Too many reports are looked at. Try again in a few seconds.", Err: err}
	}
	defer c.previews.Release(1)
	o, err := c.cfg.Reports.Open(ctx, r, "")
	if err != nil {
		return nil, err
	}
	beginning := io.NewSectionReader(o, 0, min(o.Size(), previewBytes))
	p := &Preview{Columns: strings.Split(strings.TrimSuffix(rendering.CSVHeader, "\n"), ","), Rows: [][]string{}}
	if r.Format == pca.AuditReportResponseFormat_JSON {
		err = p.readJSON(beginning)
	} else {
		err = p.readCSV(beginning)
	}
	// The beginning may end inside of a row.
	if errors.Is(err, errEnds) && o.Size() > previewBytes {
		p.More, err = true, nil
	}
	if err != nil {
		return nil, &pca.Error{Code: pca.RequestFailedException, Message: fmt.Sprintf("The object s3://%s/%s cannot be read as the report that was written there. Verify the report: it may have been changed.", r.Bucket, r.Key), Err: err}
	}
	return p, nil
}

// readJSON takes the first rows of an array of objects.
func (p *Preview) readJSON(r io.Reader) error {
	d := json.NewDecoder(r)
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		return fmt.Errorf("a report that does not begin with [: %w", errors.Join(err, errNotReport))
	}
	for d.More() {
		if len(p.Rows) == previewRows {
			p.More = true
			return nil
		}
		var members map[string]string
		if err := d.Decode(&members); errors.Is(err, io.ErrUnexpectedEOF) {
			return errEnds
		} else if err != nil {
			return fmt.Errorf("row %d: %w", len(p.Rows)+1, err)
		}
		row := make([]string, len(p.Columns))
		for i, name := range p.Columns {
			row[i] = members[name]
		}
		p.Rows = append(p.Rows, row)
	}
	if _, err := d.Token(); err != nil { // the end of the array
		return errEnds
	}
	return nil
}

var (
	errNotReport = errors.New("not a report")
	errEnds      = errors.New("the report ends early")
)

// readCSV takes the first rows after the header. Of a row that is cut through
// nothing tells; so the last line has to have its end.
func (p *Preview) readCSV(r *io.SectionReader) error {
	lines := csv.NewReader(r)
	lines.FieldsPerRecord = len(p.Columns)
	header, err := lines.Read()
	if err != nil || strings.Join(header, ",") != strings.Join(p.Columns, ",") {
		return fmt.Errorf("a report without its header: %w", errors.Join(err, errNotReport))
	}
	for {
		row, err := lines.Read()
		switch {
		case errors.Is(err, io.EOF):
			return p.whole(r)
		case err != nil && lines.InputOffset() >= r.Size():
			return errEnds
		case err != nil:
			return fmt.Errorf("row %d: %w", len(p.Rows)+1, err)
		case len(p.Rows) == previewRows:
			p.More = true
			return nil
		}
		p.Rows = append(p.Rows, row)
	}
}

// whole takes the last row back when it has no line end.
func (p *Preview) whole(r *io.SectionReader) error {
	var last [1]byte
	if _, err := r.ReadAt(last[:], r.Size()-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		p.Rows = p.Rows[:max(0, len(p.Rows)-1)]
		return errEnds
	}
	return nil
}
