package main

import (
	"cmp"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chirograph.dev/internal/anchor"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/witness"
)

// witnessConfig says who beside this server keeps the heads of its logs, and
// what is kept from being deleted (docs/witnesses.md).
type witnessConfig struct {
	Witnesses     []string // URL=KEY
	WitnessQuorum int      // how many of them must cosign; 0: more than half

	AnchorBucket            string // empty: no anchors
	AnchorDestination       string // as serveConfig.Destination; empty: that
	AnchorDestinationRegion string
	AnchorAccessKeyID       string // empty: as for the reports, where that is the same place
	AnchorSecretKey         string
	AnchorRetention         time.Duration // 0: no Object Lock
	AnchorMode              string        // bucket.LockMode

	// CheckpointInterval is how often logs that grew are cosigned and anchored;
	// 0: with reports alone.
	CheckpointInterval time.Duration

	AuditRetention     time.Duration // of reports; 0: no Object Lock
	AuditRetentionMode string
}

const witnessHint = "use --witness https://witness.example.com=KEY, KEY as the witness prints it"

func defaultWitnessConfig() witnessConfig {
	return witnessConfig{
		CheckpointInterval: time.Hour,
		AnchorMode:         string(bucket.Governance),
		AuditRetentionMode: string(bucket.Governance),
	}
}

func (w *witnessConfig) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&w.Witnesses, "witness", nil, "witnesses that cosign the heads of all logs: URL=KEY, repeated or separated by commas; KEY is what the witness prints as its verifier key")
	f.IntVar(&w.WitnessQuorum, "witness-quorum", 0, "how many of the witnesses must cosign a head (default: more than half)")
	f.StringVar(&w.AnchorBucket, "anchor-bucket", "", "bucket that the heads of all logs are written to, each as an object of its own")
	f.StringVar(&w.AnchorDestination, "anchor-destination", "", "where --anchor-bucket is: embedded, aws, or the URL of an S3-compatible service (default: --destination)")
	f.StringVar(&w.AnchorDestinationRegion, "anchor-destination-region", "", "region of --anchor-destination (default: --destination-region)")
	f.StringVar(&w.AnchorAccessKeyID, "anchor-destination-access-key-id", "", "access key for --anchor-destination (default: that of --destination where both are the same, or the AWS SDK's usual sources)")
	f.StringVar(&w.AnchorSecretKey, "anchor-destination-secret-access-key", "", "secret of --anchor-destination-access-key-id; better given by CHIROGRAPH_ANCHOR_DESTINATION_SECRET_ACCESS_KEY or the configuration file than on a command line")
	f.DurationVar(&w.AnchorRetention, "anchor-retention", 0, "how long Object Lock keeps each anchor, such as 8760h; 0 is not at all")
	f.StringVar(&w.AnchorMode, "anchor-mode", w.AnchorMode, "who may end --anchor-retention early: GOVERNANCE (who has s3:BypassGovernanceRetention) or COMPLIANCE (nobody)")
	f.DurationVar(&w.CheckpointInterval, "checkpoint-interval", w.CheckpointInterval, "how often the heads of logs that grew are cosigned and anchored; 0 is with reports alone")
	f.DurationVar(&w.AuditRetention, "audit-retention", 0, "how long Object Lock keeps each report and its proof, such as 8760h; their buckets must have Object Lock; 0 is not at all")
	f.StringVar(&w.AuditRetentionMode, "audit-retention-mode", w.AuditRetentionMode, "who may end --audit-retention early: GOVERNANCE or COMPLIANCE")
	for _, mode := range []string{"anchor-mode", "audit-retention-mode"} {
		choices(cmd, mode, string(bucket.Governance), string(bucket.Compliance))
	}
	choices(cmd, "anchor-destination", "embedded", "aws", "https://")
}

