package console

import (
	"context"
	"fmt"
)

// statistics is GET statistics: what the charts of a CA show.
func (c *Console) statistics(ctx context.Context, in *request) (any, error) {
	arn, err := c.existing(ctx, actionSearch, in.Get("ca"))
	if err != nil {
		return nil, err
	}
	n, err := c.cfg.Inventory.Statistics(ctx, arn.CA)
	if err != nil {
		return nil, fmt.Errorf("counting the certificates of CA %s: %w", arn.CA, err)
	}
	return n, nil
}
