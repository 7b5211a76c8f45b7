package ocsp

import (
	"context"
	"crypto"
	_ "crypto/sha1" // of CertIDs
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// authority is a CA.
type authority struct {
	rec     atomic.Pointer[store.CertificateAuthority]
	issuers atomic.Pointer[[]*issuer] // one for each name that its certificates have or had

	// busy is held while its certificates are read, and while a responder
	// certificate is made: one at a time.
	busy sync.Mutex
	read atomic.Int64 // the newest Generation that issuers has
	// Guarded by busy: responder certificates whose keys there are, the newest
	// first; nil before they were looked for.
	responders []*store.Responder
}

// issuer is a name and a key that CertIDs stand for. The certificates of a CA
// that have both are one issuer, so that each can verify what is answered.
type issuer struct {
	authority *authority
	ids       [][]byte // every beginning of a CertID that means it
	name      string   // DER
	current   atomic.Pointer[installed]
	responder atomic.Pointer[responder] // nil: none yet

	// Guarded by authority.busy.
	generations []int64   // of its certificates
	retry       time.Time // no other try to make a responder before
}

// installed is the newest certificate of an issuer.
type installed struct {
	generation int64
	notAfter   time.Time
}

// answers tells whether the CA answers now: it is ACTIVE or DISABLED, not
// expired, and has OCSP on (R-53, revocation.md 1.2).
func (a *authority) answers(now time.Time) bool {
	rec := a.rec.Load()
	switch rec.Status {
	case pca.CertificateAuthorityStatus_ACTIVE, pca.CertificateAuthorityStatus_DISABLED:
		return on(rec) && now.Unix() <= rec.NotAfter.Unix()
	}
	return false
}

func on(rec *store.CertificateAuthority) bool {
	o := rec.Revocation.OcspConfiguration
	return o != nil && o.Enabled && rec.Installed > 0
}

// loadAll learns of every CA.
func (s *Service) loadAll(ctx context.Context) error {
	err := store.EachCA(ctx, s.cfg.Records.CAs, func(rec *store.CertificateAuthority) error {
		s.Changed(rec)
		return nil
	})
	if err != nil {
		return err
	}
	if err := s.readPending(ctx); err != nil {
		s.cfg.Log.ErrorContext(ctx, "certificates of a CA could not be read; OCSP is not answered for it until they can be", "error", err)
	}
	return nil
}

// Changed tells of a CA that was made, was loaded or has changed (ca.Config).
func (s *Service) Changed(rec *store.CertificateAuthority) {
	if rec.Installed == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.authorities[rec.ID]
	if a == nil {
		a = &authority{}
		a.issuers.Store(new([]*issuer))
		s.authorities[rec.ID] = a
	} else if a.rec.Load().Version > rec.Version {
		return
	}
	a.rec.Store(rec)
	// Its certificates are read by whoever first asks for a name that is not
	// known: this CA is locked now.
	if on(rec) && a.read.Load() < rec.Installed {
		s.pending[a] = true
		s.isPending.Store(true)
	}
}

// issuerOf finds who the beginning of a CertID means; nil for nobody.
func (s *Service) issuerOf(ctx context.Context, id []byte) (*issuer, error) {
	find := func() *issuer {
		s.mu.RLock()
		defer s.mu.RUnlock()
		return s.issuers[string(id)]
	}
	if i := find(); i != nil || !s.isPending.Load() {
		return i, nil
	}
	err := s.readPending(ctx)
	if i := find(); i != nil {
		return i, nil
	}
	return nil, err
}

// readPending reads the certificates of CAs that have new ones. A CA of which
// that fails does not keep it from the others.
func (s *Service) readPending(ctx context.Context) error {
	s.mu.RLock()
	pending := slices.Collect(maps.Keys(s.pending))
	s.mu.RUnlock()
	var errs []error
	for _, a := range pending {
		errs = append(errs, s.readCertificates(ctx, a))
	}
	return errors.Join(errs...)
}

// readCertificates reads what was installed in a CA since it did so last.
func (s *Service) readCertificates(ctx context.Context, a *authority) error {
	a.busy.Lock()
	defer a.busy.Unlock()
	for {
		rec, g := a.rec.Load(), a.read.Load()+1
		if g > rec.Installed {
			s.mu.Lock()
			all := a.rec.Load().Installed < g // since Changed did not give it another one
			if all {
				delete(s.pending, a)
				s.isPending.Store(len(s.pending) > 0)
			}
			s.mu.Unlock()
			if all {
				return nil
			}
			continue
		}
		inst, err := s.cfg.Records.InstalledCertificate(ctx, rec.ID, g)
		if err != nil {
			return fmt.Errorf("reading certificate %d of CA %s: %w", g, rec.ID, err)
		}
		block, _ := pem.Decode([]byte(inst.Certificate))
		if block == nil {
			return fmt.Errorf("certificate %d of CA %s is not PEM", g, rec.ID)
		}
		c, err := issuance.ReadCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("reading certificate %d of CA %s: %w", g, rec.ID, err)
		}
		if err := s.install(a, g, c); err != nil {
			return fmt.Errorf("certificate %d of CA %s: %w", g, rec.ID, err)
		}
		a.read.Store(g)
	}
}

