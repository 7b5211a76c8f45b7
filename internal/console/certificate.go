package console

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/inventory"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const (
	actionSearch         = "pcaaudit:SearchCertificates"
	actionGetCertificate = "acm-pca:GetCertificate"
)

// Certificate is a certificate that a CA issued, as pages know it.
type Certificate struct {
	Serial           string     `json:"serial"` // as in reports
	ARN              string     `json:"arn"`
	Subject          string     `json:"subject"`  // as in reports
	Template         string     `json:"template"` // ARN
	Account          string     `json:"account"`  // of who asked for it
	Principal        string     `json:"principal"`
	KeyAlgorithm     string     `json:"keyAlgorithm"`
	NotBefore        time.Time  `json:"notBefore"`
	NotAfter         time.Time  `json:"notAfter"`
	IssuedAt         time.Time  `json:"issuedAt"`
	Status           string     `json:"status"`
	RevokedAt        *time.Time `json:"revokedAt,omitempty"`
	RevocationReason string     `json:"revocationReason,omitempty"`
	Index            uint64     `json:"index"` // of its entry in the log
}

// certificateRoutes are the routes about the certificates that CAs issued.
func (c *Console) certificateRoutes() map[string]route {
	return map[string]route{
		"GET certificates": {action: actionSearch, serve: c.certificates},
		"GET certificate":  {action: actionGetCertificate, serve: c.certificate},
		"GET statistics":   {action: actionSearch, serve: c.statistics},
	}
}

// shownCertificate is a row of the inventory as pages know it.
func shownCertificate(arn pca.ARN, r *inventory.Certificate) Certificate {
	out := Certificate{
		Serial: rendering.Serial(r.Serial), ARN: certificateARN(arn, r.Serial), Subject: r.Subject, Template: r.TemplateARN,
		Account: r.Account, Principal: r.Principal, KeyAlgorithm: r.KeyAlgorithm,
		NotBefore: r.NotBefore.UTC(), NotAfter: r.NotAfter.UTC(), IssuedAt: r.IssuedAt.UTC(), Status: string(r.Status), Index: r.Index,
	}
	if !r.RevokedAt.IsZero() {
		out.revoked(r.RevokedAt, r.Reason)
	}
	return out
}

// certificateARN is the ARN of a certificate; serials have 16 octets there.
func certificateARN(arn pca.ARN, serial []byte) string {
	var padded [16]byte
	if len(serial) < len(padded) {
		copy(padded[len(padded)-len(serial):], serial)
		serial = padded[:]
	}
	return arn.WithCertificate(serial).String()
}

func (c *Certificate) revoked(at time.Time, reason uint8) {
	at = at.UTC()
	c.RevokedAt, c.RevocationReason = &at, rendering.Reason(reason)
}

// certificates is GET certificates: a page of those that a search finds,
// newest first.
func (c *Console) certificates(ctx context.Context, in *request) (any, error) {
	arn, err := c.existing(ctx, actionSearch, in.Get("ca"))
	if err != nil {
		return nil, err
	}
	q := inventory.Query{CA: arn.CA, Subject: in.Get("subject"), Serial: in.Get("serial"), TemplateARN: in.Get("template"), Cursor: in.Get("cursor")}
	if q.Limit, err = in.limit(50, 1000); err != nil {
		return nil, err
	}
	switch q.Status = inventory.Status(in.Get("status")); q.Status {
	case "", inventory.Valid, inventory.Revoked, inventory.Expired:
	default:
		return nil, pca.Errorf(pca.ValidationException, "The status is %s, %s or %s.", inventory.Valid, inventory.Revoked, inventory.Expired)
	}
	for name, t := range map[string]*time.Time{"issuedFrom": &q.IssuedFrom, "issuedTo": &q.IssuedTo, "expiresFrom": &q.ExpiresFrom, "expiresTo": &q.ExpiresTo} {
		if text := in.Get(name); text != "" {
			if *t, err = time.Parse(time.RFC3339, text); err != nil {
				return nil, pca.Errorf(pca.ValidationException, "%s is a time such as 2026-01-31T00:00:00Z.", name)
			}
		}
	}
	found, err := c.cfg.Inventory.Search(ctx, q)
	switch {
	case errors.Is(err, inventory.ErrQuery), errors.Is(err, inventory.ErrCursor):
		return nil, &pca.Error{Code: pca.ValidationException, Message: sentence(err.Error()), Err: err}
	case err != nil:
		return nil, fmt.Errorf("searching the certificates of CA %s: %w", arn.CA, err)
	}
	page := struct {
		Certificates []Certificate `json:"certificates"`
		Cursor       string        `json:"cursor"`
		Behind       uint64        `json:"behind"`
	}{[]Certificate{}, found.Cursor, found.Behind}
	for i := range found.Certificates {
		page.Certificates = append(page.Certificates, shownCertificate(arn, &found.Certificates[i]))
	}
	return page, nil
}