// check refuses what contradicts itself before anything is opened.
func (w *witnessConfig) check() error {
	list, err := w.parseWitnesses()
	if err != nil {
		return err
	}
	if len(list) > 0 {
		err = witness.Check(list, w.WitnessQuorum)
	}
	switch {
	case err != nil:
		return usageError(witnessHint, "--witness, --witness-quorum: %w", err)
	case len(list) == 0 && w.WitnessQuorum != 0:
		return usageError("name the witnesses with --witness", "--witness-quorum is %d and there are no witnesses", w.WitnessQuorum)
	case w.AnchorRetention < 0 || w.AuditRetention < 0 || w.CheckpointInterval < 0:
		return usageError("", "--anchor-retention, --audit-retention and --checkpoint-interval must not be negative")
	case w.AnchorBucket == "" && (w.AnchorDestination != "" || w.AnchorRetention != 0 || w.AnchorAccessKeyID != "" || w.AnchorDestinationRegion != ""):
		return usageError("name the bucket with --anchor-bucket", "there are settings of anchors and no bucket for them")
	case (w.AnchorAccessKeyID == "") != (w.AnchorSecretKey == ""):
		return usageError("", "--anchor-destination-access-key-id and --anchor-destination-secret-access-key belong together")
	}
	if w.AnchorBucket != "" {
		if err := bucket.CheckName(w.AnchorBucket); err != nil {
			return usageError("", "--anchor-bucket: %w", err)
		}
	}
	for _, m := range []struct{ flag, mode string }{{"--anchor-mode", w.AnchorMode}, {"--audit-retention-mode", w.AuditRetentionMode}} {
		if _, err := bucket.ParseLockMode(m.mode); err != nil {
			return usageError("", "%s: %w", m.flag, err)
		}
	}
	return checkDestination("--anchor-destination", cmp.Or(w.AnchorDestination, "embedded"))
}

// checkDestination refuses what names no bucket service.
func checkDestination(flag, destination string) error {
	if destination == "embedded" || destination == "aws" {
		return nil
	}
	u, err := url.Parse(destination)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usageError("use embedded, aws, or a URL such as https://s3.example.com", "%s %q is not a destination", flag, destination)
	}
	return nil
}

func (w *witnessConfig) parseWitnesses() (list []witness.Witness, err error) {
	for _, item := range w.Witnesses {
		address, key, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			return nil, usageError(witnessHint, "--witness: %q is not a URL and a key", item)
		}
		list = append(list, witness.Witness{URL: address, Key: key})
	}
	return list, nil
}

// witnesses is the client of the witnesses; nil when there are none.
func (h *house) witnesses() (*witness.Client, error) {
	list, err := h.cfg.parseWitnesses()
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return witness.New(witness.Config{Witnesses: list, Quorum: h.cfg.WitnessQuorum, State: h.db, Log: h.log})
}

// anchors is where heads of logs are anchored; nil when nowhere. In the
// embedded service the bucket belongs to the account of the first start.
func (h *house) anchors() (*anchor.Store, error) {
	if h.cfg.AnchorBucket == "" {
		return nil, nil
	}
	where := cmp.Or(h.cfg.AnchorDestination, h.cfg.Destination)
	cfg := bucket.Config{
		Region:        cmp.Or(h.cfg.AnchorDestinationRegion, h.destinationRegion()),
		Authorization: bucket.AuthorizeCredentials,
		Retention:     h.cfg.AnchorRetention,
		RetentionMode: bucket.LockMode(h.cfg.AnchorMode),
	}
	id, secret := h.cfg.AnchorAccessKeyID, h.cfg.AnchorSecretKey
	if id == "" && where == h.cfg.Destination {
		id, secret = h.cfg.DestinationAccessKeyID, h.cfg.DestinationSecretKey
	}
	cfg.Credentials = staticCredentials(id, secret)
	if where == "embedded" {
		cfg.Transport = h.buckets.Transport(h.people.Operator(h.people.ManagementAccount()))
	} else {
		cfg.Endpoint = endpointOf(where)
	}
	client, err := bucket.New(cfg)
	if err != nil {
		return nil, err
	}
	return anchor.New(anchor.Config{Client: client, Bucket: h.cfg.AnchorBucket})
}
