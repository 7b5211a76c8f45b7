package console

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"

	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// Authority is a certificate authority with what is around it.
type Authority struct {
	*Summary
	LogSize     *uint64    `json:"logSize"`     // null: not the caller's to know
	Certificate *Decoded   `json:"certificate"` // installed; null: none
	Chain       []*Decoded `json:"chain"`
	Hierarchy   *Node      `json:"hierarchy"`
}

// Node is a CA in the picture of a hierarchy.
type Node struct {
	Subject  string  `json:"subject"`
	ARN      string  `json:"arn"` // empty: none of this server's that the caller may describe
	Status   string  `json:"status"`
	Type     string  `json:"type"`
	Current  bool    `json:"current"`
	Children []*Node `json:"children"`
}

// describe is GET authority.
func (c *Console) describe(ctx context.Context, in *request) (any, error) {
	arn, err := c.authority(ctx, actionDescribe, in.Get("ca"))
	if err != nil {
		return nil, err
	}
	described, err := c.cfg.Authorities.DescribeCertificateAuthority(ctx, &pca.DescribeCertificateAuthorityRequest{CertificateAuthorityArn: arn.CAARN()})
	if err != nil {
		return nil, err
	}
	rec, _, err := c.cfg.Authorities.Record(ctx, arn)
	if err != nil {
		return nil, err
	}
	p, err := caller(ctx)
	if err != nil {
		return nil, err
	}
	out := &Authority{Chain: []*Decoded{}}
	shared := p.Account != arn.Account
	if out.Summary, err = c.summary(ctx, described.CertificateAuthority, shared); err != nil {
		return nil, err
	}
	if !shared {
		head, err := c.cfg.Entries.LogHead(ctx, arn.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the head of log %s: %w", arn.CA, err)
		}
		out.LogSize = &head.Size
	}
	var chain []*issuance.Certificate // from the CA's own upwards
	if rec.Installed > 0 {
		installed, err := c.cfg.Records.InstalledCertificate(ctx, rec.ID, rec.Installed)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate of CA %s: %w", rec.ID, err)
		}
		own, err := decodeAll(installed.Certificate)
		if err != nil {
			return nil, err
		}
		if len(own) > 0 {
			out.Certificate = own[0]
		}
		if out.Chain, err = decodeAll(installed.Chain); err != nil {
			return nil, err
		}
		if chain, err = readAll(installed.Certificate + "\n" + installed.Chain); err != nil {
			return nil, err
		}
	}
	out.Hierarchy, err = c.hierarchy(ctx, rec, chain)
	return out, err
}

func readAll(text string) (list []*issuance.Certificate, err error) {
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		one, err := issuance.ReadCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading a certificate: %w", err)
		}
		list = append(list, one)
	}
	return list, nil
}

// installed is a CA with what the picture needs of its certificate.
type installed struct {
	rec *store.CertificateAuthority
	family
}

type family struct {
	generation int64 // of the certificate
	own        *issuance.Certificate
	issuer     []byte // SPKI of who signed it; its own for a root, and when the chain was not given
}

// families remembers what it read of the certificates that CAs have, by CA.
// Safe for concurrent use.
type families struct {
	mu sync.Mutex
	m  map[string]family
}

// of gives the family of a CA that has a certificate.
func (f *families) of(ctx context.Context, records Records, rec *store.CertificateAuthority) (family, error) {
	f.mu.Lock()
	known := f.m[rec.ID]
	f.mu.Unlock()
	if known.generation == rec.Installed {
		return known, nil
	}
	text, err := records.InstalledCertificate(ctx, rec.ID, rec.Installed)
	if err != nil {
		return known, fmt.Errorf("reading the certificate of CA %s: %w", rec.ID, err)
	}
	chain, err := readAll(text.Certificate + "\n" + text.Chain)
	if err == nil && len(chain) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return known, fmt.Errorf("reading the certificate of CA %s: %w", rec.ID, err)
	}
	known = family{generation: rec.Installed, own: chain[0], issuer: chain[min(1, len(chain)-1)].SPKI}
	f.mu.Lock()
	f.m[rec.ID] = known
	f.mu.Unlock()
	return known, nil
}