// certificate is GET certificate: one certificate with its chain. It is found
// in the log itself, so one that was issued a moment ago is there, too. Who
// asked for it and whether it is revoked is for those who may search.
func (c *Console) certificate(ctx context.Context, in *request) (any, error) {
	arn, err := c.existing(ctx, actionGetCertificate, in.Get("ca"))
	if err != nil {
		return nil, err
	}
	serial, err := pca.ParseSerial(in.Get("serial"))
	if err != nil || len(serial) == 0 {
		return nil, &pca.Error{Code: pca.ValidationException, Message: "The serial number is hexadecimal digits, with or without colons.", Err: err}
	}
	out, err := c.cfg.Authorities.GetCertificate(ctx, &pca.GetCertificateRequest{CertificateAuthorityArn: arn.CAARN(), CertificateArn: certificateARN(arn, serial)})
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode([]byte(out.Certificate))
	if block == nil {
		return nil, fmt.Errorf("the certificate %x of CA %s is no PEM", serial, arn.CA)
	}
	decoded, err := Decode(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("decoding the certificate %x of CA %s: %w", serial, arn.CA, err)
	}
	cert, err := c.logged(ctx, arn, serial)
	if err != nil {
		return nil, err
	}
	cert.KeyAlgorithm = decoded.KeyAlgorithm
	if may, err := c.allowed(ctx, actionSearch, arn); err != nil {
		return nil, err
	} else if !may {
		cert.Account, cert.Principal, cert.Status, cert.RevokedAt, cert.RevocationReason = "", "", "UNKNOWN", nil, ""
	}
	return map[string]any{"certificate": cert, "decoded": decoded, "pem": out.Certificate, "chainPem": out.CertificateChain}, nil
}

// logged is what the log has of a certificate.
func (c *Console) logged(ctx context.Context, arn pca.ARN, serial []byte) (*Certificate, error) {
	rec, err := c.cfg.Records.Certificate(ctx, arn.CA, serial)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate %x of CA %s: %w", serial, arn.CA, err)
	}
	out := &Certificate{Serial: rendering.Serial(serial), ARN: certificateARN(arn, serial), Status: string(inventory.Valid), Index: rec.Index}
	err = c.cfg.Entries.LogEntries(ctx, arn.CA, rec.Index, rec.Index+1, func(_ uint64, b []byte) error {
		var e certlog.Entry
		if err := e.Decode(b); err != nil {
			return err
		}
		out.Subject, out.Template, out.Account, out.Principal = string(e.Subject), string(e.TemplateARN), string(e.Account), string(e.Principal)
		out.NotBefore, out.NotAfter, out.IssuedAt = time.Unix(e.NotBefore, 0).UTC(), time.Unix(e.NotAfter, 0).UTC(), time.UnixMilli(e.Time).UTC()
		return nil
	})
	if err == nil {
		err = c.cfg.Records.Revocations(ctx, arn.CA, rec.Index, rec.Index+1, math.MaxInt64, func(r store.Revocation) error {
			out.Status = string(inventory.Revoked)
			out.revoked(time.UnixMilli(r.Time), r.Reason)
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("reading entry %d of log %s: %w", rec.Index, arn.CA, err)
	}
	if out.RevokedAt == nil && !c.cfg.API.Now().Before(out.NotAfter) {
		out.Status = string(inventory.Expired)
	}
	return out, nil
}

// sentence makes a sentence of an error's text.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }
