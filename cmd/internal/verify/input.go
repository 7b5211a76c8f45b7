package verify

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"chirograph.dev/internal/proof"
)

// input is what a verification is given, read from files.
type input struct {
	config proof.VerifyConfig
	files  []*os.File // open
	folder string     // of the log
	state  state
}

func (in *input) close() {
	for _, f := range in.files {
		_ = f.Close() // it was only read
	}
}

// open opens a file and tells its size. It stays open until close.
func (in *input) open(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	in.files = append(in.files, f)
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder", path)
	}
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// gather reads everything but the report and the log, and finds these.
func gather(report string, o *options) (*input, error) {
	in := &input{config: proof.VerifyConfig{ReportID: o.reportID, Quick: o.quick, Serials: o.serials, LogKeys: o.logKeys, Workers: o.workers}}
	c := &in.config
	var err error
	if c.MaxAge, err = age(o.maxAge); err != nil {
		return nil, err
	}
	if c.Sample, err = sample(o); err != nil {
		return nil, err
	}
	if o.quick && (o.seen != "" || o.serials) {
		return nil, cannotCheck("leave --quick out", "--seen and --serials need the log, which --quick does not read")
	}
	if name := strings.TrimSuffix(filepath.Base(report), filepath.Ext(report)); c.ReportID == "" && isID(name) {
		c.ReportID = name // it lies under its id in the bucket: another one there is a swap
	}
	ok := false
	defer func() {
		if !ok {
			in.close()
		}
	}()
	if c.Report, c.ReportSize, err = in.open(report); err != nil {
		return nil, cannotCheck("name the report's file as it was downloaded, which ends in .json or .csv", "opening the report: %w", err)
	}
	if err := in.crls(o.crls); err != nil {
		return nil, err
	}

	manifest := report + proof.ManifestSuffix
	if o.bundle != "" {
		manifest = o.bundle
		if info, err := os.Stat(o.bundle); err == nil && info.IsDir() {
			manifest = filepath.Join(o.bundle, filepath.Base(report)+proof.ManifestSuffix)
		}
	}
	c.Manifest, err = readFile(manifest)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, cannotCheck("download it from beside the report in the bucket, or name it with --bundle. When there is none in the bucket, either the report is from a server of before proofs, which proves nothing, or somebody removed it ("+proof.ClassManifestMissing+"): ask for another report",
			"there is no manifest %s", manifest)
	case err != nil:
		return nil, cannotCheck("", "reading the manifest: %w", err)
	}
	m, broken := proof.OpenManifest(c.Manifest)
	if broken != nil {
		m = &proof.Manifest{} // Verify says what is wrong with it
	}
	if in.folder = o.log; in.folder == "" {
		in.folder = filepath.Join(filepath.Dir(manifest), m.LogFolder())
		if beside := filepath.Join(filepath.Dir(report), m.LogFolder()); !isFolder(in.folder) && isFolder(beside) {
			in.folder = beside
		}
	}
	c.Log = os.DirFS(in.folder)
	switch {
	case o.quick || broken != nil:
	case !isFolder(in.folder):
		return nil, cannotCheck(in.hint(), "there is no folder %s with the log", in.folder)
	case !isFolder(filepath.Join(in.folder, proof.EntriesFolder)):
		return nil, cannotCheck(in.hint(), "the folder %s is not that of a log: it has no folder %s", in.folder, proof.EntriesFolder)
	}
	if err := in.trust(m, o); err != nil {
		return nil, err
	}
	ok = true
	return in, nil
}

