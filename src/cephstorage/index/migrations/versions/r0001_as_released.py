"""The schema as 0.1.0 made it."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    dialect = op.get_bind().dialect.name
    statements = Path(__file__).with_name(f"r0001_{dialect}.sql").read_text()
    counters = (
        '"CephStorageConfiguration".counters' if dialect == "postgresql" else '"CephStorageConfiguration_counters"'
    )
    for statement in statements.split(";\n"):
        if statement.strip():
            op.execute(statement)
    op.execute(f"INSERT INTO {counters} VALUES ('schema', 1), ('settings', 0)")  # noqa: S608 - our own words
