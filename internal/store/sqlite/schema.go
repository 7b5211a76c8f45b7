package sqlite

// Format is the number of the store's format; a store of a higher one is
// refused. Part of the format.
const Format = 5

// applicationID marks the file as ours in its header ("chir").
const applicationID = 0x63686972

// schema is portable SQL but for WITHOUT ROWID, which makes SQLite cluster a
// table by its primary key. Tables of large rows (packSchema) are not clustered:
// whole rows would stand in the inner pages of their tree, and be read on the way
// to another one. Times are milliseconds since the epoch, 0 is none.
// There are no sequences: every key comes from the log's index or from the
// caller.
const schema = `
CREATE TABLE setting (
	name  TEXT NOT NULL PRIMARY KEY,
	value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE log_head (
	ca   TEXT   NOT NULL PRIMARY KEY,
	size BIGINT NOT NULL,
	edge BLOB   NOT NULL, -- 32 bytes for each complete subtree, largest first
	root BLOB   NOT NULL,
	time BIGINT NOT NULL
) WITHOUT ROWID;

-- The entries that are not in a pack yet. Where log_pack has the block, what
-- is left of it here is on its way out.
CREATE TABLE log_entry (
	ca    TEXT   NOT NULL,
	idx   BIGINT NOT NULL,
	bytes BLOB   NOT NULL,
	PRIMARY KEY (ca, idx)
) WITHOUT ROWID;

CREATE TABLE log_node (
	ca    TEXT   NOT NULL,
	level BIGINT NOT NULL,
	n     BIGINT NOT NULL,
	hash  BLOB   NOT NULL,
	PRIMARY KEY (ca, level, n)
) WITHOUT ROWID;

CREATE TABLE certificate (
	ca         TEXT   NOT NULL,
	serial     BLOB   NOT NULL,
	idx        BIGINT NOT NULL, -- of the issue entry
	generation BIGINT NOT NULL, -- of the CA certificate that signed it
	not_after  BIGINT NOT NULL,
	crl        BIGINT NOT NULL DEFAULT 0, -- that it is bound to; 0: none
	PRIMARY KEY (ca, serial)
) WITHOUT ROWID;

CREATE TABLE revocation (
	ca         TEXT   NOT NULL,
	issue_idx  BIGINT NOT NULL,
	revoke_idx BIGINT NOT NULL,
	time       BIGINT NOT NULL,
	reason     BIGINT NOT NULL,
	PRIMARY KEY (ca, issue_idx)
) WITHOUT ROWID;

-- Why an issuance failed whose ARN had been answered already.
CREATE TABLE failed_issuance (
	ca     TEXT NOT NULL,
	serial BLOB NOT NULL,
	reason TEXT NOT NULL,
	PRIMARY KEY (ca, serial)
) WITHOUT ROWID;

CREATE TABLE token (
	key     TEXT   NOT NULL PRIMARY KEY,
	value   TEXT   NOT NULL,
	expires BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX token_expires ON token (expires);

CREATE TABLE certificate_authority (
	id                   TEXT   NOT NULL PRIMARY KEY,
	arn                  TEXT   NOT NULL,
	account              TEXT   NOT NULL,
	type                 TEXT   NOT NULL,
	status               TEXT   NOT NULL,
	failure_reason       TEXT   NOT NULL,
	configuration        TEXT   NOT NULL, -- JSON in the API's shape, as revocation and tags
	revocation           TEXT   NOT NULL,
	key_standard         TEXT   NOT NULL,
	usage_mode           TEXT   NOT NULL,
	tags                 TEXT   NOT NULL,
	permissions          TEXT   NOT NULL DEFAULT 'null', -- JSON
	policy               TEXT   NOT NULL DEFAULT '',
	created_at           BIGINT NOT NULL,
	last_state_change_at BIGINT NOT NULL,
	restorable_until     BIGINT NOT NULL,
	deleted_from         TEXT   NOT NULL DEFAULT '',
	csr                  BLOB   NOT NULL,
	key_id               TEXT   NOT NULL,
	audit_key            TEXT   NOT NULL,
	installed            BIGINT NOT NULL,
	not_after            BIGINT NOT NULL,
	version              BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX certificate_authority_created ON certificate_authority (account, created_at, id);
CREATE INDEX certificate_authority_shared ON certificate_authority (created_at, id) WHERE policy <> '';

CREATE TABLE installed_certificate (
	ca           TEXT   NOT NULL,
	generation   BIGINT NOT NULL,
	certificate  TEXT   NOT NULL,
	chain        TEXT   NOT NULL,
	installed_at BIGINT NOT NULL,
	PRIMARY KEY (ca, generation)
) WITHOUT ROWID;

CREATE TABLE audit_report (
	id          TEXT   NOT NULL PRIMARY KEY,
	ca          TEXT   NOT NULL,
	ca_arn      TEXT   NOT NULL,
	account     TEXT   NOT NULL,
	bucket      TEXT   NOT NULL,
	key         TEXT   NOT NULL,
	format      TEXT   NOT NULL,
	status      TEXT   NOT NULL,
	reason      TEXT   NOT NULL,
	created_at  BIGINT NOT NULL,
	finished_at BIGINT NOT NULL,
	tree_size   BIGINT NOT NULL,
	min_interval BIGINT NOT NULL, -- milliseconds
	invocation  TEXT   NOT NULL,
	total_rows  BIGINT NOT NULL,
	revoked     BIGINT NOT NULL,
	size        BIGINT NOT NULL,
	sha256      BLOB   NOT NULL,
	upload_id   TEXT   NOT NULL,
	version     BIGINT NOT NULL,
	slot_until  BIGINT NOT NULL, -- until when it holds the CA's report slot, but for the interval; follows from the above
	checkpoint  BLOB   NOT NULL DEFAULT x''
) WITHOUT ROWID;
CREATE INDEX audit_report_slot ON audit_report (ca, slot_until);
CREATE INDEX audit_report_newest ON audit_report (ca, tree_size);
CREATE INDEX audit_report_unfinished ON audit_report (created_at) WHERE status = 'CREATING';

CREATE TABLE uploaded_part (
	report   TEXT   NOT NULL,
	number   BIGINT NOT NULL,
	lo       BIGINT NOT NULL,
	hi       BIGINT NOT NULL,
	total_rows BIGINT NOT NULL,
	revoked  BIGINT NOT NULL,
	size     BIGINT NOT NULL,
	etag     TEXT   NOT NULL,
	checksum TEXT   NOT NULL,
	sha256   BLOB   NOT NULL,
	PRIMARY KEY (report, number)
) WITHOUT ROWID;
` + packSchema + auditKeySchema + segmentSchema + crlSchema + identitySchema

