"""The tables, once, for every database.

A database server has a schema for each area. SQLite has none: there the area is a prefix of the
table's name, all in one file, because a WAL transaction over attached files is not atomic (sqlite.org,
"ATTACH DATABASE") and publishing touches records, usage and transfers together.

Keys are partitioned on PostgreSQL by a hash of their bucket, so that no index grows over all of them.

Whoever changes something here writes a revision for the databases that are there (``migrations``).
"""

from dataclasses import dataclass

from sqlalchemy import Connection, Double, MetaData, Table, func, select
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable

from cephstorage.index.tables import keys, operations, transfers, webhooks
from cephstorage.index.tables.columns import WHOLE, Area, column, quota

SCHEMA_VERSION = 10
AREAS = ("CephStorageGeneral", "CephStorageIndex", "CephStorageConfiguration", "CephStorageMonitor")
KEY_PARTITIONS = 16


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


def build_schema(*, separate_schemas: bool) -> Schema:
    """The tables; ``separate_schemas`` for databases that have real schemas."""
    metadata = MetaData()
    general = Area(metadata, "CephStorageGeneral", separate_schemas=separate_schemas)
    index = Area(metadata, "CephStorageIndex", separate_schemas=separate_schemas)
    configuration = Area(metadata, "CephStorageConfiguration", separate_schemas=separate_schemas)
    monitor = Area(metadata, "CephStorageMonitor", separate_schemas=separate_schemas)
    return Schema(
        metadata,
        tenants=general.table("tenants", column("username", key=True), column("created_at", Double), *quota()),
        buckets=keys.buckets(general),
        keys=keys.keys(index, general),
        folders=keys.folders(index),
        trash=keys.trash(index),
        mirrors=operations.mirrors(general),
        deletions=keys.deletions(general),
        deletion_keys=general.table("deletion_keys", column("deletion", key=True), column("key", key=True)),
        transfers=transfers.transfers(general),
        idempotency=transfers.idempotency(general),
        webhooks=webhooks.webhooks(general),
        webhook_events=webhooks.webhook_events(general),
        landing_leases=general.table(
            "landing_leases", column("bucket", key=True), column("key", key=True), column("transfer_id")
        ),
        removals=keys.removals(general),
        purges=transfers.purges(general),
        tokens=operations.tokens(general),
        jobs=operations.jobs(general),
        job_items=general.table(
            "job_items",
            column("job", key=True),
            column("number", WHOLE, key=True),
            column("kind"),
            column("target"),
            column("depth", WHOLE),
        ),
        settings=configuration.table("settings", column("name", key=True), column("value")),
        counters=configuration.table("counters", column("name", key=True), column("value", WHOLE)),
        walks=operations.walks(general),
        findings=operations.findings(monitor),
        series=monitor.table(
            "series", column("name", key=True), column("minute", WHOLE, key=True), column("value", Double)
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
