"""Walks that look whether index and store agree, and what they have found."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
WHOLE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add what the release adds."""
    separate = op.get_bind().dialect.name == "postgresql"

    def name(area: str, table: str) -> tuple[str, str | None]:
        return (table, area) if separate else (f"{area}_{table}", None)

    walks, general = name("CephStorageGeneral", "walks")
    op.create_table(
        walks,
        sa.Column("bucket", TEXT, primary_key=True),
        sa.Column("kind", TEXT, primary_key=True),
        sa.Column("stage", TEXT, nullable=False),
        sa.Column("place", TEXT),
        sa.Column("sums", sa.LargeBinary),
        sa.Column("counts", TEXT, nullable=False),
        *(sa.Column(moment, sa.Double) for moment in ("begun_at", "last_begun_at", "last_ended_at")),
        sa.Column("last_counts", TEXT, nullable=False),
        sa.Column("owner", TEXT),
        sa.Column("fence", WHOLE, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        schema=general,
    )
    op.create_index("walks_due", walks, ["kind", "due_at"], schema=general)
    findings, monitor = name("CephStorageMonitor", "findings")
    op.create_table(
        findings,
        sa.Column("bucket", TEXT, primary_key=True),
        sa.Column("key", TEXT, primary_key=True),
        *(sa.Column(each, TEXT, nullable=False) for each in ("kind", "code", "done", "detail")),
        *(sa.Column(each, sa.Double, nullable=False) for each in ("since", "seen_at")),
        schema=monitor,
    )
    op.create_index("findings_by_age", findings, ["seen_at"], schema=monitor)
