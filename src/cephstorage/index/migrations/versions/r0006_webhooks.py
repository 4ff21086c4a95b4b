"""Webhooks and the outbox of their events."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
WHOLE = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Add what the release adds."""
    separate = op.get_bind().dialect.name == "postgresql"
    schema = "CephStorageGeneral" if separate else None
    prefix = "" if separate else "CephStorageGeneral_"
    make_webhooks(prefix, schema)
    make_events(prefix, schema)


def column(name: str, kind: Any = TEXT, *, null: bool = False) -> sa.Column[Any]:
    """A column that is no key."""
    return sa.Column(name, kind, nullable=null)


def make_webhooks(prefix: str, schema: str | None) -> None:
    """Who is told of what."""
    tenants = f"{schema}.tenants.username" if schema else f"{prefix}tenants.username"
    op.create_table(
        f"{prefix}webhooks",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("username", TEXT, sa.ForeignKey(tenants), nullable=False),
        column("bucket", null=True),
        *(column(name) for name in ("prefix", "url", "events", "secrets")),
        column("previous_until", sa.Double(), null=True),
        column("enabled", WHOLE),
        column("disabled_by", null=True),
        column("created_at", sa.Double()),
        column("updated_at", sa.Double()),
        *(column(name, WHOLE) for name in ("delivered", "dropped", "failures")),
        column("last_at", sa.Double(), null=True),
        column("last_status", WHOLE, null=True),
        column("last_error", null=True),
        column("rest_until", sa.Double()),
        column("owner", null=True),
        column("fence", WHOLE),
        column("lease_until", sa.Double()),
        schema=schema,
    )
    op.create_index("webhooks_by_tenant", f"{prefix}webhooks", ["username", "bucket"], schema=schema)


def make_events(prefix: str, schema: str | None) -> None:
    """What they are still to be told."""
    table = f"{prefix}webhook_events"
    op.create_table(
        table,
        sa.Column("id", WHOLE, primary_key=True),
        *(column(name) for name in ("webhook", "bucket", "key", "event", "type", "body")),
        column("created_at", sa.Double()),
        column("due_at", sa.Double(), null=True),
        column("attempts", WHOLE),
        column("died_at", sa.Double(), null=True),
        column("error", null=True),
        schema=schema,
        sqlite_autoincrement=True,
    )
    alive, dead = sa.text("died_at IS NULL"), sa.text("died_at IS NOT NULL")
    due = sa.text("died_at IS NULL AND due_at IS NOT NULL")
    for name, where, columns in (
        ("alive", alive, ["id"]),
        ("dead", dead, ["id"]),
        ("due", due, ["due_at", "id"]),
        ("of_key", alive, ["bucket", "key", "id"]),
    ):
        op.create_index(
            f"webhook_events_{name}",
            table,
            ["webhook", *columns],
            schema=schema,
            sqlite_where=where,
            postgresql_where=where,
        )
