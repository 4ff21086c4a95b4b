"""Edges, several machines: the outbox of purges, and claims by kind."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
WHOLE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add what the release adds."""
    separate = op.get_bind().dialect.name == "postgresql"
    schema = "CephStorageGeneral" if separate else None
    prefix = "" if separate else "CephStorageGeneral_"
    op.create_table(
        f"{prefix}purges",
        sa.Column("id", WHOLE, primary_key=True, autoincrement=True),
        sa.Column("bucket", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("size", WHOLE, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("attempts", WHOLE, nullable=False),
        sa.Column("remaining", TEXT),
        schema=schema,
        sqlite_autoincrement=True,
    )
    op.create_index("purges_due", f"{prefix}purges", ["not_before"], schema=schema)
    op.create_index("purges_by_key", f"{prefix}purges", ["bucket", "key"], schema=schema)
    served = sa.text("state = 'inprogress' AND kind IN ('fill', 'upload')")
    op.create_index(
        "transfers_due_served",
        f"{prefix}transfers",
        ["due_at"],
        schema=schema,
        sqlite_where=served,
        postgresql_where=served,
    )