// install makes a certificate the newest of its issuer.
func (s *Service) install(a *authority, generation int64, c *issuance.Certificate) error {
	newest := &installed{generation, c.NotAfter}
	known := *a.issuers.Load()
	for _, i := range known {
		if i.name == string(c.RawSubject) { // a CA has one key
			i.generations = append(i.generations, generation)
			i.current.Store(newest)
			return nil
		}
	}
	bits, err := keyBits(c.SPKI)
	if err != nil {
		return err
	}
	i := &issuer{authority: a, name: string(c.RawSubject), ids: issuerIDs(c.RawSubject, bits), generations: []int64{generation}}
	i.current.Store(newest)
	more := append(known[:len(known):len(known)], i)
	s.mu.Lock()
	defer s.mu.Unlock()
	a.issuers.Store(&more)
	for _, id := range i.ids {
		s.issuers[string(id)] = i
	}
	return nil
}

// keyBits gives the content of the BIT STRING of a SubjectPublicKeyInfo.
func keyBits(spki []byte) (bits []byte, err error) {
	s := cryptobyte.String(spki)
	var body cryptobyte.String
	if !s.ReadASN1(&body, asn1.SEQUENCE) || !body.SkipASN1(asn1.SEQUENCE) || !body.ReadASN1BitStringAsBytes(&bits) {
		return nil, errors.New("the public key is not a SubjectPublicKeyInfo")
	}
	return bits, nil
}

// issuerIDs are the beginnings of CertIDs that mean an issuer: each hash, with
// NULL parameters and with none.
func issuerIDs(name, key []byte) (ids [][]byte) {
	for _, h := range []struct {
		hash crypto.Hash
		oid  string
	}{
		{crypto.SHA1, "\x2b\x0e\x03\x02\x1a"},
		{crypto.SHA256, "\x60\x86\x48\x01\x65\x03\x04\x02\x01"},
		{crypto.SHA384, "\x60\x86\x48\x01\x65\x03\x04\x02\x02"},
		{crypto.SHA512, "\x60\x86\x48\x01\x65\x03\x04\x02\x03"},
	} {
		for _, parameters := range []string{"\x05\x00", ""} {
			var b cryptobyte.Builder
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addBytes(b, asn1.OBJECT_IDENTIFIER, []byte(h.oid))
				b.AddBytes([]byte(parameters))
			})
			for _, hashed := range [][]byte{name, key} {
				sum := h.hash.New()
				sum.Write(hashed)
				b.AddASN1OctetString(sum.Sum(nil))
			}
			ids = append(ids, b.BytesOrPanic()) // of fixed sizes
		}
	}
	return ids
}

// addBytes adds a primitive value.
func addBytes(b *cryptobyte.Builder, tag asn1.Tag, content []byte) {
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(content) })
}

// integer is the DER of a serial number; magnitude has no leading zeros.
func integer(magnitude []byte) string {
	var b cryptobyte.Builder
	b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) {
		if len(magnitude) == 0 || magnitude[0] >= 0x80 {
			b.AddUint8(0)
		}
		b.AddBytes(magnitude)
	})
	return string(b.BytesOrPanic()) // of a certificate's size
}