// packSchema is certificates and packs; part of schema.
const packSchema = `
-- zstd of the entries of a full block of 16384, each after its length in two bytes.
CREATE TABLE log_pack (
	ca    TEXT   NOT NULL,
	block BIGINT NOT NULL,
	bytes BLOB   NOT NULL,
	PRIMARY KEY (ca, block)
);

-- The certificates that are not in a pack yet.
CREATE TABLE certificate_der (
	ca  TEXT   NOT NULL,
	idx BIGINT NOT NULL,
	der BLOB   NOT NULL,
	PRIMARY KEY (ca, idx)
);

-- zstd of the certificates of the entries [first, first+64), first being a
-- multiple of 64: for each idx - first in one byte, length in four, DER.
CREATE TABLE der_pack (
	ca    TEXT   NOT NULL,
	first BIGINT NOT NULL,
	bytes BLOB   NOT NULL,
	PRIMARY KEY (ca, first)
);
`

// auditKeySchema is the endorsed keys that sign the heads of logs; part of schema.
const auditKeySchema = `
CREATE TABLE audit_key (
	ca          TEXT   NOT NULL,
	verifier    TEXT   NOT NULL, -- note verifier key
	idx         BIGINT NOT NULL, -- of the entry that came with it
	key_id      TEXT   NOT NULL,
	algorithm   TEXT   NOT NULL,
	endorsement BLOB   NOT NULL,
	PRIMARY KEY (ca, verifier)
) WITHOUT ROWID;
`

