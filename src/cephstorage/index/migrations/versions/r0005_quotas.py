"""Quotas of tenants and buckets, and what transfers under way have reserved of them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

WHOLE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add what the release adds."""
    separate = op.get_bind().dialect.name == "postgresql"
    schema = "CephStorageGeneral" if separate else None
    prefix = "" if separate else "CephStorageGeneral_"
    for table in ("tenants", "buckets"):
        for name in ("quota_size", "quota_keyamount"):
            op.add_column(f"{prefix}{table}", sa.Column(name, WHOLE), schema=schema)
    transfers = f"{prefix}transfers"
    for name in ("reserved_size", "reserved_keys"):
        column = sa.Column(name, WHOLE, nullable=False, server_default=sa.text("0"))
        op.add_column(transfers, column, schema=schema)
    reserving = sa.text("state = 'inprogress' AND reserved_size + reserved_keys > 0")
    op.create_index(
        "transfers_reserving",
        transfers,
        ["bucket"],
        schema=schema,
        sqlite_where=reserving,
        postgresql_where=reserving,
    )
