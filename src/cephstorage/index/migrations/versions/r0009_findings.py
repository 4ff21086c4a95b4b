"""What a finding is about that only reading the bytes can tell."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    """Add what the release adds."""
    separate = op.get_bind().dialect.name == "postgresql"
    table, schema = ("findings", "CephStorageMonitor") if separate else ("CephStorageMonitor_findings", None)
    op.add_column(table, sa.Column("bytes_of", TEXT), schema=schema)
