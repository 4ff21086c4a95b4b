"""Webhooks, and the outbox of their events."""

from sqlalchemy import Double, ForeignKey, Index, Table

from cephstorage.index.tables.columns import TEXT, WHOLE, Area, column


def webhooks(general: Area) -> Table:
    """``bucket`` null: all of the tenant's. ``events`` and ``secrets`` (sealed, newest first) are JSON.

    ``owner``, ``fence``, ``lease_until``: who delivers now; ``rest_until``: nobody before. ``dropped`` counts dead
    letters that made room for younger ones.
    """
    table = general.table(
        "webhooks",
        column("id", key=True),
        column("username", TEXT, ForeignKey(general.full("tenants") + ".username")),
        column("bucket", null=True),
        column("prefix"),
        column("url"),
        column("events"),
        column("secrets"),
        column("previous_until", Double, null=True),
        column("enabled", WHOLE),
        column("disabled_by", null=True),
        column("created_at", Double),
        column("updated_at", Double),
        column("delivered", WHOLE),
        column("dropped", WHOLE),
        column("failures", WHOLE),
        column("last_at", Double, null=True),
        column("last_status", WHOLE, null=True),
        column("last_error", null=True),
        column("rest_until", Double),
        column("owner", null=True),
        column("fence", WHOLE),
        column("lease_until", Double),
    )
    Index("webhooks_by_tenant", table.c.username, table.c.bucket)
    return table


def webhook_events(general: Area) -> Table:
    """``due_at`` null: an earlier event of the same key comes first. ``died_at``: since when it is a dead letter."""
    table = general.table(
        "webhook_events",
        column("id", WHOLE, key=True),
        column("webhook"),
        column("bucket"),
        column("key"),
        column("event"),
        column("type"),
        column("body"),
        column("created_at", Double),
        column("due_at", Double, null=True),
        column("attempts", WHOLE),
        column("died_at", Double, null=True),
        column("error", null=True),
    )
    c = table.c
    alive, dead = c.died_at.is_(None), c.died_at.is_not(None)
    due = alive & c.due_at.is_not(None)
    Index("webhook_events_alive", c.webhook, c.id, sqlite_where=alive, postgresql_where=alive)
    Index("webhook_events_dead", c.webhook, c.id, sqlite_where=dead, postgresql_where=dead)
    Index("webhook_events_due", c.webhook, c.due_at, c.id, sqlite_where=due, postgresql_where=due)
    Index("webhook_events_of_key", c.webhook, c.bucket, c.key, c.id, sqlite_where=alive, postgresql_where=alive)
    return table