// isID tells whether a name is a report's id, a UUID.
func isID(name string) bool {
	hex := strings.ReplaceAll(name, "-", "")
	return len(name) == 36 && len(hex) == 32 && strings.Trim(hex, "0123456789abcdef") == ""
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (in *input) hint() string {
	return "fetch the folder from beside the report in the bucket, with chirograph audit-report download, or aws s3 sync of audit-report/<CA id>/; or name the folder log itself with --log; --quick does without, and proves less"
}

// trust reads what the auditor trusts and knew before.
func (in *input) trust(m *proof.Manifest, o *options) (err error) {
	c := &in.config
	for _, file := range o.cas {
		ders, err := certificates(file)
		if err != nil {
			return cannotCheck("give the CA's certificate as PEM or DER", "--ca-certificate: %w", err)
		}
		c.CACertificates = append(c.CACertificates, ders...)
	}
	switch {
	case o.policy != "" && len(o.witnessKeys) > 0:
		return cannotCheck("", "give --policy or --witness-key, not both")
	case o.policy != "":
		text, err := readFile(o.policy)
		if err == nil {
			c.Policy, err = proof.ParsePolicy(text)
		}
		if err != nil {
			return cannotCheck("it is a policy of C2SP's tlog-policy: witness and quorum lines", "--policy %s: %w", o.policy, err)
		}
	case len(o.witnessKeys) > 0:
		if o.witnessQuorum == 0 {
			o.witnessQuorum = len(o.witnessKeys)
		}
		if c.Policy, err = proof.WitnessPolicy(o.witnessKeys, o.witnessQuorum); err != nil {
			return cannotCheck("", "%w", err)
		}
	case o.witnessQuorum != 0:
		return cannotCheck("", "--witness-quorum needs --witness-key")
	}
	for _, file := range o.known {
		b, err := readFile(file)
		if err != nil {
			return cannotCheck("", "--known: %w", err)
		}
		known, err := proof.ParseKnown(b, file)
		if err != nil {
			return cannotCheck("give a manifest, a checkpoint, or a file that --state wrote", "--known: %w", err)
		}
		if len(known) > 1 { // a state file knows of all logs
			known = ofCA(known, m)
		}
		c.Known = append(c.Known, known...)
	}
	if o.state != "off" {
		if in.state, err = readState(o.state); err != nil {
			return cannotCheck("name another with --state, or --state off", "%w", err)
		}
		for _, k := range ofCA(in.state, m) {
			// A report is no witness for itself: verified twice, nothing more is known.
			if k.Origin != m.Origin || k.Size != m.Size || k.Root != m.Root {
				c.Known = append(c.Known, k)
			}
		}
	}
	if o.seen != "" {
		if c.Seen, err = seen(o.seen); err != nil {
			return cannotCheck("--seen names a folder of certificates, PEM or DER", "--seen: %w", err)
		}
	}
	return nil
}

// sample reads --sample and --nonce.
func sample(o *options) (s proof.Sample, err error) {
	if o.sample == "" {
		if o.nonce != "" {
			return s, cannotCheck("", "--nonce needs --sample")
		}
		return s, nil
	}
	if o.nonce == "" {
		return s, cannotCheck("make one up after you got the report, and write it down: with it everybody draws the same rows", "--sample needs --nonce")
	}
	s.Nonce = o.nonce
	if text, ok := strings.CutSuffix(o.sample, "%"); ok {
		s.Percent, err = strconv.ParseFloat(text, 64)
		if err == nil && !(s.Percent > 0 && s.Percent <= 100) {
			err = strconv.ErrRange
		}
	} else {
		s.Count, err = strconv.ParseUint(o.sample, 10, 63)
		if s.Count == 0 {
			err = errors.Join(err, strconv.ErrRange)
		}
	}
	if err != nil || math.IsNaN(s.Percent) {
		return s, cannotCheck("use a number of rows such as 25, or a share such as 3%", "--sample %q", o.sample)
	}
	return s, nil
}

// certificates reads the certificates of a file: PEM, or one in DER.
func certificates(file string) (ders [][]byte, err error) {
	b, err := readFile(file)
	if err != nil {
		return nil, err
	}
	for rest := b; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			ders = append(ders, block.Bytes)
		}
	}
	if len(ders) == 0 && len(b) > 0 && b[0] == 0x30 { // a SEQUENCE
		ders = append(ders, b)
	}
	if len(ders) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return ders, nil
}

// crls opens revocation lists.
func (in *input) crls(files []string) error {
	for _, file := range files {
		f, size, err := in.open(file)
		if err != nil {
			return cannotCheck("name the list's file, as it was downloaded", "--crl: %w", err)
		}
		list := proof.CRLFile{Name: filepath.Base(file), Reader: f, Size: size}
		var head [11]byte
		if _, err := f.ReadAt(head[:], 0); err == nil && string(head[:]) == "-----BEGIN " { // a copy for people
			text, err := io.ReadAll(f)
			if err != nil {
				return cannotCheck("", "--crl: %w", err)
			}
			block, _ := pem.Decode(text)
			if block == nil || block.Type != "X509 CRL" {
				return cannotCheck("give the list as DER or PEM", "--crl: %s holds no revocation list", file)
			}
			list.Reader, list.Size = bytes.NewReader(block.Bytes), int64(len(block.Bytes))
		}
		in.config.CRLs = append(in.config.CRLs, list)
	}
	return nil
}

// seen reads all certificates of a folder and those below it.
func seen(folder string) (ders [][]byte, err error) {
	err = filepath.WalkDir(folder, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		more, err := certificates(file)
		ders = append(ders, more...)
		return err
	})
	if err == nil && len(ders) == 0 {
		err = fmt.Errorf("the folder %s is empty", folder)
	}
	return ders, err
}
