package local

import (
	"net/http"
	"strings"
	"time"
)

// Object Lock (destination.md D-34). Versions are not kept, so a locked key
// can be neither deleted nor written again, where S3 would keep both versions:
// what is locked is what everybody reads. The clock is the service's.

const (
	governance = "GOVERNANCE" // who may bypass it ends or shortens a retention
	compliance = "COMPLIANCE" // nobody does

	maxRetentionDays  = 36500
	maxRetentionYears = 100
)

// lockDefault is the retention of objects that are written without one. Either
// days or years is set, or neither and mode is empty.
type lockDefault struct {
	mode        string
	days, years int
}

func errNoLock() *apiError {
	return errorf("InvalidRequest", "Bucket is missing Object Lock Configuration")
}

func (o *object) retained(now time.Time) bool { return o.lockMode != "" && now.Before(o.retainUntil) }
func (o *object) held() bool                  { return o.legalHold == "ON" }

// lockable tells whether a new object comes with a lock.
func (o *object) lockable() bool { return o.lockMode != "" || o.held() }

// asksLock tells whether the request itself brings a lock.
func (q *request) asksLock() bool {
	for _, name := range []string{"Mode", "Retain-Until-Date", "Legal-Hold"} {
		if q.header.Get("X-Amz-Object-Lock-"+name) != "" {
			return true
		}
	}
	return false
}

