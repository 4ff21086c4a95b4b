"""The tables, once, for every database.

A database server has a schema for each area. SQLite has none: there the area is a prefix of the
table's name, all in one file, because a WAL transaction over attached files is not atomic (sqlite.org,
"ATTACH DATABASE") and publishing touches records, usage and transfers together.

Times are epoch seconds. Strings compare by bytes: BINARY is SQLite's collation, ``C`` the one for
PostgreSQL. Keys are partitioned there by a hash of their bucket, so that no index grows over all of them.

Whoever changes something here writes a revision for the databases that are there (``migrations``).
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable
from sqlalchemy.sql.elements import ColumnElement

from cephstorage.domain.transfers import SERVED, Kind, State

SCHEMA_VERSION = 8
AREAS = ("CephStorageGeneral", "CephStorageIndex", "CephStorageConfiguration", "CephStorageMonitor")
KEY_PARTITIONS = 16

TEXT = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
WHOLE = BigInteger().with_variant(Integer, "sqlite")
"""64 bits in both; SQLite counts a row's id up only in a column that is called INTEGER."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Every table. What a column means stands where it is built."""

    metadata: MetaData
    keys: Table
    folders: Table
    trash: Table
    tenants: Table
    buckets: Table
    mirrors: Table
    transfers: Table
    idempotency: Table
    landing_leases: Table
    removals: Table
    purges: Table
    tokens: Table
    jobs: Table
    job_items: Table
    settings: Table
    counters: Table
    series: Table
    deletions: Table
    deletion_keys: Table
    webhooks: Table
    webhook_events: Table
    walks: Table
    findings: Table


_QUEUES = {"removals", "purges", "webhook_events"}
"""Worked off by number: no number is given twice, even when the table has been empty."""


class _Area:
    """Makes the tables of one area under the names that the database can hold."""

    def __init__(self, metadata: MetaData, name: str, *, separate_schemas: bool) -> None:
        self._metadata = metadata
        self._name = name
        self._separate = separate_schemas

    def full(self, table: str) -> str:
        return f"{self._name}.{table}" if self._separate else f"{self._name}_{table}"

    def table(self, table: str, *items: Column[Any] | Index | CheckConstraint, **options: Any) -> Table:
        if self._separate:
            return Table(table, self._metadata, *items, schema=self._name, **options)
        return Table(self.full(table), self._metadata, *items, sqlite_autoincrement=table in _QUEUES)


def word(value: str) -> ColumnElement[str]:
    """A constant written into the statement: partial indexes are only used for conditions known at compile time."""
    return literal_column(f"'{value}'", Text)