// segmentSchema is what of reports is kept for the next ones; part of schema.
const segmentSchema = `
CREATE TABLE segment_set (
	ca        TEXT   NOT NULL,
	format    TEXT   NOT NULL,
	rendering BIGINT NOT NULL,
	place     TEXT   NOT NULL,
	size      BIGINT NOT NULL,
	PRIMARY KEY (ca, format)
) WITHOUT ROWID;

CREATE TABLE segment (
	ca         TEXT   NOT NULL,
	format     TEXT   NOT NULL,
	lo         BIGINT NOT NULL,
	hi         BIGINT NOT NULL,
	total_rows BIGINT NOT NULL,
	revoked    BIGINT NOT NULL,
	size       BIGINT NOT NULL,
	sha256     BLOB   NOT NULL,
	checksum   TEXT   NOT NULL,
	etag       TEXT   NOT NULL,
	key        TEXT   NOT NULL,
	stale      BIGINT NOT NULL,
	PRIMARY KEY (ca, format, lo)
) WITHOUT ROWID;
`

// crlSchema is what relying parties learn of revocations from; part of schema.
const crlSchema = `
-- The revocations as lists have them, but for certificates that expired long ago.
-- Most of the time that reading a million of them takes goes with their columns,
-- so bytes is all of it: revoke_idx, crl, not_after, time and reason, each as an
-- unsigned varint, and the serial.
CREATE TABLE crl_entry (
	ca         TEXT   NOT NULL,
	revoke_idx BIGINT NOT NULL, -- of the revoke entry
	crl        BIGINT NOT NULL, -- that the certificate is bound to; 0: none
	bytes      BLOB   NOT NULL,
	PRIMARY KEY (ca, revoke_idx)
) WITHOUT ROWID;
CREATE INDEX crl_entry_bound ON crl_entry (ca, crl, revoke_idx) WHERE crl <> 0;

-- base and delta are what was signed last: of is the number of a delta's base.
CREATE TABLE crl (
	ca                TEXT   NOT NULL,
	id                BIGINT NOT NULL,
	name              TEXT   NOT NULL, -- of the partition
	bucket            TEXT   NOT NULL,
	key               TEXT   NOT NULL,
	uri               TEXT   NOT NULL,
	due               BIGINT NOT NULL,
	certificates      BIGINT NOT NULL, -- bound to it
	not_after         BIGINT NOT NULL, -- the latest of theirs
	revoke_idx        BIGINT NOT NULL, -- of the newest revocation that it is to have; 0: none
	changed_at        BIGINT NOT NULL,
	partitioned       BIGINT NOT NULL,
	open              BIGINT NOT NULL,
	active            BIGINT NOT NULL,
	acl               TEXT   NOT NULL,
	days              BIGINT NOT NULL,
	failures          BIGINT NOT NULL,
	failed_at         BIGINT NOT NULL,
	failure           TEXT   NOT NULL,
	version           BIGINT NOT NULL,
	base_number       BIGINT NOT NULL,
	base_of           BIGINT NOT NULL,
	base_idx          BIGINT NOT NULL, -- of the crl entry
	base_covered      BIGINT NOT NULL,
	base_since        BIGINT NOT NULL,
	base_next_update  BIGINT NOT NULL,
	base_entries      BIGINT NOT NULL,
	base_size         BIGINT NOT NULL,
	base_sha256       BLOB   NOT NULL,
	base_certificate  BIGINT NOT NULL, -- generation
	base_written_at   BIGINT NOT NULL,
	delta_number      BIGINT NOT NULL,
	delta_of          BIGINT NOT NULL,
	delta_idx         BIGINT NOT NULL,
	delta_covered     BIGINT NOT NULL,
	delta_since       BIGINT NOT NULL,
	delta_next_update BIGINT NOT NULL,
	delta_entries     BIGINT NOT NULL,
	delta_size        BIGINT NOT NULL,
	delta_sha256      BLOB   NOT NULL,
	delta_certificate BIGINT NOT NULL,
	delta_written_at  BIGINT NOT NULL,
	PRIMARY KEY (ca, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX crl_open ON crl (ca) WHERE open = 1;
CREATE INDEX crl_complete ON crl (ca) WHERE active = 1 AND partitioned = 0;
CREATE INDEX crl_due ON crl (due) WHERE active = 1 AND due > 0;

-- Certificates that sign OCSP answers.
CREATE TABLE responder (
	ca         TEXT   NOT NULL,
	idx        BIGINT NOT NULL, -- of the issue entry
	serial     BLOB   NOT NULL,
	generation BIGINT NOT NULL, -- of the CA certificate that signed it
	key_id     TEXT   NOT NULL,
	not_before BIGINT NOT NULL,
	not_after  BIGINT NOT NULL,
	PRIMARY KEY (ca, idx)
) WITHOUT ROWID;
`

