package crl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// actionList is what the state of a CA's lists is part of.
const actionList = "acm-pca:DescribeCertificateAuthority"

// Signed is a CRL that was signed, as it is shown. Times are in UTC.
type Signed struct {
	Number     string     `json:"number"` // digits
	BaseNumber string     `json:"baseNumber,omitempty"`
	ThisUpdate time.Time  `json:"thisUpdate"`
	NextUpdate time.Time  `json:"nextUpdate"`
	Entries    uint64     `json:"entries"`
	Bytes      int64      `json:"bytes"`
	SHA256     string     `json:"sha256"`
	Covered    uint64     `json:"covered"` // it is a reading of so many entries of the log
	WrittenAt  *time.Time `json:"writtenAt,omitempty"`
}

// List is one list of a CA, as it is shown.
type List struct {
	ID          int64  `json:"id"`
	Name        string `json:"name,omitempty"`
	Partitioned bool   `json:"partitioned"`
	Open        bool   `json:"open"`
	Active      bool   `json:"active"`
	URI         string `json:"uri"`
	Bucket      string `json:"bucket"`
	Key         string `json:"key"`

	Certificates int64      `json:"certificates"`
	*Signed                 // the newest one; nil: none was made
	Delta        *Signed    `json:"delta,omitempty"`
	DeltaURI     string     `json:"deltaURI,omitempty"`
	Due          *time.Time `json:"due,omitempty"`
	Failure      string     `json:"failure,omitempty"`
	FailedAt     *time.Time `json:"failedAt,omitempty"`
	// ReplacedBy is the ID of the list that is kept up at the same place; 0: none.
	ReplacedBy int64 `json:"replacedBy,omitempty"`
}

func shownTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func shownSigned(signed *store.SignedCRL, days int) *Signed {
	if signed.Number == 0 {
		return nil
	}
	v := &Signed{
		Number: strconv.FormatInt(signed.Number, 10), NextUpdate: signed.NextUpdate.UTC(),
		ThisUpdate: signed.NextUpdate.Add(-time.Duration(days)*24*time.Hour - time.Hour).UTC(),
		Entries:    signed.Entries, Bytes: signed.Bytes, SHA256: fmt.Sprintf("%x", signed.SHA256), Covered: signed.Covered, WrittenAt: shownTime(signed.WrittenAt),
	}
	if signed.BaseNumber != 0 {
		v.BaseNumber = strconv.FormatInt(signed.BaseNumber, 10)
	}
	return v
}

// List gives the lists of a CA, the oldest first.
func (s *Service) List(ctx context.Context, id string) ([]List, error) {
	lists, err := s.lists(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("listing the CRLs of CA %s: %w", id, err)
	}
	a, err := s.cfg.Authorities.Authority(ctx, id)
	if err != nil {
		return nil, err
	}
	kept := map[place]int64{}
	for _, c := range lists {
		if c.Active {
			kept[placeOf(c)] = c.ID
		}
	}
	shown := make([]List, len(lists))
	for i, c := range lists {
		shown[i] = List{
			ID: c.ID, Name: c.Name, Partitioned: c.Partitioned, Open: c.Open, Active: c.Active, URI: c.URI, Bucket: c.Bucket, Key: c.Key,
			Certificates: c.Certificates, Signed: shownSigned(&c.Base, c.Days), Delta: shownSigned(&c.Delta, c.Days),
			Due: shownTime(c.Due), Failure: c.Failure, FailedAt: shownTime(c.FailedAt),
		}
		if !c.Active {
			shown[i].ReplacedBy = kept[placeOf(c)]
		}
		if !a.Publishes() { // until then
			shown[i].Due = nil
		}
		if shown[i].Delta != nil {
			shown[i].DeltaURI = deltaOf(c.URI)
		}
	}
	return shown, nil
}