// lockNew gives a new object the lock that the request asks for, or the
// bucket's default retention.
func (s *Service) lockNew(q *request, o *object) error {
	mode, date := q.header.Get("X-Amz-Object-Lock-Mode"), q.header.Get("X-Amz-Object-Lock-Retain-Until-Date")
	switch {
	case mode == "" && date == "":
		if d := q.owner.lockDefault; d.mode != "" {
			o.lockMode, o.retainUntil = d.mode, s.cfg.Now().AddDate(d.years, 0, d.days)
		}
	case mode == "" || date == "":
		return errorf("InvalidArgument", "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
	case mode != governance && mode != compliance:
		return errInvalidArgument("x-amz-object-lock-mode", mode, "Unknown wormMode directive.")
	default:
		if err := s.authorize(q, "PutObjectRetention", q.resource()); err != nil {
			return err
		}
		until, err := s.retainUntil(q, date)
		if err != nil {
			return err
		}
		o.lockMode, o.retainUntil = mode, until
	}
	switch hold := q.header.Get("X-Amz-Object-Lock-Legal-Hold"); hold {
	case "":
		return nil
	case "ON", "OFF":
		if !q.owner.objectLock {
			return errNoLock()
		}
		o.legalHold = hold
		return s.authorize(q, "PutObjectLegalHold", q.resource())
	default:
		return errInvalidArgument("x-amz-object-lock-legal-hold", hold, "Legal Hold must be either of 'ON' or 'OFF'")
	}
}

// retainUntil reads the end of a retention that is to begin now.
func (s *Service) retainUntil(q *request, date string) (time.Time, error) {
	if !q.owner.objectLock {
		return time.Time{}, errNoLock()
	}
	const name = "x-amz-object-lock-retain-until-date"
	until, err := time.Parse(time.RFC3339Nano, date)
	switch now := s.cfg.Now(); {
	case err != nil:
		return time.Time{}, errInvalidArgument(name, date, "The retain until date must be provided in ISO 8601 format")
	case !until.After(now):
		return time.Time{}, errInvalidArgument(name, date, "The retain until date must be in the future!")
	case until.After(now.AddDate(maxRetentionYears, 0, 1)):
		return time.Time{}, errInvalidArgument(name, date, "The retain until date must be within %d years", maxRetentionYears)
	}
	return until, nil
}

// checkLock refuses to replace or delete a locked object.
func (s *Service) checkLock(q *request, old *object, resource string) error {
	switch {
	case old == nil || !old.held() && !old.retained(s.cfg.Now()):
		return nil
	case !old.held() && old.lockMode == governance && bypasses(q):
		return s.authorize(q, "BypassGovernanceRetention", resource)
	}
	return errorf("AccessDenied", "Access Denied because object protected by object lock.").with("Key", old.key)
}

func bypasses(q *request) bool {
	return strings.EqualFold(q.header.Get("X-Amz-Bypass-Governance-Retention"), "true")
}

// checkLockChecksum is S3's rule that what is locked is sent with a checksum.
func checkLockChecksum(q *request, o *object, operation string) error {
	if !o.lockable() || q.header.Get("Content-Md5") != "" {
		return nil
	}
	if algorithm, _, _, err := declaredChecksum(q.header); err != nil || algorithm != "" {
		return err
	}
	return errorf("InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for %s requests with Object Lock parameters", operation)
}

// describeLock sets the headers of an object's lock.
func describeLock(h http.Header, o *object) {
	if o.lockMode != "" {
		h.Set("X-Amz-Object-Lock-Mode", o.lockMode)
		h.Set("X-Amz-Object-Lock-Retain-Until-Date", formatDate(o.retainUntil))
	}
	if o.legalHold != "" {
		h.Set("X-Amz-Object-Lock-Legal-Hold", o.legalHold)
	}
}

func (s *Service) getObjectLockConfiguration(q *request) (*reply, error) {
	if !q.owner.objectLock {
		return nil, errorf("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket").with("BucketName", q.bucket)
	}
	d := newDocument("ObjectLockConfiguration")
	d.text("ObjectLockEnabled", "Enabled")
	if def := q.owner.lockDefault; def.mode != "" {
		d.open("Rule")
		d.open("DefaultRetention")
		d.text("Mode", def.mode)
		if def.years > 0 {
			d.number("Years", int64(def.years))
		} else {
			d.number("Days", int64(def.days))
		}
		d.close("DefaultRetention")
		d.close("Rule")
	}
	return xmlReply(http.StatusOK, d, "ObjectLockConfiguration"), nil
}

// putObjectLockConfiguration sets or removes the default retention. A bucket
// gets Object Lock when it is made and keeps it.
func (s *Service) putObjectLockConfiguration(q *request) (*reply, error) {
	var in struct {
		ObjectLockEnabled string
		Rule              *struct {
			DefaultRetention *struct {
				Mode        string
				Days, Years *int
			}
		}
	}
	if err := s.readXML(q, "ObjectLockConfiguration", &in); err != nil {
		return nil, err
	}
	if in.ObjectLockEnabled != "Enabled" || in.Rule != nil && in.Rule.DefaultRetention == nil {
		return nil, errMalformedXML()
	}
	if !q.owner.objectLock {
		return nil, errorf("InvalidBucketState", "Object Lock configuration cannot be enabled on existing buckets")
	}
	var def lockDefault
	if in.Rule != nil {
		r := in.Rule.DefaultRetention
		if r.Mode != governance && r.Mode != compliance || (r.Days == nil) == (r.Years == nil) {
			return nil, errMalformedXML()
		}
		def.mode = r.Mode
		period, most := &def.days, maxRetentionDays
		given := r.Days
		if r.Years != nil {
			period, most, given = &def.years, maxRetentionYears, r.Years
		}
		if *given < 1 || *given > most {
			return nil, errorf("InvalidRetentionPeriod", "Default retention period must be a positive integer value of at most %d days or %d years.", maxRetentionDays, maxRetentionYears)
		}
		*period = *given
	}
	if err := s.changeBucket(q.http.Context(), q.bucket, `default_mode = ?, default_days = ?, default_years = ?`, def.mode, def.days, def.years); err != nil {
		return nil, err
	}
	return newReply(http.StatusOK), nil
}

// findLockable returns the object of the request in a bucket that has Object Lock.
func (s *Service) findLockable(q *request) (*object, error) {
	if !q.owner.objectLock {
		return nil, errNoLock()
	}
	return s.find(q)
}

func errNoObjectLock(key string) error {
	return errorf("NoSuchObjectLockConfiguration", "The specified object does not have a ObjectLock configuration").with("Key", key)
}

func (s *Service) getObjectRetention(q *request) (*reply, error) {
	o, err := s.findLockable(q)
	if err != nil {
		return nil, err
	}
	if o.lockMode == "" {
		return nil, errNoObjectLock(q.key)
	}
	d := newDocument("Retention")
	d.text("Mode", o.lockMode)
	d.text("RetainUntilDate", formatDate(o.retainUntil))
	return xmlReply(http.StatusOK, d, "Retention"), nil
}

// putObjectRetention sets or prolongs a retention. Anything else than
// prolonging it in its mode is refused in COMPLIANCE mode, and needs the bypass
// in GOVERNANCE mode.
func (s *Service) putObjectRetention(q *request) (*reply, error) {
	var in struct{ Mode, RetainUntilDate string }
	if err := s.readXML(q, "Retention", &in); err != nil {
		return nil, err
	}
	if !q.owner.objectLock {
		return nil, errNoLock()
	}
	var until time.Time
	var millis int64
	if in.Mode != "" || in.RetainUntilDate != "" {
		if in.Mode != governance && in.Mode != compliance || in.RetainUntilDate == "" {
			return nil, errMalformedXML()
		}
		var err error
		if until, err = s.retainUntil(q, in.RetainUntilDate); err != nil {
			return nil, err
		}
		millis = until.UnixMilli()
	}
	check := func(o *object) error {
		if !o.retained(s.cfg.Now()) || o.lockMode == in.Mode && !until.Before(o.retainUntil) {
			return nil
		}
		unheld := *o // a legal hold stands beside the retention
		unheld.legalHold = ""
		return s.checkLock(q, &unheld, q.resource())
	}
	if err := s.changeObject(q, check, `lock_mode = ?, retain_until = ?`, in.Mode, millis); err != nil {
		return nil, err
	}
	return newReply(http.StatusOK), nil
}

func (s *Service) getObjectLegalHold(q *request) (*reply, error) {
	o, err := s.findLockable(q)
	if err != nil {
		return nil, err
	}
	if o.legalHold == "" {
		return nil, errNoObjectLock(q.key)
	}
	d := newDocument("LegalHold")
	d.text("Status", o.legalHold)
	return xmlReply(http.StatusOK, d, "LegalHold"), nil
}

func (s *Service) putObjectLegalHold(q *request) (*reply, error) {
	var in struct{ Status string }
	if err := s.readXML(q, "LegalHold", &in); err != nil {
		return nil, err
	}
	if in.Status != "ON" && in.Status != "OFF" {
		return nil, errMalformedXML()
	}
	if !q.owner.objectLock {
		return nil, errNoLock()
	}
	if err := s.changeObject(q, func(*object) error { return nil }, `legal_hold = ?`, in.Status); err != nil {
		return nil, err
	}
	return newReply(http.StatusOK), nil
}
