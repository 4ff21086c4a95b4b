"""What is known of a key is found by the key, however many transfers and removals wait."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add what the release adds."""
    separate = op.get_bind().dialect.name == "postgresql"

    def name(table: str) -> tuple[str, str | None]:
        area = "CephStorageGeneral"
        return (table, area) if separate else (f"{area}_{table}", None)

    removals, schema = name("removals")
    op.create_index("removals_by_key", removals, ["bucket", "key"], schema=schema)
    transfers, schema = name("transfers")
    storing = sa.text("state = 'inprogress' AND \"plan\" IS NOT NULL")
    op.create_index(
        "transfers_storing", transfers, ["bucket", "key"], schema=schema, sqlite_where=storing, postgresql_where=storing
    )
