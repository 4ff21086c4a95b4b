"""Transfers, the names callers give them, and the purges that follow from them."""

from sqlalchemy import Double, ForeignKey, Index, Table

from cephstorage.domain.transfers import Kind, State
from cephstorage.index.tables.columns import TEXT, WHOLE, Area, column, reserving, served, whole_from_zero, word


def transfers(general: Area) -> Table:
    """``due_at``: when the row may be claimed - ``not_before``, or the end of the lease while one holds it.

    ``reserved_size`` and ``reserved_keys``: what it may add to the usage; they count while somebody holds the row.
    """
    table = general.table(
        "transfers",
        column("id", key=True),
        column("token"),
        column("kind"),
        column("bucket"),
        column("key"),
        column("request"),
        column("fingerprint", null=True),
        column("state"),
        column("phase"),
        column("created_at", Double),
        column("updated_at", Double),
        column("ended_at", Double, null=True),
        column("bytes_done", WHOLE),
        column("bytes_total", WHOLE, null=True),
        column("attempts", WHOLE),
        column("not_before", Double),
        column("error_code", null=True),
        column("error_msg", null=True),
        column("owner", null=True),
        column("fence", WHOLE),
        column("lease_until", Double),
        column("due_at", Double),
        column("source", null=True),
        column("plan", null=True),
        whole_from_zero("reserved_size"),
        whole_from_zero("reserved_keys"),
    )
    c = table.c
    running = c.state == word(State.INPROGRESS)
    filling = running & (c.kind == word(Kind.FILL))
    begun = running & served(c.kind)
    held = c.owner.is_not(None)
    storing = running & c.plan.is_not(None)
    ended = c.ended_at.is_not(None)
    Index("transfers_by_token", c.token, unique=True)
    Index("transfers_due", c.due_at, sqlite_where=running, postgresql_where=running)
    Index("transfers_due_served", c.due_at, sqlite_where=begun, postgresql_where=begun)
    Index("transfers_single_fill", c.bucket, c.key, unique=True, sqlite_where=filling, postgresql_where=filling)
    Index("transfers_single_request", c.fingerprint, unique=True, sqlite_where=running, postgresql_where=running)
    Index("transfers_storing", c.bucket, c.key, sqlite_where=storing, postgresql_where=storing)
    Index("transfers_held", c.owner, sqlite_where=held, postgresql_where=held)
    Index("transfers_ended", c.ended_at, sqlite_where=ended, postgresql_where=ended)
    room = reserving(table)
    Index("transfers_reserving", c.bucket, sqlite_where=room, postgresql_where=room)
    return table


def idempotency(general: Area) -> Table:
    """Keys that callers gave. Several may name one transfer: a request may join one that was there."""
    table = general.table(
        "idempotency",
        column("key", key=True),
        column(
            "transfer_id",
            TEXT,
            ForeignKey(general.full("transfers") + ".id", ondelete="CASCADE"),
        ),
        column("fingerprint", null=True),
    )
    Index("idempotency_by_transfer", table.c.transfer_id)
    return table


def purges(general: Area) -> Table:
    """``size`` is that of the version that is gone; ``remaining`` the edges still to be told, as JSON (null: all).

    ``job``: the job that asked for it, if one did.
    """
    table = general.table(
        "purges",
        column("id", WHOLE, key=True),
        column("bucket"),
        column("key"),
        column("size", WHOLE),
        column("created_at", Double),
        column("not_before", Double),
        column("attempts", WHOLE),
        column("remaining", null=True),
        column("job", null=True),
    )
    of_job = table.c.job.is_not(None)
    Index("purges_by_job", table.c.job, sqlite_where=of_job, postgresql_where=of_job)
    Index("purges_due", table.c.not_before)
    Index("purges_by_key", table.c.bucket, table.c.key)
    return table
