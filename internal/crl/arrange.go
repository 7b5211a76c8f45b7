package crl

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// place is where a list is, by what relying parties and the bucket call it.
type place struct{ bucket, key string }

func placeOf(c *store.CRL) place { return place{c.Bucket, c.Key} }

// keyOf is the key of a CA's complete list, or with a name of that partition
// (revocation.md 4.3).
func keyOf(rec *store.CertificateAuthority, cfg *pca.CrlConfiguration, name string) string {
	switch {
	case cfg.CustomPath != "" && name != "":
		return cfg.CustomPath + "/" + name + ".crl"
	case cfg.CustomPath != "":
		return cfg.CustomPath + "/" + rec.ID + ".crl"
	case name != "":
		return "crl/" + rec.ID + "/" + name + ".crl"
	}
	return "crl/" + rec.ID + ".crl"
}

// escaped is a key as the path of a URI has it: what a CustomPath may have and
// the path would not mean literally.
func escaped(key string) string {
	return strings.NewReplacer("%", "%25", "?", "%3F", "+", "%2B").Replace(key)
}

// uriOf is the URI of a key's distribution point (revocation.md 4.4).
func (s *Service) uriOf(cfg *pca.CrlConfiguration, key string) string {
	key = escaped(key)
	if cfg.CustomCname != "" {
		return "http://" + strings.TrimSuffix(cfg.CustomCname, "/") + "/" + key
	}
	return s.cfg.URL(cfg.S3BucketName, key, cfg.S3ObjectAcl == pca.S3ObjectAcl_BUCKET_OWNER_FULL_CONTROL)
}

// deltaOf is what a list's delta has in the place of its key or its URI.
func deltaOf(text string) string {
	i := strings.LastIndex(text, ".crl")
	if i < 0 {
		return text + "-delta.crl"
	}
	return text[:i] + "-delta" + text[i:]
}

// partitionName makes the name of a partition: 11 letters and digits.
func partitionName() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	var name []byte
	for len(name) < 11 {
		var b [16]byte
		rand.Read(b[:]) // never fails
		for _, v := range b {
			// 62 letters: numbers beyond a multiple of that are not used, so that all are as likely.
			if v < 4*byte(len(letters)) && len(name) < 11 {
				name = append(name, letters[int(v)%len(letters)])
			}
		}
	}
	return string(name)
}

// newList is a list that certificates are bound to from now on.
func (s *Service) newList(rec *store.CertificateAuthority, id int64, name string) *store.CRL {
	cfg := rec.Revocation.CrlConfiguration
	key := keyOf(rec, cfg, name)
	return &store.CRL{
		CA: rec.ID, ID: id, Name: name, Partitioned: name != "", Open: true, Active: true,
		Bucket: cfg.S3BucketName, Key: key, ACL: aclOf(cfg), URI: s.uriOf(cfg, key), Days: int(cfg.ExpirationInDays),
	}
}

func aclOf(cfg *pca.CrlConfiguration) pca.S3ObjectAcl {
	if cfg.S3ObjectAcl == "" {
		return pca.S3ObjectAcl_PUBLIC_READ
	}
	return cfg.S3ObjectAcl
}

// arrange gives what is to be added and changed so that the lists of a CA are
// those of its configuration: one that new certificates are bound to, and all
// that unexpired certificates refer to. again has all that
// are kept looked at now: what the CA may sign, or its name, may be another.
func (s *Service) arrange(rec *store.CertificateAuthority, lists []*store.CRL, now time.Time, again bool) (add, change []*store.CRL) {
	cfg := rec.Revocation.CrlConfiguration
	if cfg == nil || !cfg.Enabled { // what was written stays
		for _, c := range lists {
			if c.Open || c.Active {
				next := *c
				stop(&next)
				change = append(change, &next)
			}
		}
		return nil, change
	}
	open := s.openOf(rec, lists)
	if open == nil {
		var id int64
		if n := len(lists); n > 0 {
			id = lists[n-1].ID
		}
		name := ""
		if cfg.CrlType == pca.CrlType_PARTITIONED {
			name = partitionName()
		}
		open = s.newList(rec, id+1, name)
		if len(lists) > 0 { // the configuration changed; the first of a CA waits for a certificate
			open.Due = now
		}
		add = append(add, open)
	}
	complete := keyOf(rec, cfg, "")
	kept := map[place]*store.CRL{placeOf(open): open}
	needed := map[place]int{}  // lists that certificates refer to, by place
	public := map[place]bool{} // and who refer to them read them in the bucket
	for _, c := range lists {
		if c.Certificates > 0 && c.NotAfter.After(now) {
			needed[placeOf(c)]++
			public[placeOf(c)] = public[placeOf(c)] || c.ACL == pca.S3ObjectAcl_PUBLIC_READ && s.inBucket(c)
		}
	}
	for i := len(lists) - 1; i >= 0; i-- { // of one place the newest is kept
		c, next := lists[i], *lists[i]
		at := placeOf(c)
		if kept[at] == nil && c.Certificates > 0 && c.NotAfter.After(now) {
			kept[at] = c
		}
		next.Open = c == open
		next.Active = kept[at] == c
		others := needed[at]
		if c.Certificates > 0 && c.NotAfter.After(now) {
			others--
		}
		switch {
		case c.Name != "":
		case others > 0: // one object cannot be the partition of two URIs
			next.Partitioned = false
		case cfg.CrlType != pca.CrlType_PARTITIONED:
			if c == open {
				next.Partitioned = false
			}
		case c.Open || c.Bucket == cfg.S3BucketName && c.Key == complete:
			next.Partitioned = true
		}
		if !next.Active {
			stop(&next)
		} else {
			next.Days = int(cfg.ExpirationInDays)
			if c.Bucket == cfg.S3BucketName {
				next.ACL = aclOf(cfg)
			}
			if public[at] { // what they name stays readable
				next.ACL = pca.S3ObjectAcl_PUBLIC_READ
			}
			made := c.Base.Number > 0 && c.Base.Certificate > 0
			if !c.Active || c.Partitioned != next.Partitioned || c.Days != next.Days || c.ACL != next.ACL || made && c.Base.Certificate != rec.Installed {
				renew(&next, now)
				if needed[at] > 0 { // be it by certificates of another list, whose place this one takes
					next.Due = now
				}
			} else if again && (c.Certificates > 0 || c.Base.Number > 0) {
				next.Due = now
			}
		}
		if next.Open != c.Open || next.Active != c.Active || next.Partitioned != c.Partitioned || next.Days != c.Days || next.ACL != c.ACL || !next.Due.Equal(c.Due) {
			change = append(change, &next)
		}
	}
	return add, change
}