// identitySchema is who may do what; part of schema.
const identitySchema = `
CREATE TABLE account (
	id        TEXT   NOT NULL PRIMARY KEY,
	name      TEXT   NOT NULL,
	email     TEXT   NOT NULL,
	status    TEXT   NOT NULL,
	joined    TEXT   NOT NULL,
	joined_at BIGINT NOT NULL,
	version   BIGINT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX account_email ON account (email);

CREATE TABLE account_request (
	id             TEXT   NOT NULL PRIMARY KEY,
	name           TEXT   NOT NULL,
	state          TEXT   NOT NULL,
	requested_at   BIGINT NOT NULL,
	account        TEXT   NOT NULL,
	failure_reason TEXT   NOT NULL
) WITHOUT ROWID;

-- Users and roles.
CREATE TABLE identity (
	id               TEXT   NOT NULL PRIMARY KEY,
	kind             TEXT   NOT NULL,
	account          TEXT   NOT NULL,
	name             TEXT   NOT NULL,
	name_key         TEXT   NOT NULL, -- the name in lower case
	path             TEXT   NOT NULL,
	trust            TEXT   NOT NULL,
	description      TEXT   NOT NULL,
	max_session      BIGINT NOT NULL, -- seconds
	boundary         TEXT   NOT NULL,
	created_at       BIGINT NOT NULL,
	last_used_at     BIGINT NOT NULL,
	last_used_region TEXT   NOT NULL,
	version          BIGINT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX identity_name ON identity (account, kind, name_key);
CREATE INDEX identity_boundary ON identity (boundary);

CREATE TABLE inline_policy (
	identity TEXT NOT NULL,
	name     TEXT NOT NULL,
	document TEXT NOT NULL,
	PRIMARY KEY (identity, name)
) WITHOUT ROWID;

CREATE TABLE attached_policy (
	identity TEXT NOT NULL,
	policy   TEXT NOT NULL, -- ARN
	PRIMARY KEY (identity, policy)
) WITHOUT ROWID;
CREATE INDEX attached_policy_policy ON attached_policy (policy, identity);

-- owner is the id of an identity, or the ARN of a policy or provider.
CREATE TABLE identity_tag (
	owner TEXT NOT NULL,
	key   TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (owner, key)
) WITHOUT ROWID;

CREATE TABLE managed_policy (
	arn             TEXT   NOT NULL PRIMARY KEY,
	id              TEXT   NOT NULL,
	account         TEXT   NOT NULL,
	name            TEXT   NOT NULL,
	name_key        TEXT   NOT NULL,
	path            TEXT   NOT NULL,
	description     TEXT   NOT NULL,
	default_version BIGINT NOT NULL,
	last_version    BIGINT NOT NULL,
	created_at      BIGINT NOT NULL,
	updated_at      BIGINT NOT NULL,
	version         BIGINT NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX managed_policy_name ON managed_policy (account, name_key);

CREATE TABLE managed_policy_version (
	policy     TEXT   NOT NULL,
	number     BIGINT NOT NULL,
	document   TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (policy, number)
) WITHOUT ROWID;

CREATE TABLE oidc_provider (
	arn         TEXT   NOT NULL PRIMARY KEY,
	account     TEXT   NOT NULL,
	url         TEXT   NOT NULL,
	client_ids  TEXT   NOT NULL, -- JSON, as thumbprints
	thumbprints TEXT   NOT NULL,
	created_at  BIGINT NOT NULL,
	version     BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX oidc_provider_account ON oidc_provider (account);

CREATE TABLE access_key (
	id                TEXT   NOT NULL PRIMARY KEY,
	sealed_secret     BLOB   NOT NULL,
	account           TEXT   NOT NULL,
	identity          TEXT   NOT NULL, -- of the user; empty for a service's key
	service           TEXT   NOT NULL,
	active            BIGINT NOT NULL,
	created_at        BIGINT NOT NULL,
	last_used_at      BIGINT NOT NULL,
	last_used_service TEXT   NOT NULL,
	last_used_region  TEXT   NOT NULL
) WITHOUT ROWID;
CREATE INDEX access_key_identity ON access_key (identity);
`

