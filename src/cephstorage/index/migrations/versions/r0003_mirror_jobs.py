"""Operations on mirrors: jobs and what is left of their lists, copies to be confirmed, purges that belong to a job."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
WHOLE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add what the release adds."""
    separate = op.get_bind().dialect.name == "postgresql"
    schema = "CephStorageGeneral" if separate else None
    prefix = "" if separate else "CephStorageGeneral_"
    keys = ("keys", "CephStorageIndex") if separate else ("CephStorageIndex_keys", None)
    op.add_column(keys[0], sa.Column("invalidated_at", sa.Double), schema=keys[1])
    op.add_column(f"{prefix}purges", sa.Column("job", TEXT), schema=schema)
    of_job = sa.text("job IS NOT NULL")
    op.create_index(
        "purges_by_job",
        f"{prefix}purges",
        ["job"],
        schema=schema,
        sqlite_where=of_job,
        postgresql_where=of_job,
    )
    op.create_table(
        f"{prefix}jobs",
        sa.Column("id", TEXT, primary_key=True),
        *(sa.Column(name, TEXT, nullable=False) for name in ("kind", "mirror", "bucket", "request", "state")),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("place", TEXT),
        sa.Column("counts", TEXT, nullable=False),
        sa.Column("errors", TEXT, nullable=False),
        sa.Column("error_code", TEXT),
        sa.Column("error_msg", TEXT),
        sa.Column("owner", TEXT),
        sa.Column("fence", WHOLE, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        schema=schema,
    )
    running, ended = sa.text("state = 'inprogress'"), sa.text("ended_at IS NOT NULL")
    jobs = f"{prefix}jobs"
    op.create_index("jobs_due", jobs, ["due_at"], schema=schema, sqlite_where=running, postgresql_where=running)
    op.create_index("jobs_by_mirror", jobs, ["mirror", "created_at"], schema=schema)
    op.create_index("jobs_ended", jobs, ["ended_at"], schema=schema, sqlite_where=ended, postgresql_where=ended)
    op.create_table(
        f"{prefix}job_items",
        sa.Column("job", TEXT, primary_key=True),
        sa.Column("number", WHOLE, primary_key=True, autoincrement=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=False),
        sa.Column("depth", WHOLE, nullable=False),
        schema=schema,
    )
