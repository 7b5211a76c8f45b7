package console

import (
	"context"
	"fmt"

	"chirograph.dev/internal/inventory"
)

// DayCounts are what happened on a day, in UTC.
type DayCounts struct {
	Date    string `json:"date"`
	Issued  uint64 `json:"issued"`
	Revoked uint64 `json:"revoked"`
}

// DayCount is how many certificates expire on a day, in UTC.
type DayCount struct {
	Date  string `json:"date"`
	Count uint64 `json:"count"`
}

// NameCount is how many certificates have something in common.
type NameCount struct {
	Name  string `json:"name"`
	Count uint64 `json:"count"`
}

// Statistics are what the charts of a CA show.
type Statistics struct {
	Issued        uint64      `json:"issued"`
	Revoked       uint64      `json:"revoked"`
	Valid         uint64      `json:"valid"`
	Expired       uint64      `json:"expired"`
	PerDay        []DayCounts `json:"perDay"`
	Expiring      []DayCount  `json:"expiring"`
	Templates     []NameCount `json:"templates"`
	KeyAlgorithms []NameCount `json:"keyAlgorithms"`
	Behind        uint64      `json:"behind"` // entries of the log that are not counted yet
}

// statistics is GET statistics.
func (c *Console) statistics(ctx context.Context, in *request) (any, error) {
	arn, err := c.existing(ctx, actionSearch, in.Get("ca"))
	if err != nil {
		return nil, err
	}
	n, err := c.cfg.Inventory.Statistics(ctx, arn.CA)
	if err != nil {
		return nil, fmt.Errorf("counting the certificates of CA %s: %w", arn.CA, err)
	}
	out := &Statistics{
		Issued: n.Issued, Revoked: n.Revoked, Valid: n.Valid, Expired: n.Expired, Behind: n.Behind,
		PerDay: []DayCounts{}, Expiring: []DayCount{}, Templates: shownCounts(n.Templates), KeyAlgorithms: shownCounts(n.KeyAlgorithms),
	}
	for _, d := range n.PerDay {
		out.PerDay = append(out.PerDay, DayCounts(d))
	}
	for _, d := range n.Expiring {
		out.Expiring = append(out.Expiring, DayCount(d))
	}
	return out, nil
}

func shownCounts(counts []inventory.NameCount) []NameCount {
	shown := []NameCount{}
	for _, n := range counts {
		shown = append(shown, NameCount(n))
	}
	return shown
}
