package console

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/pca"
)

const (
	eventPage = 50
	// eventTime is how long one request looks for what is neither an issuance
	// nor a revocation, give or take a block.
	eventTime = time.Second

	// actionGetProof is what the logs' own endpoints need for entries.
	actionGetProof = "pcaaudit:GetProof"
)

// Event is an entry of a log in words.
type Event struct {
	Index  uint64    `json:"index"`
	Time   time.Time `json:"time"`
	Type   string    `json:"type"`
	Label  string    `json:"label"`
	Detail string    `json:"detail"`
	Serial string    `json:"serial,omitempty"`
}

// events is GET events: the entries of a log, newest first. With kind=administrative
// those of certificates are left out; since the others may lie far apart, a page
// may then be short, or empty, and yet have a cursor.
func (c *Console) events(ctx context.Context, in *request) (any, error) {
	arn, err := c.authority(ctx, actionGetProof, in.Get("ca"))
	if err != nil {
		return nil, err
	}
	if _, _, err := c.cfg.Authorities.Record(ctx, arn); err != nil {
		return nil, err
	}
	head, err := c.cfg.Entries.LogHead(ctx, arn.CA)
	if err != nil {
		return nil, fmt.Errorf("reading the head of log %s: %w", arn.CA, err)
	}
	end := head.Size
	if text := in.Get("cursor"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || n > head.Size {
			return nil, pca.Errorf(pca.ValidationException, "The cursor is not one of this log.")
		}
		end = n
	}
	administrative := in.Get("kind") == "administrative"
	found := []Event{} // newest first
	for start := time.Now(); end > 0 && len(found) < eventPage && time.Since(start) < eventTime; {
		lo := (end - 1) / certlog.BlockSize * certlog.BlockSize
		if !administrative {
			lo = max(lo, end-min(end, eventPage-uint64(len(found))))
		}
		batch, err := c.readEvents(ctx, arn.CA, lo, end, administrative)
		if err != nil {
			return nil, err
		}
		found, end = append(found, batch...), lo
	}
	if len(found) > eventPage {
		found = found[:eventPage]
		end = found[eventPage-1].Index
	}
	cursor := ""
	if end > 0 {
		cursor = strconv.FormatUint(end, 10)
	}
	return map[string]any{"events": found, "cursor": cursor}, nil
}

// readEvents reads the entries [lo, hi) of a log, newest first.
func (c *Console) readEvents(ctx context.Context, ca string, lo, hi uint64, administrative bool) (batch []Event, err error) {
	var e certlog.Entry
	err = c.cfg.Entries.LogEntries(ctx, ca, lo, hi, func(index uint64, b []byte) error {
		if err := e.Decode(b); err != nil {
			return fmt.Errorf("entry %d of log %s: %w", index, ca, err)
		}
		if !administrative || e.Type != certlog.TypeIssue && e.Type != certlog.TypeRevoke {
			batch = append(batch, event(index, &e))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the log %s: %w", ca, err)
	}
	slices.Reverse(batch)
	return batch, nil
}

// event puts an entry into words; it keeps nothing of e's bytes.
func event(index uint64, e *certlog.Entry) Event {
	out := Event{Index: index, Time: time.UnixMilli(e.Time).UTC()}
	label := strings.ToValidUTF8(string(e.Label), "\uFFFD")
	switch e.Type {
	case certlog.TypeGenesis:
		out.Type, out.Label, out.Detail = "GENESIS", "The log begins", label
	case certlog.TypeIssue:
		out.Type, out.Label = "ISSUE", "Certificate issued"
		out.Detail, out.Serial = strings.ToValidUTF8(string(e.Subject), "\uFFFD"), rendering.Serial(e.Serial)
	case certlog.TypeRevoke:
		out.Type, out.Label = "REVOKE", "Certificate revoked"
		out.Detail, out.Serial = rendering.Reason(e.Reason), rendering.Serial(e.Serial)
	case certlog.TypeCRL:
		out.Type, out.Label, out.Detail = "CRL", "CRL signed", "Number "+new(big.Int).SetBytes(e.Number).String()+", of the first "+strconv.FormatUint(e.Covered, 10)+" entries"
	case certlog.TypeSign:
		out.Type, out.Label, out.Detail = "SIGN", "The CA's key signed "+label, "SHA-256 "+hex.EncodeToString(e.Digest[:])
		switch label {
		case "csr":
			out.Label = "Certificate signing request made"
		case certlog.LabelEndorsement:
			out.Label = "The log's signing key endorsed"
		}
	case certlog.TypeReport:
		out.Type, out.Label, out.Detail = "REPORT", "Audit report created", label+" ("+strings.ToValidUTF8(string(e.Extra), "\uFFFD")+")"
	case certlog.TypeKey:
		out.Type, out.Label, out.Detail = "KEY", "The log's signing key changed", label
	case certlog.TypeRecovery:
		out.Type, out.Label, out.Detail = "RECOVERY", "The log was recovered", label
	}
	return out
}
