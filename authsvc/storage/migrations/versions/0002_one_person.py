"""One person: merged users and what undoes it, bound phones, erased ones, and the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("previous_ids", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("users", sa.Column("erased_at", sa.BigInteger()))
    op.add_column("identities", sa.Column("unionid", sa.String(128)))
    op.create_table(
        "audit",
        sa.Column("audit_id", sa.String(22), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(128), nullable=False),
        sa.Column("event", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(22), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
    )
    op.create_index("audit_by_time", "audit", ["at", "audit_id"])
    op.create_index("audit_by_user", "audit", ["user_id", "at"])
    op.create_table(
        "merge_items",
        sa.Column("merge_id", sa.String(22), primary_key=True),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("scope", sa.String(64), primary_key=True),
        sa.Column("value", sa.String(128), primary_key=True),
        sa.Column("moved", sa.SmallInteger(), nullable=False),
    )
    op.create_table(
        "merges",
        sa.Column("merge_id", sa.String(22), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("survivor_id", sa.String(22), nullable=False),
        sa.Column("moved_id", sa.String(22), nullable=False),
        sa.Column("platform_group", sa.String(64), nullable=False, server_default=""),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.Column("merged_at", sa.BigInteger()),
        sa.Column("merged_by", sa.String(128), nullable=False, server_default=""),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("survivor_before", sa.Text()),
        sa.Column("moved_before", sa.Text()),
        sa.Column("undone_at", sa.BigInteger()),
        sa.Column("undone_by", sa.String(128), nullable=False, server_default=""),
    )
    op.create_index("merges_by_moved", "merges", ["moved_id"])
    op.create_index("merges_by_state", "merges", ["state", "found_at", "merge_id"])
    op.create_index("merges_by_survivor", "merges", ["survivor_id"])
    op.create_table(
        "no_merges",
        sa.Column("user_a", sa.String(22), primary_key=True),
        sa.Column("user_b", sa.String(22), primary_key=True),
        sa.Column("marked_at", sa.BigInteger(), nullable=False),
        sa.Column("marked_by", sa.String(128), nullable=False),
    )
    op.create_index("no_merges_by_second", "no_merges", ["user_b"])
    op.create_table(
        "phones",
        sa.Column("app_id", sa.String(64), primary_key=True),
        sa.Column("openid", sa.String(128), primary_key=True),
        sa.Column("sealed_number", sa.LargeBinary(), nullable=False),
        sa.Column("index_key_id", sa.LargeBinary(4), nullable=False),
        sa.Column("blind_index", sa.LargeBinary(32), nullable=False),
        sa.Column("bound_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("phones_by_number", "phones", ["blind_index"])
    op.create_table(
        "tombstones",
        sa.Column("key_id", sa.LargeBinary(4), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("erased_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "user_aliases",
        sa.Column("alias_id", sa.String(22), primary_key=True),
        sa.Column("user_id", sa.String(22), nullable=False),
        sa.Column("merge_id", sa.String(22), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("user_aliases_by_user", "user_aliases", ["user_id"])


def downgrade() -> None:
    op.drop_table("user_aliases")
    op.drop_table("tombstones")
    op.drop_table("phones")
    op.drop_table("no_merges")
    op.drop_table("merges")
    op.drop_table("merge_items")
    op.drop_table("audit")
    op.drop_column("identities", "unionid")
    op.drop_column("users", "erased_at")
    op.drop_column("users", "previous_ids")
