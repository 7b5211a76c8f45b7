package bench

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"path"
	"slices"

	"chirograph.dev/internal/certlog"
)

// NewStore makes a data folder whose one CA has issued n certificates (Seed),
// none of them revoked, and gives the CA's ARN. No server runs over it when it
// returns.
func NewStore(ctx context.Context, binary, dataDir string, n uint64) (ca string, err error) {
	if ca, err = MakeStore(ctx, binary, dataDir, ""); err != nil {
		return "", err
	}
	return ca, Seed(ctx, dataDir, ca, n, 0)
}

// Serials gives the serial numbers of at most n of a CA's certificates, chosen
// and ordered at random, out of a store whose server is not running.
func Serials(ctx context.Context, dataDir, caARN string, n int) (serials [][]byte, err error) {
	db, err := OpenStopped(ctx, dataDir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ca := path.Base(caARN)
	head, err := db.LogHead(ctx, ca)
	if err != nil {
		return nil, err
	}
	// A few more than asked for, since some entries are no certificates.
	part := min(1, 1.2*float64(n)/float64(max(head.Size, 1))+0.01)
	var e certlog.Entry
	err = db.LogEntries(ctx, ca, 0, head.Size, func(_ uint64, entry []byte) error {
		if certlog.EntryType(entry[1]) != certlog.TypeIssue || rand.Float64() > part {
			return nil
		}
		if err := e.Decode(entry); err != nil {
			return err
		}
		serials = append(serials, slices.Clone(e.Serial))
		return nil
	})
	if err != nil {
		return nil, err
	}
	// The first certificate is the CA's own.
	serials = serials[min(1, len(serials)):]
	rand.Shuffle(len(serials), func(i, j int) { serials[i], serials[j] = serials[j], serials[i] })
	return serials[:min(n, len(serials))], nil
}

// CertificateARN is the ARN of a certificate of a CA.
func CertificateARN(caARN string, serial []byte) string {
	return caARN + "/certificate/" + hex.EncodeToString(serial)
}

// Body encodes the members of a request.
func Body(members map[string]any) []byte {
	b, err := json.Marshal(members)
	if err != nil {
		panic(err) // of a program's own strings and numbers
	}
	return b
}