// Publish makes and writes all lists of a CA that are kept up to date, now. It
// is a RequestFailedException when one of them was not; that is recorded, and
// tried again, as ever.
func (s *Service) Publish(ctx context.Context, id string) error {
	a, err := s.cfg.Authorities.Authority(ctx, id)
	if err != nil {
		return err
	}
	if !a.Publishes() {
		return pca.Errorf(pca.InvalidStateException, "The certificate authority is in the %s state and signs no CRLs. It must be ACTIVE or DISABLED.", a.Status)
	}
	if err := s.arranged(ctx, a.Record); err != nil {
		return fmt.Errorf("arranging the CRLs of CA %s: %w", id, err)
	}
	lists, err := s.lists(ctx, id)
	if err != nil {
		return fmt.Errorf("listing the CRLs of CA %s: %w", id, err)
	}
	var refused error
	active := 0
	for _, c := range lists {
		if !c.Active {
			continue
		}
		active++
		if err := s.publish(ctx, c); err != nil {
			if ctx.Err() != nil {
				return err
			}
			words := "It could not be made."
			if f, ok := errors.AsType[*failure](err); ok {
				words = f.words
			}
			refused = &pca.Error{Code: pca.RequestFailedException, Message: fmt.Sprintf("The CRL %s was not written to S3 bucket %s. It is tried again by itself. %s", c.Key, c.Bucket, words), Err: err}
		}
	}
	if active == 0 {
		return pca.Errorf(pca.InvalidStateException, "The certificate authority has no CRLs that are kept up. Switch them on with UpdateCertificateAuthority.")
	}
	return refused
}

func (s *Service) publish(ctx context.Context, c *store.CRL) error {
	id := spotOf(c)
	if err := s.take(ctx, id); err != nil {
		return err
	}
	defer s.end(id)
	for {
		// A list that a revocation changed just now is made of what is there now.
		if err := s.tend(ctx, c, true); !errors.Is(err, errMoved) {
			return err
		}
	}
}

// Route takes requests below PathPrefix apart; it is the route of an awsjson.Plain:
//
//	GET  <CA id>/crls     the lists of the CA, as JSON
//	POST <CA id>/publish  makes and writes them now, and answers the same
func (s *Service) Route(r *http.Request) (awsjson.Route, error) {
	id, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, PathPrefix), "/")
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case !strings.HasPrefix(r.URL.Path, PathPrefix) || len(id) != 36 || uuid.Validate(id) != nil || strings.ToLower(id) != id:
	case what == "crls" && read:
		return s.route(id, actionList, nil), nil
	case what == "publish" && r.Method == http.MethodPost:
		return s.route(id, ActionPublish, s.Publish), nil
	}
	return awsjson.Route{}, pca.Errorf(pca.UnknownOperationException, "%.20s %.200q is not a path of CRLs; the paths are GET %s<id of a CA>/crls and POST %s<id of a CA>/publish.", r.Method, r.URL.Path, PathPrefix, PathPrefix)
}

func (s *Service) route(id, action string, do func(context.Context, string) error) awsjson.Route {
	return awsjson.Route{Action: action, Serve: func(ctx context.Context, _ []byte) ([]byte, error) {
		if err := s.authorize(ctx, id, action); err != nil {
			return nil, err
		}
		if do != nil {
			if err := do(ctx, id); err != nil {
				return nil, err
			}
		}
		lists, err := s.List(ctx, id)
		if err != nil {
			return nil, err
		}
		body, err := json.Marshal(lists)
		if err != nil {
			return nil, err
		}
		awsjson.SetHeader(ctx, "Content-Type", "application/json")
		awsjson.SetHeader(ctx, "Cache-Control", "no-cache")
		return body, nil
	}}
}

func (s *Service) authorize(ctx context.Context, id, action string) error {
	return awsjson.AuthorizeID(ctx, action, pca.ARN{Partition: s.cfg.Partition, Region: s.cfg.Region, CA: id}, s.cfg.Find)
}
