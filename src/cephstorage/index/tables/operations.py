"""Mirrors and their jobs, access tokens, walks over buckets and what they find."""

from sqlalchemy import Double, ForeignKey, Index, LargeBinary, Table

from cephstorage.domain.transfers import State
from cephstorage.index.tables.columns import TEXT, WHOLE, Area, column, word


def mirrors(general: Area) -> Table:
    """``mirror`` is the whole of it, as JSON."""
    table = general.table(
        "mirrors",
        column("host", key=True),
        column("bucket", TEXT, ForeignKey(general.full("buckets") + ".name")),
        column("mirror"),
    )
    Index("mirrors_by_bucket", table.c.bucket)
    return table


def tokens(general: Area) -> Table:
    """``secret_hash`` is all that is kept of a token's secret."""
    table = general.table(
        "tokens",
        column("id", key=True),
        column("secret_hash"),
        column("role"),
        column("username", null=True),
        column("label"),
        column("created_at", Double),
        column("expires_at", Double, null=True),
    )
    Index("tokens_by_secret", table.c.secret_hash, unique=True)
    return table


def jobs(general: Area) -> Table:
    """``request``, ``counts`` and ``errors`` are JSON; ``place`` is where a walk over keys goes on."""
    table = general.table(
        "jobs",
        column("id", key=True),
        column("kind"),
        column("mirror"),
        column("bucket"),
        column("request"),
        column("state"),
        column("created_at", Double),
        column("updated_at", Double),
        column("ended_at", Double, null=True),
        column("place", null=True),
        column("counts"),
        column("errors"),
        column("error_code", null=True),
        column("error_msg", null=True),
        column("owner", null=True),
        column("fence", WHOLE),
        column("due_at", Double),
    )
    running = table.c.state == word(State.INPROGRESS)
    ended = table.c.ended_at.is_not(None)
    Index("jobs_due", table.c.due_at, sqlite_where=running, postgresql_where=running)
    Index("jobs_by_mirror", table.c.mirror, table.c.created_at)
    Index("jobs_ended", table.c.ended_at, sqlite_where=ended, postgresql_where=ended)
    return table


def walks(general: Area) -> Table:
    """Walks over a bucket that look whether index and store agree, one row for each kind.

    ``due_at``: when a process may take it - the next walk's beginning, or the end of the lease while one holds it.
    ``place`` is where the walk stands in its ``stage``; ``sums`` what it has added up so far. ``counts`` are those of the
    walk under way (``begun_at`` not null), ``last_counts`` those of the last one that came to its end.
    """
    table = general.table(
        "walks",
        column("bucket", key=True),
        column("kind", key=True),
        column("stage"),
        column("place", null=True),
        column("sums", LargeBinary, null=True),
        column("counts"),
        column("begun_at", Double, null=True),
        column("last_begun_at", Double, null=True),
        column("last_ended_at", Double, null=True),
        column("last_counts"),
        column("owner", null=True),
        column("fence", WHOLE),
        column("due_at", Double),
    )
    Index("walks_due", table.c.kind, table.c.due_at)
    return table


def findings(monitor: Area) -> Table:
    """What is not as it should be with a key. ``done`` is what was undertaken, ``seen_at`` when it was last looked at,
    ``bytes_of`` the version whose bytes are wrong though it looks right.
    """
    table = monitor.table(
        "findings",
        column("bucket", key=True),
        column("key", key=True),
        column("kind"),
        column("code"),
        column("done"),
        column("detail"),
        column("since", Double),
        column("seen_at", Double),
        column("bytes_of", null=True),
    )
    Index("findings_by_age", table.c.seen_at)
    return table
