-- A database as release 0.3.0 (schema 0003) writes it; never edited, so that upgrades meet what is out there.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE apps (
	app_id VARCHAR(64) NOT NULL, 
	position BIGINT NOT NULL, 
	position_reason SMALLINT NOT NULL, 
	position_at BIGINT NOT NULL, 
	position_by VARCHAR(128) NOT NULL, 
	PRIMARY KEY (app_id, position)
);
INSERT INTO "apps" VALUES('wx00000000000000d3',2,4,1767225600000000,'op');
CREATE TABLE audit (
	audit_id VARCHAR(22) NOT NULL, 
	at BIGINT NOT NULL, 
	"by" VARCHAR(128) NOT NULL, 
	event VARCHAR(64) NOT NULL, 
	user_id VARCHAR(22) NOT NULL, 
	details TEXT NOT NULL, app_id VARCHAR(64) DEFAULT '' NOT NULL, session_id VARCHAR(22) DEFAULT '' NOT NULL, ip VARCHAR(64) DEFAULT '' NOT NULL, request_id VARCHAR(64) DEFAULT '' NOT NULL, trace_id VARCHAR(32) DEFAULT '' NOT NULL, reason TEXT DEFAULT '' NOT NULL, salt BLOB, commitment BLOB, batch BIGINT, 
	PRIMARY KEY (audit_id)
);
INSERT INTO "audit" VALUES('Hh4eHh4eHh4eHh4eHh4eHg',1767225600000002,'login','user.merged','FxcXFxcXFxcXFxcXFxcXFw','{"merge_id": "HR0dHR0dHR0dHR0dHR0dHQ"}','','','','','','',X'1E1E1E1E1E1E1E1E1E1E1E1E1E1E1E1E',NULL,1);
CREATE TABLE audit_batches (
	batch BIGINT NOT NULL, 
	sealed_at BIGINT NOT NULL, 
	rows BIGINT NOT NULL, 
	rows_hash BLOB NOT NULL, 
	chain_hash BLOB NOT NULL, 
	kid VARCHAR(128) NOT NULL, 
	signature BLOB NOT NULL, 
	PRIMARY KEY (batch)
);
INSERT INTO "audit_batches" VALUES(1,1767225600000003,1,X'1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B1B',X'1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C1C','kid',X'1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D1D');
CREATE TABLE identities (
	app_id VARCHAR(64) NOT NULL, 
	openid VARCHAR(128) NOT NULL, 
	user_id VARCHAR(22) NOT NULL, 
	created_at BIGINT NOT NULL, 
	session_key BLOB NOT NULL, 
	session_key_at BIGINT NOT NULL, 
	previous_session_key BLOB, 
	previous_session_key_at BIGINT, unionid VARCHAR(128), 
	PRIMARY KEY (app_id, openid)
);
INSERT INTO "identities" VALUES('wx00000000000000d1','openid-0','FRUVFRUVFRUVFRUVFRUVFQ',1767225600000000,X'7365616C6564',1767225600000000,NULL,NULL,'unionid-0');
INSERT INTO "identities" VALUES('wx00000000000000d1','openid-1','FhYWFhYWFhYWFhYWFhYWFg',1767225600000000,X'7365616C6564',1767225600000000,NULL,NULL,NULL);
INSERT INTO "identities" VALUES('wx00000000000000d1','openid-2','FxcXFxcXFxcXFxcXFxcXFw',1767225600000000,X'7365616C6564',1767225600000000,NULL,NULL,'unionid-3');
INSERT INTO "identities" VALUES('wx00000000000000d3','openid-3','FxcXFxcXFxcXFxcXFxcXFw',1767225600000001,X'',0,NULL,NULL,'unionid-3');
CREATE TABLE log_head (
	id SMALLINT NOT NULL, 
	incarnation BLOB NOT NULL, 
	position BIGINT NOT NULL, 
	compacted_through BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "log_head" VALUES(1,X'F5B165224A58B791',2,0);
CREATE TABLE login_codes (
	app_id VARCHAR(64) NOT NULL, 
	code_hash BLOB NOT NULL, 
	expires_at BIGINT NOT NULL, 
	PRIMARY KEY (app_id, code_hash)
);
INSERT INTO "login_codes" VALUES('wx00000000000000d1',X'6868686868686868686868686868686868686868686868686868686868686868',1767226200000000);
CREATE TABLE merge_items (
	merge_id VARCHAR(22) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	scope VARCHAR(64) NOT NULL, 
	value VARCHAR(128) NOT NULL, 
	moved SMALLINT NOT NULL, 
	PRIMARY KEY (merge_id, kind, scope, value)
);
INSERT INTO "merge_items" VALUES('HR0dHR0dHR0dHR0dHR0dHQ','identity','wx00000000000000d1','openid-2',0);
INSERT INTO "merge_items" VALUES('HR0dHR0dHR0dHR0dHR0dHQ','identity','wx00000000000000d3','openid-3',1);
INSERT INTO "merge_items" VALUES('HR0dHR0dHR0dHR0dHR0dHQ','unionid','op1','unionid-3',1);
CREATE TABLE merges (
	merge_id VARCHAR(22) NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	survivor_id VARCHAR(22) NOT NULL, 
	moved_id VARCHAR(22) NOT NULL, 
	platform_group VARCHAR(64) DEFAULT '' NOT NULL, 
	found_at BIGINT NOT NULL, 
	merged_at BIGINT, 
	merged_by VARCHAR(128) DEFAULT '' NOT NULL, 
	reason TEXT DEFAULT '' NOT NULL, 
	survivor_before TEXT, 
	moved_before TEXT, 
	undone_at BIGINT, 
	undone_by VARCHAR(128) DEFAULT '' NOT NULL, 
	PRIMARY KEY (merge_id)
);
INSERT INTO "merges" VALUES('HR0dHR0dHR0dHR0dHR0dHQ','done','FxcXFxcXFxcXFxcXFxcXFw','GBgYGBgYGBgYGBgYGBgYGA','op1',1767225600000002,1767225600000002,'login','late unionid','{"roles": [], "external_id": null, "block": null}','{"roles": ["vip"], "external_id": "crm-17", "block": null}',NULL,'');
CREATE TABLE no_merges (
	user_a VARCHAR(22) NOT NULL, 
	user_b VARCHAR(22) NOT NULL, 
	marked_at BIGINT NOT NULL, 
	marked_by VARCHAR(128) NOT NULL, 
	PRIMARY KEY (user_a, user_b)
);
INSERT INTO "no_merges" VALUES('FRUVFRUVFRUVFRUVFRUVFQ','FhYWFhYWFhYWFhYWFhYWFg',1767225600000000,'operator');
CREATE TABLE phones (
	app_id VARCHAR(64) NOT NULL, 
	openid VARCHAR(128) NOT NULL, 
	sealed_number BLOB NOT NULL, 
	index_key_id BLOB NOT NULL, 
	blind_index BLOB NOT NULL, 
	bound_at BIGINT NOT NULL, 
	PRIMARY KEY (app_id, openid)
);
INSERT INTO "phones" VALUES('wx00000000000000d1','openid-0',X'7365616C6564',X'6B6B6B6B',X'6969696969696969696969696969696969696969696969696969696969696969',1767225600000000);
CREATE TABLE principals (
	name VARCHAR(128) NOT NULL, 
	roles TEXT NOT NULL, 
	audiences TEXT NOT NULL, 
	apps TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by VARCHAR(128) NOT NULL, 
	withdrawn_at BIGINT, 
	withdrawn_by VARCHAR(128) DEFAULT '' NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "principals" VALUES('orders','["verifier"]','["orders"]','[]',1767225600000000,'op',NULL,'');
CREATE TABLE revocations (
	position BIGINT NOT NULL, 
	fact_id BLOB NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	target VARCHAR(128) NOT NULL, 
	reason SMALLINT NOT NULL, 
	useful_until BIGINT, 
	app_filter VARCHAR(64) NOT NULL, 
	written_at BIGINT NOT NULL, 
	PRIMARY KEY (position)
);
INSERT INTO "revocations" VALUES(1,X'DF6AF1D8303E61CD','session','AgICAgICAgICAgICAgICAg',1,1767233220000000,'',1767225600000000);
INSERT INTO "revocations" VALUES(2,X'C4BB86C3D1C42710','app','wx00000000000000d3',4,1767233400000000,'',1767225600000000);
CREATE TABLE service_keys (
	key_id VARCHAR(22) NOT NULL, 
	principal VARCHAR(128) NOT NULL, 
	secret_hash BLOB NOT NULL, 
	created_at BIGINT NOT NULL, 
	created_by VARCHAR(128) NOT NULL, 
	expires_at BIGINT, 
	revoked_at BIGINT, 
	revoked_by VARCHAR(128) DEFAULT '' NOT NULL, 
	PRIMARY KEY (key_id)
);
INSERT INTO "service_keys" VALUES('GhoaGhoaGhoaGhoaGhoaGg','orders',X'1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A1A',1767225600000000,'op',NULL,NULL,'');
CREATE TABLE sessions (
	session_id VARCHAR(22) NOT NULL, 
	user_id VARCHAR(22) NOT NULL, 
	app_id VARCHAR(64) NOT NULL, 
	openid VARCHAR(128) NOT NULL, 
	created_at BIGINT NOT NULL, 
	rotated_at BIGINT NOT NULL, 
	refresh_expires_at BIGINT NOT NULL, 
	absolute_end BIGINT NOT NULL, 
	access_expires_at BIGINT NOT NULL, 
	latest_access_expiry BIGINT NOT NULL, 
	counter BIGINT NOT NULL, 
	nonce_hash BLOB NOT NULL, 
	mac_key_id BLOB NOT NULL, 
	position BIGINT NOT NULL, 
	ip VARCHAR(64) NOT NULL, 
	user_agent TEXT NOT NULL, 
	device_id TEXT NOT NULL, 
	device_name TEXT NOT NULL, 
	ended_at BIGINT, 
	end_reason SMALLINT, 
	ended_by VARCHAR(128), 
	PRIMARY KEY (session_id)
);
INSERT INTO "sessions" VALUES('AQEBAQEBAQEBAQEBAQEBAQ','FRUVFRUVFRUVFRUVFRUVFQ','wx00000000000000d1','openid-0',1767225600000000,1767225600000000,1767830400000000,1769817600000000,1767232620000000,1767232620000000,0,X'12F6F6AEB1E1E8588450D4D26F7130D7D78892CB7EFB0787F46FCB12061BE31F',X'6B6B6B6B',0,'10.0.0.1','agent','device','phone',NULL,NULL,NULL);
INSERT INTO "sessions" VALUES('AgICAgICAgICAgICAgICAg','FhYWFhYWFhYWFhYWFhYWFg','wx00000000000000d1','openid-1',1767225600000000,1767225600000000,1767830400000000,1769817600000000,1767232620000000,1767232620000000,0,X'C7F9034FD448868F927DCF94FE314DF53B524AF244A01203EE2BAD12DDDC8386',X'6B6B6B6B',0,'10.0.0.1','agent','device','phone',1767225600000000,1,'user');
CREATE TABLE signing_keys (
	kid VARCHAR(128) NOT NULL, 
	alg VARCHAR(16) NOT NULL, 
	public_jwk TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	created_at BIGINT NOT NULL, 
	withdrawn_at BIGINT, 
	withdrawn_by VARCHAR(128) DEFAULT '' NOT NULL, published_at BIGINT, activate_at BIGINT, activated_at BIGINT, retired_at BIGINT, 
	PRIMARY KEY (kid)
);
INSERT INTO "signing_keys" VALUES('kid-1','ES256','{"kty":"EC"}','active',1767225600000000,NULL,'',NULL,NULL,NULL,NULL);
CREATE TABLE tombstones (
	key_id BLOB NOT NULL, 
	digest BLOB NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	erased_at BIGINT NOT NULL, 
	PRIMARY KEY (key_id, digest)
);
INSERT INTO "tombstones" VALUES(X'6B6B6B6B',X'7474747474747474747474747474747474747474747474747474747474747474','identity',1767225600000000);
CREATE TABLE unionids (
	platform_group VARCHAR(64) NOT NULL, 
	unionid VARCHAR(128) NOT NULL, 
	user_id VARCHAR(22) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (platform_group, unionid)
);
INSERT INTO "unionids" VALUES('op1','unionid-0','FRUVFRUVFRUVFRUVFRUVFQ',1767225600000000);
INSERT INTO "unionids" VALUES('op1','unionid-1','FhYWFhYWFhYWFhYWFhYWFg',1767225600000000);
INSERT INTO "unionids" VALUES('op1','unionid-3','FxcXFxcXFxcXFxcXFxcXFw',1767225600000001);
CREATE TABLE user_aliases (
	alias_id VARCHAR(22) NOT NULL, 
	user_id VARCHAR(22) NOT NULL, 
	merge_id VARCHAR(22) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (alias_id)
);
INSERT INTO "user_aliases" VALUES('GBgYGBgYGBgYGBgYGBgYGA','FxcXFxcXFxcXFxcXFxcXFw','HR0dHR0dHR0dHR0dHR0dHQ',1767225600000002);
CREATE TABLE users (
	user_id VARCHAR(22) NOT NULL, 
	created_at BIGINT NOT NULL, 
	position BIGINT DEFAULT '0' NOT NULL, 
	position_reason SMALLINT DEFAULT '0' NOT NULL, 
	position_at BIGINT, 
	position_by VARCHAR(128) DEFAULT '' NOT NULL, 
	roles TEXT DEFAULT '[]' NOT NULL, 
	external_id VARCHAR(255), 
	blocked_at BIGINT, 
	blocked_until BIGINT, 
	blocked_reason TEXT DEFAULT '' NOT NULL, 
	blocked_by VARCHAR(128) DEFAULT '' NOT NULL, previous_ids TEXT DEFAULT '[]' NOT NULL, erased_at BIGINT, 
	PRIMARY KEY (user_id), 
	UNIQUE (external_id)
);
INSERT INTO "users" VALUES('FRUVFRUVFRUVFRUVFRUVFQ',1767225600000000,0,0,NULL,'','[]',NULL,NULL,NULL,'','','[]',NULL);
INSERT INTO "users" VALUES('FhYWFhYWFhYWFhYWFhYWFg',1767225600000000,0,0,NULL,'','[]',NULL,NULL,NULL,'','','[]',NULL);
INSERT INTO "users" VALUES('FxcXFxcXFxcXFxcXFxcXFw',1767225600000000,0,0,NULL,'','["vip"]','crm-17',NULL,NULL,'','','["GBgYGBgYGBgYGBgYGBgYGA"]',NULL);
INSERT INTO "users" VALUES('GBgYGBgYGBgYGBgYGBgYGA',1767225600000001,0,0,NULL,'','["vip"]',NULL,NULL,NULL,'','','[]',NULL);
CREATE INDEX identities_by_user ON identities (user_id);
CREATE INDEX login_codes_by_expiry ON login_codes (expires_at);
CREATE INDEX revocations_by_usefulness ON revocations (useful_until);
CREATE INDEX sessions_by_absolute_end ON sessions (absolute_end);
CREATE INDEX sessions_by_app ON sessions (app_id, created_at, session_id);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at, session_id);
CREATE INDEX unionids_by_user ON unionids (user_id, platform_group);
CREATE INDEX audit_by_time ON audit (at, audit_id);
CREATE INDEX audit_by_user ON audit (user_id, at);
CREATE INDEX merges_by_moved ON merges (moved_id);
CREATE INDEX merges_by_state ON merges (state, found_at, merge_id);
CREATE INDEX merges_by_survivor ON merges (survivor_id);
CREATE INDEX no_merges_by_second ON no_merges (user_b);
CREATE INDEX phones_by_number ON phones (blind_index);
CREATE INDEX user_aliases_by_user ON user_aliases (user_id);
CREATE INDEX service_keys_by_principal ON service_keys (principal);
CREATE INDEX audit_by_batch ON audit (batch, at, audit_id);
COMMIT;
