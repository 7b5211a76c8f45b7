package inventory

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// statisticsDays is how many days are told of one by one: the past ones end
// with today, the coming ones are so many after it.
const statisticsDays = 90

// maxNames bounds the lists of templates and key algorithms: the most frequent.
const maxNames = 100

// Statistics gives the statistics of a CA, by UUID. They come from counters that
// the follower keeps.
func (x *Index) Statistics(ctx context.Context, ca string) (s *Statistics, err error) {
	now := x.cfg.Now().Unix()
	err = x.snapshot(ctx, ca, func(c *conn, p place, behind uint64) error {
		s = &Statistics{Issued: p.issued, Revoked: p.revoked, Behind: behind}
		if err := s.perDay(ctx, c, p.number, floor(now, day)); err != nil {
			return err
		}
		if err := s.expiring(ctx, c, p.number, now); err != nil {
			return err
		}
		var err error
		if s.Templates, err = c.names(ctx, p.number, countTemplate); err != nil {
			return err
		}
		s.KeyAlgorithms, err = c.names(ctx, p.number, countAlgorithm)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the statistics of CA %s: %w", ca, err)
	}
	return s, nil
}

func date(days int64) string { return time.Unix(days*day, 0).UTC().Format(time.DateOnly) }

// perDay reads what happened until today.
func (s *Statistics) perDay(ctx context.Context, c *conn, log, today int64) error {
	first := today - statisticsDays + 1
	for d := first; d <= today; d++ {
		s.PerDay = append(s.PerDay, Day{Date: date(d)})
	}
	return c.each(ctx, func(rows *sql.Rows) error {
		var kind, key, n int64
		if err := rows.Scan(&kind, &key, &n); err != nil {
			return err
		}
		if kind == countIssued {
			s.PerDay[key-first].Issued = uint64(n)
		} else {
			s.PerDay[key-first].Revoked = uint64(n)
		}
		return nil
	}, "SELECT kind, key, n FROM counter WHERE log = ? AND kind IN (?, ?) AND key >= ? AND key <= ?", log, countIssued, countRevoked, first, today)
}

// expiring reads how much is valid and what expires when.
func (s *Statistics) expiring(ctx context.Context, c *conn, log, now int64) error {
	thisHour, today := floor(now, hour), floor(now, day)
	for d := today; d <= today+statisticsDays; d++ {
		s.Expiring = append(s.Expiring, DayCount{Date: date(d)})
	}
	return c.each(ctx, func(rows *sql.Rows) error {
		var key, n int64
		if err := rows.Scan(&key, &n); err != nil {
			return err
		}
		if key < thisHour {
			s.Expired += uint64(n)
			return nil
		}
		s.Valid += uint64(n)
		if d := floor(key*hour, day) - today; d <= statisticsDays {
			s.Expiring[d].Count += uint64(n)
		}
		return nil
	}, "SELECT key, n FROM counter WHERE log = ? AND kind = ?", log, countExpiring)
}

// names reads the counters of a kind that counts by name.
func (c *conn) names(ctx context.Context, log, kind int64) (list []NameCount, err error) {
	list = []NameCount{}
	err = c.each(ctx, func(rows *sql.Rows) error {
		var one NameCount
		err := rows.Scan(&one.Name, &one.Count)
		list = append(list, one)
		return err
	}, "SELECT key, n FROM counter WHERE log = ? AND kind = ? ORDER BY n DESC, key LIMIT ?", log, kind, maxNames)
	return list, err
}
