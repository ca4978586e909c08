-- A database as release 0.1.0 (schema 0001) writes it; never edited, so that upgrades meet what is out there.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE apps (
	app_id VARCHAR(64) NOT NULL, 
	position BIGINT NOT NULL, 
	position_reason SMALLINT NOT NULL, 
	position_at BIGINT NOT NULL, 
	position_by VARCHAR(128) NOT NULL, 
	PRIMARY KEY (app_id, position)
);
INSERT INTO "apps" VALUES('wx00000000000000d3',2,4,1767225600000000,'op');
CREATE TABLE identities (
	app_id VARCHAR(64) NOT NULL, 
	openid VARCHAR(128) NOT NULL, 
	user_id VARCHAR(22) NOT NULL, 
	created_at BIGINT NOT NULL, 
	session_key BLOB NOT NULL, 
	session_key_at BIGINT NOT NULL, 
	previous_session_key BLOB, 
	previous_session_key_at BIGINT, 
	PRIMARY KEY (app_id, openid)
);
INSERT INTO "identities" VALUES('wx00000000000000d1','openid-0','FRUVFRUVFRUVFRUVFRUVFQ',1767225600000000,X'7365616C6564',1767225600000000,NULL,NULL);
INSERT INTO "identities" VALUES('wx00000000000000d1','openid-1','FhYWFhYWFhYWFhYWFhYWFg',1767225600000000,X'7365616C6564',1767225600000000,NULL,NULL);
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
	withdrawn_by VARCHAR(128) DEFAULT '' NOT NULL, 
	PRIMARY KEY (kid)
);
INSERT INTO "signing_keys" VALUES('kid-1','ES256','{"kty":"EC"}','active',1767225600000000,NULL,'');
CREATE TABLE unionids (
	platform_group VARCHAR(64) NOT NULL, 
	unionid VARCHAR(128) NOT NULL, 
	user_id VARCHAR(22) NOT NULL, 
	created_at BIGINT NOT NULL, 
	PRIMARY KEY (platform_group, unionid)
);
INSERT INTO "unionids" VALUES('op1','unionid-0','FRUVFRUVFRUVFRUVFRUVFQ',1767225600000000);
INSERT INTO "unionids" VALUES('op1','unionid-1','FhYWFhYWFhYWFhYWFhYWFg',1767225600000000);
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
	blocked_by VARCHAR(128) DEFAULT '' NOT NULL, 
	PRIMARY KEY (user_id), 
	UNIQUE (external_id)
);
INSERT INTO "users" VALUES('FRUVFRUVFRUVFRUVFRUVFQ',1767225600000000,0,0,NULL,'','[]',NULL,NULL,NULL,'','');
INSERT INTO "users" VALUES('FhYWFhYWFhYWFhYWFhYWFg',1767225600000000,0,0,NULL,'','[]',NULL,NULL,NULL,'','');
CREATE INDEX identities_by_user ON identities (user_id);
CREATE INDEX login_codes_by_expiry ON login_codes (expires_at);
CREATE INDEX revocations_by_usefulness ON revocations (useful_until);
CREATE INDEX sessions_by_absolute_end ON sessions (absolute_end);
CREATE INDEX sessions_by_app ON sessions (app_id, created_at, session_id);
CREATE INDEX sessions_by_user ON sessions (user_id, created_at, session_id);
CREATE INDEX unionids_by_user ON unionids (user_id, platform_group);
COMMIT;
