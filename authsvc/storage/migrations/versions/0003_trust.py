"""Trust: callers and their keys, the life of signing keys, and the audit trail as a chain."""

import json
import secrets  # noqa: TID251 - a migration is handed no Entropy, and what it makes is kept

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_KEY_LIFE = ("published_at", "activate_at", "activated_at", "retired_at")
_AUDIT_TEXTS = (("app_id", 64), ("session_id", 22), ("ip", 64), ("request_id", 64), ("trace_id", 32))
_ERASABLE = (("salt", 16), ("commitment", 32))
_SALT_BYTES = 16


def upgrade() -> None:
    for name in _KEY_LIFE:
        op.add_column("signing_keys", sa.Column(name, sa.BigInteger()))
    op.create_table(
        "principals",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("audiences", sa.Text(), nullable=False),
        sa.Column("apps", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("withdrawn_at", sa.BigInteger()),
        sa.Column("withdrawn_by", sa.String(128), nullable=False, server_default=""),
    )
    op.create_table(
        "service_keys",
        sa.Column("key_id", sa.String(22), primary_key=True),
        sa.Column("principal", sa.String(128), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(128), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.Column("revoked_by", sa.String(128), nullable=False, server_default=""),
    )
    op.create_index("service_keys_by_principal", "service_keys", ["principal"])
    for name, length in _AUDIT_TEXTS:
        op.add_column("audit", sa.Column(name, sa.String(length), nullable=False, server_default=""))
    op.add_column("audit", sa.Column("reason", sa.Text(), nullable=False, server_default=""))
    for name, length in _ERASABLE:
        op.add_column("audit", sa.Column(name, sa.LargeBinary(length)))
    op.add_column("audit", sa.Column("batch", sa.BigInteger()))
    op.create_index("audit_by_batch", "audit", ["batch", "at", "audit_id"])
    _make_reasons_erasable()
    op.create_table(
        "audit_batches",
        sa.Column("batch", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("sealed_at", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("rows_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("chain_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("kid", sa.String(128), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
    )


def _make_reasons_erasable() -> None:
    """What an operator gave as a reason may name a person, so it moves from what is hashed to what is committed to."""
    audit = sa.table("audit", *(sa.column(name) for name in ("audit_id", "details", "reason", "salt")))
    connection = op.get_bind()
    for row in connection.execute(sa.select(audit.c.audit_id, audit.c.details)).all():
        details = json.loads(row.details)
        reason = details.pop("reason", "")
        connection.execute(
            sa.update(audit)
            .where(audit.c.audit_id == row.audit_id)
            .values(
                details=json.dumps(details, ensure_ascii=False, sort_keys=True),
                reason=reason,
                salt=secrets.token_bytes(_SALT_BYTES),
            )
        )


def downgrade() -> None:
    op.drop_table("audit_batches")
    op.drop_index("audit_by_batch", "audit")
    for name in ("batch", "reason", *(name for name, _ in _ERASABLE), *(name for name, _ in _AUDIT_TEXTS)):
        op.drop_column("audit", name)
    op.drop_table("service_keys")
    op.drop_table("principals")
    for name in _KEY_LIFE:
        op.drop_column("signing_keys", name)