// hierarchy is the picture of what stands above and below a CA: above what its
// own chain says, below the CAs of this server that the caller may describe.
// CAs are told apart by their keys: one that got a new certificate is the same.
func (c *Console) hierarchy(ctx context.Context, rec *store.CertificateAuthority, chain []*issuance.Certificate) (*Node, error) {
	if len(chain) == 0 {
		subject, err := issuance.EncodeSubject(&rec.Configuration.Subject, true)
		if err != nil {
			return nil, fmt.Errorf("encoding the subject of CA %s: %w", rec.ID, err)
		}
		return c.node(ctx, &installed{rec: rec}, nameText(subject), rec.ID)
	}
	all, err := c.describable(ctx)
	if err != nil {
		return nil, err
	}
	byKey, below := map[string]*installed{}, map[string][]*installed{}
	for _, one := range all {
		// Of several CAs with one key, which imports can make, the one that is
		// looked at counts.
		if key := string(one.own.SPKI); byKey[key] == nil || one.rec.ID == rec.ID {
			byKey[key] = one
		}
		if !bytes.Equal(one.issuer, one.own.SPKI) {
			below[string(one.issuer)] = append(below[string(one.issuer)], one)
		}
	}
	seen := map[string]bool{}
	var draw func(own *issuance.Certificate, above int) (*Node, error)
	// draw draws a CA and what is below it; above is its place in the chain, or -1.
	draw = func(own *issuance.Certificate, above int) (*Node, error) {
		key := string(own.SPKI)
		seen[key] = true
		n, err := c.node(ctx, byKey[key], string(own.Subject), rec.ID)
		if err != nil {
			return nil, err
		}
		n.Current = bytes.Equal(own.SPKI, chain[0].SPKI)
		if above > 0 && !seen[string(chain[above-1].SPKI)] {
			child, err := draw(chain[above-1], above-1)
			if err != nil {
				return nil, err
			}
			n.Children = append(n.Children, child)
		}
		for _, one := range below[key] {
			if seen[string(one.own.SPKI)] {
				continue
			}
			child, err := draw(one.own, -1)
			if err != nil {
				return nil, err
			}
			n.Children = append(n.Children, child)
		}
		return n, nil
	}
	return draw(chain[len(chain)-1], len(chain)-1)
}

// node is a CA of this server, or one of which a chain alone is known.
func (c *Console) node(ctx context.Context, one *installed, subject, current string) (*Node, error) {
	n := &Node{Subject: subject, Children: []*Node{}}
	if one == nil {
		return n, nil
	}
	arn, err := pca.ParseCAARN(one.rec.ARN, c.cfg.API.Partition)
	if err != nil {
		return nil, err
	}
	rec, status, err := c.cfg.Authorities.Record(ctx, arn)
	if gone(err) { // meanwhile
		return n, nil
	}
	if err != nil {
		return nil, err
	}
	n.ARN, n.Status, n.Type, n.Current = rec.ARN, string(status), string(rec.Type), rec.ID == current
	return n, nil
}

func gone(err error) bool {
	e, ok := errors.AsType[*pca.Error](err)
	return ok && e.Code == pca.ResourceNotFoundException
}

// describable gives the CAs with a certificate that the caller may describe,
// whoever owns them.
func (c *Console) describable(ctx context.Context) (list []*installed, err error) {
	err = store.EachCA(ctx, c.cfg.Records.CAs, func(rec *store.CertificateAuthority) error {
		if rec.Installed == 0 {
			return nil
		}
		arn, err := pca.ParseCAARN(rec.ARN, c.cfg.API.Partition)
		if err != nil {
			return err
		}
		if ok, err := c.allowed(ctx, actionDescribe, arn); err != nil || !ok {
			return err
		}
		if _, err := c.cfg.Authorities.Find(ctx, rec.ID); gone(err) {
			return nil
		} else if err != nil {
			return err
		}
		one, err := c.families.of(ctx, c.cfg.Records, rec)
		if err != nil {
			return err
		}
		list = append(list, &installed{rec: rec, family: one})
		return nil
	})
	return list, err
}