def served(kind: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a transfer's kind is one that requests begin; a constant condition, like ``word``."""
    return kind.in_([word(each) for each in SERVED])


def reserving(table: Table) -> ColumnElement[bool]:
    """Whether a transfer holds room of a quota; a constant condition, like ``word``."""
    c = table.c
    return (c.state == word(State.INPROGRESS)) & (c.reserved_size + c.reserved_keys > literal_column("0"))


def _quota() -> list[Column[Any]]:
    """The most bytes and keys; null: no limit."""
    return [_column("quota_size", WHOLE, null=True), _column("quota_keyamount", WHOLE, null=True)]


def _column(name: str, kind: Any = TEXT, *extra: ForeignKey, null: bool = False, key: bool = False) -> Column[Any]:
    return Column(name, kind, *extra, nullable=null, primary_key=key, autoincrement=name == "id" and kind is WHOLE)


def _whole_from_zero(name: str) -> Column[Any]:
    return Column(name, WHOLE, nullable=False, server_default=text("0"))


def build_schema(*, separate_schemas: bool) -> Schema:
    """The tables; ``separate_schemas`` for databases that have real schemas."""
    metadata = MetaData()
    general = _Area(metadata, "CephStorageGeneral", separate_schemas=separate_schemas)
    index = _Area(metadata, "CephStorageIndex", separate_schemas=separate_schemas)
    configuration = _Area(metadata, "CephStorageConfiguration", separate_schemas=separate_schemas)
    monitor = _Area(metadata, "CephStorageMonitor", separate_schemas=separate_schemas)
    return Schema(
        metadata,
        tenants=general.table("tenants", _column("username", key=True), _column("created_at", Double), *_quota()),
        buckets=_buckets(general),
        keys=_keys(index, general),
        folders=_folders(index),
        trash=_trash(index),
        mirrors=_mirrors(general),
        deletions=_deletions(general),
        deletion_keys=general.table("deletion_keys", _column("deletion", key=True), _column("key", key=True)),
        transfers=_transfers(general),
        idempotency=_idempotency(general),
        webhooks=_webhooks(general),
        webhook_events=_webhook_events(general),
        landing_leases=general.table(
            "landing_leases", _column("bucket", key=True), _column("key", key=True), _column("transfer_id")
        ),
        removals=general.table(
            "removals", _column("id", WHOLE, key=True), _column("bucket"), _column("key"), _column("store_version")
        ),
        purges=_purges(general),
        tokens=_tokens(general),
        jobs=_jobs(general),
        job_items=general.table(
            "job_items",
            _column("job", key=True),
            _column("number", WHOLE, key=True),
            _column("kind"),
            _column("target"),
            _column("depth", WHOLE),
        ),
        settings=configuration.table("settings", _column("name", key=True), _column("value")),
        counters=configuration.table("counters", _column("name", key=True), _column("value", WHOLE)),
        walks=_walks(general),
        findings=_findings(monitor),
        series=monitor.table(
            "series", _column("name", key=True), _column("minute", WHOLE, key=True), _column("value", Double)
        ),
    )


def create_tables(connection: Connection, schema: Schema) -> None:
    """Make every table, in the schemas and partitions that the database has for them.

    Indexes are made in the order of their names, so that no two databases differ in what their planners prefer.
    """
    tables = schema.metadata.sorted_tables
    if schema.keys.schema:
        for area in AREAS:
            # IF NOT EXISTS alone asks for the right to make schemas also where an administrator has made them.
            if connection.scalar(select(func.to_regnamespace(f'"{area}"'))) is None:
                connection.execute(CreateSchema(area, if_not_exists=True))
    for table in tables:
        connection.execute(CreateTable(table))
    for table in (schema.keys, schema.folders) if schema.keys.schema else ():
        for number in range(KEY_PARTITIONS):
            connection.exec_driver_sql(
                f'CREATE TABLE "{table.schema}".{table.name}_{number:02} PARTITION OF "{table.schema}".{table.name} '
                f"FOR VALUES WITH (MODULUS {KEY_PARTITIONS}, REMAINDER {number})"
            )
    for index in sorted((index for table in tables for index in table.indexes), key=lambda index: str(index.name)):
        connection.execute(CreateIndex(index))


def _buckets(general: _Area) -> Table:
    """``next_generation``: where versions begin that are still to come, above every deleted version's generation.

    ``highest_generation``: the highest that any version has had. ``trash_size`` and ``trash_keys``: what its trash
    holds, beside ``size`` and ``keyamount``. ``trash_days`` null: it has none. ``expiry_rules`` is JSON; ``rules_place``
    is the key up to which keys have been given the moments that follow from them, null when all have.
    """
    table = general.table(
        "buckets",
        _column("name", key=True),
        _column("username", TEXT, ForeignKey(general.full("tenants") + ".username")),
        _column("size", WHOLE),
        _column("keyamount", WHOLE),
        _column("next_generation", WHOLE),
        _column("created_at", Double),
        _whole_from_zero("highest_generation"),
        *_quota(),
        _whole_from_zero("trash_size"),
        _whole_from_zero("trash_keys"),
        _whole_from_zero("trash_overwritten"),
        _column("trash_days", Double, null=True),
        _column("expiry_rules", null=True),
        _column("rules_place", null=True),
        CheckConstraint("size >= 0 AND keyamount >= 0"),
    )
    Index("buckets_by_tenant", table.c.username, table.c.name)
    behind = table.c.rules_place.is_not(None)
    Index("buckets_by_rules_place", table.c.name, sqlite_where=behind, postgresql_where=behind)
    return table


def _keys(index: _Area, general: _Area) -> Table:
    """``vfolder`` is the folder's path as ``listing.folder_sort_key`` writes it.

    ``expires`` is what the caller wished, ``expires_at`` when the key ends, its bucket's rules considered; most keys
    do not, and are in no index of such moments.

    A row with its origin's headers is too long for a table WITHOUT ROWID (sqlite.org advises 1/20 of a
    page), whose inner pages hold whole rows.
    """
    table = index.table(
        "keys",
        _column("bucket", TEXT, ForeignKey(general.full("buckets") + ".name"), key=True),
        _column("key", key=True),
        _column("vfolder", LargeBinary),
        _column("ts", Double),
        _column("md5"),
        _column("content_type"),
        _column("size", WHOLE),
        _column("generation", WHOLE),
        _column("etag", null=True),
        _column("last_modified", null=True),
        _column("store_version"),
        _column("source"),
        _column("validated_at", Double),
        _column("origin", null=True),
        _column("invalidated_at", Double, null=True),
        _column("metadata", null=True),
        _column("expires", Double, null=True),
        _column("expires_at", Double, null=True),
        postgresql_partition_by="HASH (bucket)",
    )
    Index("keys_by_folder", table.c.bucket, table.c.vfolder, table.c.key)
    ends = table.c.expires_at.is_not(None)
    Index("keys_expiring", table.c.expires_at, sqlite_where=ends, postgresql_where=ends)
    return table


def _folders(index: _Area) -> Table:
    """``parent`` and ``name`` are those of ``names.parent_folder``. It grows where it is written: no foreign key."""
    return index.table(
        "folders",
        _column("bucket", key=True),
        _column("parent", key=True),
        _column("name", key=True),
        _column("size", WHOLE),
        _column("keyamount", WHOLE),
        CheckConstraint("size >= 0 AND keyamount >= 0"),
        postgresql_partition_by="HASH (bucket)",
    )


def _trash(index: _Area) -> Table:
    """Versions that were deleted or replaced and may come back. ``record`` is the whole of it, as JSON."""
    table = index.table(
        "trash",
        _column("bucket", key=True),
        _column("key", key=True),
        _column("generation", WHOLE, key=True),
        _column("size", WHOLE),
        _column("store_version"),
        _column("reason"),
        _column("trashed_at", Double),
        _column("due_at", Double),
        _column("record"),
    )
    Index("trash_due", table.c.due_at)
    return table


def _deletions(general: _Area) -> Table:
    """``prefix`` null: the keys stand in ``deletion_keys``. ``place`` is the last key that was dealt with."""
    table = general.table(
        "deletions",
        _column("id", key=True),
        _column("bucket"),
        _column("prefix", null=True),
        _column("below_generation", WHOLE),
        _column("state"),
        _column("place"),
        _column("done", WHOLE),
        _column("missing", WHOLE),
        _column("total", WHOLE, null=True),
        _column("created_at", Double),
        _column("updated_at", Double),
        _column("ended_at", Double, null=True),
        _column("due_at", Double),
        _column("error_code", null=True),
        _column("error_msg", null=True),
    )
    c = table.c
    running, ended = c.state == word(State.INPROGRESS), c.ended_at.is_not(None)
    Index("deletions_due", c.due_at, sqlite_where=running, postgresql_where=running)
    Index("deletions_ended", c.ended_at, sqlite_where=ended, postgresql_where=ended)
    Index("deletions_by_bucket", c.bucket, c.created_at)
    return table


def _mirrors(general: _Area) -> Table:
    table = general.table(
        "mirrors",
        _column("host", key=True),
        _column("bucket", TEXT, ForeignKey(general.full("buckets") + ".name")),
        _column("mirror"),
    )
    Index("mirrors_by_bucket", table.c.bucket)
    return table


def _transfers(general: _Area) -> Table:
    """``due_at``: when the row may be claimed - ``not_before``, or the end of the lease while one holds it.

    ``reserved_size`` and ``reserved_keys``: what it may add to the usage; they count while somebody holds the row.
    """
    table = general.table(
        "transfers",
        _column("id", key=True),
        _column("token"),
        _column("kind"),
        _column("bucket"),
        _column("key"),
        _column("request"),
        _column("fingerprint", null=True),
        _column("state"),
        _column("phase"),
        _column("created_at", Double),
        _column("updated_at", Double),
        _column("ended_at", Double, null=True),
        _column("bytes_done", WHOLE),
        _column("bytes_total", WHOLE, null=True),
        _column("attempts", WHOLE),
        _column("not_before", Double),
        _column("error_code", null=True),
        _column("error_msg", null=True),
        _column("owner", null=True),
        _column("fence", WHOLE),
        _column("lease_until", Double),
        _column("due_at", Double),
        _column("source", null=True),
        _column("plan", null=True),
        _whole_from_zero("reserved_size"),
        _whole_from_zero("reserved_keys"),
    )
    c = table.c
    running = c.state == word(State.INPROGRESS)
    filling = running & (c.kind == word(Kind.FILL))
    begun = running & served(c.kind)
    held = c.owner.is_not(None)
    ended = c.ended_at.is_not(None)
    Index("transfers_by_token", c.token, unique=True)
    Index("transfers_due", c.due_at, sqlite_where=running, postgresql_where=running)
    Index("transfers_due_served", c.due_at, sqlite_where=begun, postgresql_where=begun)
    Index("transfers_single_fill", c.bucket, c.key, unique=True, sqlite_where=filling, postgresql_where=filling)
    Index("transfers_single_request", c.fingerprint, unique=True, sqlite_where=running, postgresql_where=running)
    Index("transfers_held", c.owner, sqlite_where=held, postgresql_where=held)
    Index("transfers_ended", c.ended_at, sqlite_where=ended, postgresql_where=ended)
    room = reserving(table)
    Index("transfers_reserving", c.bucket, sqlite_where=room, postgresql_where=room)
    return table


def _idempotency(general: _Area) -> Table:
    """Keys that callers gave. Several may name one transfer: a request may join one that was there."""
    table = general.table(
        "idempotency",
        _column("key", key=True),
        _column(
            "transfer_id",
            TEXT,
            ForeignKey(general.full("transfers") + ".id", ondelete="CASCADE"),
        ),
        _column("fingerprint", null=True),
    )
    Index("idempotency_by_transfer", table.c.transfer_id)
    return table


def _purges(general: _Area) -> Table:
    """``size`` is that of the version that is gone; ``remaining`` the edges still to be told, as JSON (null: all).

    ``job``: the job that asked for it, if one did.
    """
    table = general.table(
        "purges",
        _column("id", WHOLE, key=True),
        _column("bucket"),
        _column("key"),
        _column("size", WHOLE),
        _column("created_at", Double),
        _column("not_before", Double),
        _column("attempts", WHOLE),
        _column("remaining", null=True),
        _column("job", null=True),
    )
    of_job = table.c.job.is_not(None)
    Index("purges_by_job", table.c.job, sqlite_where=of_job, postgresql_where=of_job)
    Index("purges_due", table.c.not_before)
    Index("purges_by_key", table.c.bucket, table.c.key)
    return table


def _webhooks(general: _Area) -> Table:
    """``bucket`` null: all of the tenant's. ``events`` and ``secrets`` (sealed, newest first) are JSON.

    ``owner``, ``fence``, ``lease_until``: who delivers now; ``rest_until``: nobody before. ``dropped`` counts dead
    letters that made room for younger ones.
    """
    table = general.table(
        "webhooks",
        _column("id", key=True),
        _column("username", TEXT, ForeignKey(general.full("tenants") + ".username")),
        _column("bucket", null=True),
        _column("prefix"),
        _column("url"),
        _column("events"),
        _column("secrets"),
        _column("previous_until", Double, null=True),
        _column("enabled", WHOLE),
        _column("disabled_by", null=True),
        _column("created_at", Double),
        _column("updated_at", Double),
        _column("delivered", WHOLE),
        _column("dropped", WHOLE),
        _column("failures", WHOLE),
        _column("last_at", Double, null=True),
        _column("last_status", WHOLE, null=True),
        _column("last_error", null=True),
        _column("rest_until", Double),
        _column("owner", null=True),
        _column("fence", WHOLE),
        _column("lease_until", Double),
    )
    Index("webhooks_by_tenant", table.c.username, table.c.bucket)
    return table


def _webhook_events(general: _Area) -> Table:
    """``due_at`` null: an earlier event of the same key comes first. ``died_at``: since when it is a dead letter."""
    table = general.table(
        "webhook_events",
        _column("id", WHOLE, key=True),
        _column("webhook"),
        _column("bucket"),
        _column("key"),
        _column("event"),
        _column("type"),
        _column("body"),
        _column("created_at", Double),
        _column("due_at", Double, null=True),
        _column("attempts", WHOLE),
        _column("died_at", Double, null=True),
        _column("error", null=True),
    )
    c = table.c
    alive, dead = c.died_at.is_(None), c.died_at.is_not(None)
    due = alive & c.due_at.is_not(None)
    Index("webhook_events_alive", c.webhook, c.id, sqlite_where=alive, postgresql_where=alive)
    Index("webhook_events_dead", c.webhook, c.id, sqlite_where=dead, postgresql_where=dead)
    Index("webhook_events_due", c.webhook, c.due_at, c.id, sqlite_where=due, postgresql_where=due)
    Index("webhook_events_of_key", c.webhook, c.bucket, c.key, c.id, sqlite_where=alive, postgresql_where=alive)
    return table


def _tokens(general: _Area) -> Table:
    table = general.table(
        "tokens",
        _column("id", key=True),
        _column("secret_hash"),
        _column("role"),
        _column("username", null=True),
        _column("label"),
        _column("created_at", Double),
        _column("expires_at", Double, null=True),
    )
    Index("tokens_by_secret", table.c.secret_hash, unique=True)
    return table


def _jobs(general: _Area) -> Table:
    """``request``, ``counts`` and ``errors`` are JSON; ``place`` is where a walk over keys goes on."""
    table = general.table(
        "jobs",
        _column("id", key=True),
        _column("kind"),
        _column("mirror"),
        _column("bucket"),
        _column("request"),
        _column("state"),
        _column("created_at", Double),
        _column("updated_at", Double),
        _column("ended_at", Double, null=True),
        _column("place", null=True),
        _column("counts"),
        _column("errors"),
        _column("error_code", null=True),
        _column("error_msg", null=True),
        _column("owner", null=True),
        _column("fence", WHOLE),
        _column("due_at", Double),
    )
    running = table.c.state == word(State.INPROGRESS)
    ended = table.c.ended_at.is_not(None)
    Index("jobs_due", table.c.due_at, sqlite_where=running, postgresql_where=running)
    Index("jobs_by_mirror", table.c.mirror, table.c.created_at)
    Index("jobs_ended", table.c.ended_at, sqlite_where=ended, postgresql_where=ended)
    return table


def _walks(general: _Area) -> Table:
    """Walks over a bucket that look whether index and store agree, one row for each kind.

    ``due_at``: when a process may take it - the next walk's beginning, or the end of the lease while one holds it.
    ``place`` is where the walk stands in its ``stage``; ``sums`` what it has added up so far. ``counts`` are those of the
    walk under way (``begun_at`` not null), ``last_counts`` those of the last one that came to its end.
    """
    table = general.table(
        "walks",
        _column("bucket", key=True),
        _column("kind", key=True),
        _column("stage"),
        _column("place", null=True),
        _column("sums", LargeBinary, null=True),
        _column("counts"),
        _column("begun_at", Double, null=True),
        _column("last_begun_at", Double, null=True),
        _column("last_ended_at", Double, null=True),
        _column("last_counts"),
        _column("owner", null=True),
        _column("fence", WHOLE),
        _column("due_at", Double),
    )
    Index("walks_due", table.c.kind, table.c.due_at)
    return table


def _findings(monitor: _Area) -> Table:
    """What is not as it should be with a key. ``done`` is what was undertaken, ``seen_at`` when it was last looked at."""
    table = monitor.table(
        "findings",
        _column("bucket", key=True),
        _column("key", key=True),
        _column("kind"),
        _column("code"),
        _column("done"),
        _column("detail"),
        _column("since", Double),
        _column("seen_at", Double),
    )
    Index("findings_by_age", table.c.seen_at)
    return table