// inBucket tells whether a list's URI leads to its bucket, and to nothing else
// when nobody may read there.
func (s *Service) inBucket(c *store.CRL) bool {
	uri := s.cfg.URL(c.Bucket, escaped(c.Key), false)
	return c.URI == uri && uri != s.cfg.URL(c.Bucket, escaped(c.Key), true)
}

// openOf is the list that certificates are bound to under a CA's
// configuration; nil when there is to be a new one.
func (s *Service) openOf(rec *store.CertificateAuthority, lists []*store.CRL) (open *store.CRL) {
	cfg := rec.Revocation.CrlConfiguration
	partitioned := cfg.CrlType == pca.CrlType_PARTITIONED
	for _, c := range lists {
		if (c.Name != "") != partitioned || c.Bucket != cfg.S3BucketName || c.Key != keyOf(rec, cfg, c.Name) || c.URI != s.uriOf(cfg, c.Key) || c.Certificates >= s.cfg.PartitionSize && partitioned {
			continue
		}
		if open == nil || c.Open || !open.Open {
			open = c
		}
	}
	return open
}

// stop ends what is done for a list.
func stop(c *store.CRL) {
	c.Open, c.Active = false, false
	c.Due, c.FailedAt, c.Failures, c.Failure = time.Time{}, time.Time{}, 0, ""
}

// renew has a list made anew that was made, or that certificates refer to.
func renew(c *store.CRL, now time.Time) {
	c.FailedAt, c.Failures, c.Failure = time.Time{}, 0, ""
	if c.Base.Number != 0 || c.Certificates != 0 {
		c.Base.Certificate = 0 // of no certificate of the CA: it is not what it should be
		c.Due = now
	}
}

// lists reads all lists of a CA, by ID.
func (s *Service) lists(ctx context.Context, id string) (lists []*store.CRL, err error) {
	const page = 1000
	var after int64
	for {
		some, err := s.cfg.Records.CRLs(ctx, id, after, page)
		if err != nil {
			return nil, err
		}
		lists = append(lists, some...)
		if len(some) < page {
			return lists, nil
		}
		after = some[page-1].ID
	}
}

// reconcile makes the lists of a CA those of its record. a is locked. A crash
// in it leaves them as they were: the next one who looks at the CA does it.
func (s *Service) reconcile(ctx context.Context, a *authority, rec *store.CertificateAuthority) error {
	if a.rec != nil && rec.Version <= a.rec.Version {
		return nil
	}
	for {
		lists, err := s.lists(ctx, rec.ID)
		if err != nil {
			return err
		}
		again := a.rec != nil && (a.rec.Status != rec.Status || a.rec.Installed != rec.Installed)
		add, change := s.arrange(rec, lists, s.cfg.Now(), again)
		if len(add)+len(change) > 0 {
			err := s.cfg.Records.AddCRLs(ctx, add, change)
			if errors.Is(err, store.ErrConflict) { // one of them was made meanwhile
				continue
			}
			if err != nil {
				return err
			}
			s.awake()
		}
		a.rec, a.open, a.last = rec, nil, 0
		for _, c := range append(lists, add...) {
			a.last = max(a.last, c.ID)
			a.number = max(a.number, c.Base.Number, c.Delta.Number)
		}
		for _, c := range change {
			if !c.Active {
				s.metrics.forget(rec.ARN, partitionLabel(c))
			}
		}
		if cfg := rec.Revocation.CrlConfiguration; cfg != nil && cfg.Enabled {
			if a.open = s.openOf(rec, lists); a.open == nil {
				a.open = add[0]
			}
			a.bound = a.open.Certificates
		}
		if a.open == nil || a.open.Name != "" {
			s.metrics.forget(rec.ARN, "-")
		}
		return nil
	}
}

// rotate opens a new partition in the place of the one that is full. a is
// locked. The full one is looked at soon, since certificates that were given a
// place in it may not be committed yet.
func (s *Service) rotate(ctx context.Context, a *authority) error {
	next := s.newList(a.rec, a.last+1, partitionName())
	for {
		full, err := s.cfg.Records.CRL(ctx, a.rec.ID, a.open.ID)
		if err != nil {
			return err
		}
		full.Open = false
		if full.Due.IsZero() {
			full.Due = s.cfg.Now()
		}
		err = s.cfg.Records.AddCRLs(ctx, []*store.CRL{next}, []*store.CRL{full})
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return fmt.Errorf("opening a partition: %w", err)
		}
		a.open, a.last, a.bound = next, next.ID, 0
		return nil
	}
}
