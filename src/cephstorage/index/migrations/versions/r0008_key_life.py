"""Metadata, expiry and trash of keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
WHOLE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add what the release adds."""
    separate = op.get_bind().dialect.name == "postgresql"

    def name(area: str, table: str) -> tuple[str, str | None]:
        return (table, area) if separate else (f"{area}_{table}", None)

    add_to_buckets(*name("CephStorageGeneral", "buckets"))
    add_to_keys(*name("CephStorageIndex", "keys"))
    make_trash(*name("CephStorageIndex", "trash"))


def add_to_buckets(buckets: str, schema: str | None) -> None:
    """Settings of trash and expiry, and what the trash holds."""
    for counted in ("trash_size", "trash_keys", "trash_overwritten"):
        nothing = sa.Column(counted, WHOLE, nullable=False, server_default=sa.text("0"))
        op.add_column(buckets, nothing, schema=schema)
    op.add_column(buckets, sa.Column("trash_days", sa.Double), schema=schema)
    op.add_column(buckets, sa.Column("expiry_rules", TEXT), schema=schema)
    op.add_column(buckets, sa.Column("rules_place", TEXT), schema=schema)
    behind = sa.text("rules_place IS NOT NULL")
    op.create_index(
        "buckets_by_rules_place", buckets, ["name"], schema=schema, sqlite_where=behind, postgresql_where=behind
    )


def add_to_keys(keys: str, schema: str | None) -> None:
    """What a caller says of a key, and when it ends."""
    op.add_column(keys, sa.Column("metadata", TEXT), schema=schema)
    op.add_column(keys, sa.Column("expires", sa.Double), schema=schema)
    op.add_column(keys, sa.Column("expires_at", sa.Double), schema=schema)
    ends = sa.text("expires_at IS NOT NULL")
    op.create_index("keys_expiring", keys, ["expires_at"], schema=schema, sqlite_where=ends, postgresql_where=ends)


def make_trash(trash: str, schema: str | None) -> None:
    """The table of versions that may come back."""
    op.create_table(
        trash,
        sa.Column("bucket", TEXT, primary_key=True),
        sa.Column("key", TEXT, primary_key=True),
        sa.Column("generation", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("size", WHOLE, nullable=False),
        sa.Column("store_version", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("trashed_at", sa.Double, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("record", TEXT, nullable=False),
        schema=schema,
    )
    op.create_index("trash_due", trash, ["due_at"], schema=schema)