// upgrade1 makes room in a store of format 1 for format 2; upgradeKeys fills it.
const upgrade1 = `
ALTER TABLE certificate_authority ADD COLUMN permissions TEXT NOT NULL DEFAULT 'null';
ALTER TABLE certificate_authority ADD COLUMN policy TEXT NOT NULL DEFAULT '';
ALTER TABLE certificate_authority ADD COLUMN deleted_from TEXT NOT NULL DEFAULT '';
CREATE INDEX certificate_authority_shared ON certificate_authority (created_at, id) WHERE policy <> '';
ALTER TABLE access_key RENAME TO access_key_1;
` + identitySchema

// upgrade2 makes a store of format 2 one of format 3. Logs without an audit
// key get theirs endorsed before their next head is signed.
const upgrade2 = `
ALTER TABLE audit_report ADD COLUMN checkpoint BLOB NOT NULL DEFAULT x'';
` + auditKeySchema

// upgrade3 makes a store of format 3 one of format 4. The next report of a CA
// makes its segments. Packs are copied: that takes a while, and the disk must have
// room for them twice. The interval between reports is no longer that of the first
// of two.
const upgrade3 = segmentSchema + `
UPDATE audit_report SET slot_until = created_at WHERE status = 'SUCCESS';
ALTER TABLE log_pack RENAME TO log_pack_3;
ALTER TABLE certificate_der RENAME TO certificate_der_3;
ALTER TABLE der_pack RENAME TO der_pack_3;
` + packSchema + `
INSERT INTO log_pack (ca, block, bytes) SELECT ca, block, bytes FROM log_pack_3 ORDER BY ca, block;
INSERT INTO certificate_der (ca, idx, der) SELECT ca, idx, der FROM certificate_der_3 ORDER BY ca, idx;
INSERT INTO der_pack (ca, first, bytes) SELECT ca, first, bytes FROM der_pack_3 ORDER BY ca, first;
DROP TABLE log_pack_3;
DROP TABLE certificate_der_3;
DROP TABLE der_pack_3;
`

// upgrade4 makes room in a store of format 4 for format 5; upgradeRevoked fills it.
const upgrade4 = `
ALTER TABLE certificate ADD COLUMN crl BIGINT NOT NULL DEFAULT 0;
` + crlSchema
