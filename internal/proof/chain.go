package proof

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"chirograph.dev/internal/certlog"
)

// keys follows the keys and origins of a log from its genesis to the report,
// and checks that the last of them is the manifest's. What it finds goes to the
// findings, or to the verdict on authenticity.
func (l *replay) keys() []logKey {
	m := l.m
	slices.SortFunc(l.special, func(a, b special) int { return cmp.Compare(a.index, b.index) })
	var chain []logKey
	var now logKey
	for i := range l.special {
		index, e := l.special[i].index, &l.special[i].entry
		switch e.Type {
		case certlog.TypeGenesis:
			if index != 0 {
				continue // found already
			}
			if e.Digest != sha256.Sum256(m.SPKI) {
				l.fail(Authenticity, ClassAuditKey, "The log is of another CA: its first entry names another CA key than the manifest.")
			}
			now = logKey{0, string(e.Label), string(e.Extra), 1}
		case certlog.TypeKey:
			now = logKey{index, now.origin, string(e.Label), now.epoch}
			l.checkEndorsed(index, now, string(e.Extra))
		case certlog.TypeRecovery:
			vkey, endorsement, size, root, ok := certlog.ParseRecovery(string(e.Extra))
			epoch := 0
			if len(chain) > 0 {
				epoch = epochOf(chain[0].origin, string(e.Label))
			}
			if !ok || epoch <= now.epoch {
				l.find(index, ClassLogRules, "is a recovery that does not follow from what was before")
				continue
			}
			l.recovered(index, e.Time, now, epoch, size)
			if size <= index && size > 0 {
				if had, _, err := l.rootAt(size); err == nil && had != root {
					l.find(index, ClassLogRules, "recovers a log whose first %d entries are others", size)
				}
			}
			now = logKey{index, string(e.Label), vkey, epoch}
			l.checkEndorsed(index, now, endorsement)
		default:
			continue
		}
		if !validKey(now.key, now.origin) {
			l.find(index, ClassLogRules, "has a key that is none of the log %s", now.origin)
		}
		chain = append(chain, now)
	}
	l.checkSigned(chain)
	if now.origin != m.Origin || now.key != m.Key {
		l.fail(Authenticity, ClassAuditKey, "The manifest is not signed by the key that the log itself says is in force.")
	}
	l.res.Epoch = max(l.res.Epoch, now.epoch)
	return chain
}

// epochOf is the number of the epoch that an origin names, where first is that
// of the first; 0 when it is none. Numbers may be left out: of an epoch that was
// lost with the store, or that never came to have an entry.
func epochOf(first, origin string) int {
	after, ok := strings.CutPrefix(origin, first+"/")
	n, err := strconv.Atoi(after)
	if !ok || err != nil || n < 2 || strconv.Itoa(n) != after {
		return 0
	}
	return n
}

// checkEndorsed checks the CA's signature over a later key. A log whose CA key
// was gone has none, which the manifest shows, too.
func (l *replay) checkEndorsed(index uint64, k logKey, endorsement string) {
	algorithm, signature, ok := certlog.ParseEndorsement(endorsement)
	e := Endorsement{algorithm, signature}
	if !ok && !l.endorsed && l.keyPinned {
		return
	}
	if !ok || e.Check(l.m.SPKI, k.origin, k.key) != nil {
		l.find(index, ClassAuditKey, "brings a key that the CA's key did not endorse")
	}
}

// checkSigned finds endorsements of keys that are none of the log's: with such
// a key another history could be signed.
func (l *replay) checkSigned(chain []logKey) {
	texts := map[[sha256.Size]byte]bool{}
	for _, k := range chain {
		texts[sha256.Sum256(certlog.EndorsementText(sha256.Sum256(l.m.SPKI), k.origin, k.key))] = true
	}
	for i := range l.special {
		if s := &l.special[i]; s.entry.Type == certlog.TypeSign && !texts[s.entry.Digest] {
			l.find(s.index, ClassLogRules, "endorses a key that is none of this log")
		}
	}
}

// recovered says what a recovery at an index kept of the epoch that it ended,
// of which so many entries were known, and whether it set the log's clock back.
func (l *replay) recovered(index uint64, at int64, before logKey, epoch int, known uint64) {
	lost := uint64(0)
	if known > index {
		lost = known - index
	}
	words := fmt.Sprintf("epoch %d; epoch %d was known with %d entries, %d survive, %d lost", epoch, before.epoch, max(known, index), index, lost)
	latest := l.blocks[index/certlog.BlockSize].peak
	for b := before.from / certlog.BlockSize; b < index/certlog.BlockSize; b++ {
		latest = max(latest, l.blocks[b].newer)
	}
	if at < latest-delta {
		words += fmt.Sprintf("; epoch %d begins at %s, and an entry before it is dated %s", epoch, stamp(at), stamp(latest))
	}
	l.res.Epochs = append(l.res.Epochs, words)
}
