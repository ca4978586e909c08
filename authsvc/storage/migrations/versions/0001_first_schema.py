"""The first schema: users, identities, sessions, the revocation log, login codes, signing keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "apps",
        sa.Column("app_id", sa.String(64), primary_key=True),
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("position_reason", sa.SmallInteger(), nullable=False),
        sa.Column("position_at", sa.BigInteger(), nullable=False),
        sa.Column("position_by", sa.String(128), nullable=False),
    )
    op.create_table(
        "identities",
        sa.Column("app_id", sa.String(64), primary_key=True),
        sa.Column("openid", sa.String(128), primary_key=True),
        sa.Column("user_id", sa.String(22), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("session_key", sa.LargeBinary(), nullable=False),
        sa.Column("session_key_at", sa.BigInteger(), nullable=False),
        sa.Column("previous_session_key", sa.LargeBinary()),
        sa.Column("previous_session_key_at", sa.BigInteger()),
    )
    op.create_index("identities_by_user", "identities", ["user_id"])
    op.create_table(
        "log_head",
        sa.Column("id", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("incarnation", sa.LargeBinary(8), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("compacted_through", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "login_codes",
        sa.Column("app_id", sa.String(64), primary_key=True),
        sa.Column("code_hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("login_codes_by_expiry", "login_codes", ["expires_at"])
    op.create_table(
        "revocations",
        sa.Column("position", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("fact_id", sa.LargeBinary(8), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("target", sa.String(128), nullable=False),
        sa.Column("reason", sa.SmallInteger(), nullable=False),
        sa.Column("useful_until", sa.BigInteger()),
        sa.Column("app_filter", sa.String(64), nullable=False),
        sa.Column("written_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("revocations_by_usefulness", "revocations", ["useful_until"])
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String(22), primary_key=True),
        sa.Column("user_id", sa.String(22), nullable=False),
        sa.Column("app_id", sa.String(64), nullable=False),
        sa.Column("openid", sa.String(128), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("rotated_at", sa.BigInteger(), nullable=False),
        sa.Column("refresh_expires_at", sa.BigInteger(), nullable=False),
        sa.Column("absolute_end", sa.BigInteger(), nullable=False),
        sa.Column("access_expires_at", sa.BigInteger(), nullable=False),
        sa.Column("latest_access_expiry", sa.BigInteger(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("nonce_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("mac_key_id", sa.LargeBinary(4), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("ip", sa.String(64), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=False),
        sa.Column("device_id", sa.Text(), nullable=False),
        sa.Column("device_name", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("end_reason", sa.SmallInteger()),
        sa.Column("ended_by", sa.String(128)),
    )
    op.create_index("sessions_by_absolute_end", "sessions", ["absolute_end"])
    op.create_index("sessions_by_app", "sessions", ["app_id", "created_at", "session_id"])
    op.create_index("sessions_by_user", "sessions", ["user_id", "created_at", "session_id"])
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(128), primary_key=True),
        sa.Column("alg", sa.String(16), nullable=False),
        sa.Column("public_jwk", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger()),
        sa.Column("withdrawn_by", sa.String(128), nullable=False, server_default=""),
    )
    op.create_table(
        "unionids",
        sa.Column("platform_group", sa.String(64), primary_key=True),
        sa.Column("unionid", sa.String(128), primary_key=True),
        sa.Column("user_id", sa.String(22), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("unionids_by_user", "unionids", ["user_id", "platform_group"])
    op.create_table(
        "users",
        sa.Column("user_id", sa.String(22), primary_key=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("position_reason", sa.SmallInteger(), nullable=False, server_default="0"),
        sa.Column("position_at", sa.BigInteger()),
        sa.Column("position_by", sa.String(128), nullable=False, server_default=""),
        sa.Column("roles", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("external_id", sa.String(255), unique=True),
        sa.Column("blocked_at", sa.BigInteger()),
        sa.Column("blocked_until", sa.BigInteger()),
        sa.Column("blocked_reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("blocked_by", sa.String(128), nullable=False, server_default=""),
    )


def downgrade() -> None:
    op.drop_table("users")
    op.drop_table("unionids")
    op.drop_table("signing_keys")
    op.drop_table("sessions")
    op.drop_table("revocations")
    op.drop_table("login_codes")
    op.drop_table("log_head")
    op.drop_table("identities")
    op.drop_table("apps")
