package certlog

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Sealing is retried after sealRetry when it fails, and looked for every
// sealCheck whatever this process appended: other nodes fill blocks too.
const (
	sealRetry = 5 * time.Second
	sealCheck = time.Minute
)

// Run packs blocks as they fill up, beginning with those that an earlier
// process left, until ctx ends; then it returns nil. A failure is logged and
// tried again. With a Store that is no Sealer there is nothing to do.
func (l *Log) Run(ctx context.Context) error {
	sealer, ok := l.store.(Sealer)
	if !ok {
		<-ctx.Done()
		return nil
	}
	for {
		wait := sealCheck
		if err := sealAll(ctx, sealer); err != nil && ctx.Err() == nil {
			l.log.ErrorContext(ctx, "sealing full log blocks", slog.Any("error", err))
			wait = sealRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-l.full:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// sealAll seals what is full now, oldest first in each log.
func sealAll(ctx context.Context, s Sealer) error {
	logs, err := s.UnsealedBlocks(ctx)
	if err != nil {
		return fmt.Errorf("looking for full blocks: %w", err)
	}
	for _, ca := range slices.Sorted(maps.Keys(logs)) {
		blocks := logs[ca]
		slices.Sort(blocks)
		for _, block := range blocks {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.SealLog(ctx, ca, block); err != nil {
				return fmt.Errorf("sealing block %d of log %s: %w", block, ca, err)
			}
		}
	}
	return nil
}
