"""The tree of folders, the index of names, deletions of many keys."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from cephstorage.index import postgres_names, sqlite_names

revision = "0004"
down_revision = "0003"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
WHOLE = sa.BigInteger().with_variant(sa.Integer, "sqlite")
BATCH = 5000


def upgrade() -> None:
    """Add what the release adds."""
    separate = op.get_bind().dialect.name == "postgresql"

    def name(area: str, table: str) -> tuple[str, str | None]:
        return (table, area) if separate else (f"{area}_{table}", None)

    buckets, general = name("CephStorageGeneral", "buckets")
    op.add_column(
        buckets, sa.Column("highest_generation", WHOLE, nullable=False, server_default=sa.text("0")), schema=general
    )
    make_deletions("" if separate else "CephStorageGeneral_", general)
    folders, area = name("CephStorageIndex", "folders")
    made = make_folders(folders, area)
    keys, _ = name("CephStorageIndex", "keys")
    fill(sa.table(keys, *(sa.column(each) for each in ("bucket", "vfolder", "size", "generation")), schema=area), made)
    note_generations(separate)
    if separate:
        postgres_names.create_names(op.get_bind())
    else:
        sqlite_names.create_names(op.get_bind())


def make_deletions(prefix: str, schema: str | None) -> None:
    """The tables of deletions."""
    table = f"{prefix}deletions"
    op.create_table(
        table,
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("bucket", TEXT, nullable=False),
        sa.Column("prefix", TEXT),
        sa.Column("below_generation", WHOLE, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("place", TEXT, nullable=False),
        sa.Column("done", WHOLE, nullable=False),
        sa.Column("missing", WHOLE, nullable=False),
        sa.Column("total", WHOLE),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("error_code", TEXT),
        sa.Column("error_msg", TEXT),
        schema=schema,
    )
    running, ended = sa.text("state = 'inprogress'"), sa.text("ended_at IS NOT NULL")
    op.create_index("deletions_due", table, ["due_at"], schema=schema, sqlite_where=running, postgresql_where=running)
    op.create_index("deletions_ended", table, ["ended_at"], schema=schema, sqlite_where=ended, postgresql_where=ended)
    op.create_index("deletions_by_bucket", table, ["bucket", "created_at"], schema=schema)
    op.create_table(
        f"{prefix}deletion_keys",
        sa.Column("deletion", TEXT, primary_key=True),
        sa.Column("key", TEXT, primary_key=True),
        schema=schema,
    )


def make_folders(folders: str, schema: str | None) -> sa.Table:
    """The tree, in as many partitions as the keys."""
    made = op.create_table(
        folders,
        sa.Column("bucket", TEXT, primary_key=True),
        sa.Column("parent", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("size", WHOLE, nullable=False),
        sa.Column("keyamount", WHOLE, nullable=False),
        sa.CheckConstraint("size >= 0 AND keyamount >= 0"),
        schema=schema,
        postgresql_partition_by="HASH (bucket)",
    )
    for number in range(16) if schema else ():
        op.execute(
            f'CREATE TABLE "{schema}".folders_{number:02} PARTITION OF "{schema}".folders '
            f"FOR VALUES WITH (MODULUS 16, REMAINDER {number})"
        )
    return made


def fill(keys: sa.TableClause, folders: sa.Table) -> None:
    """The tree of the keys that there are. A folder and all below it come together in the order of ``vfolder``."""
    direct = (
        sa.select(keys.c.bucket, keys.c.vfolder, sa.func.sum(keys.c.size), sa.func.count())
        .group_by(keys.c.bucket, keys.c.vfolder)
        .order_by(keys.c.bucket, keys.c.vfolder)
    )
    rows = tree(op.get_bind().execute(direct, execution_options={"yield_per": BATCH}))
    while batch := list(islice(rows, BATCH)):
        op.bulk_insert(folders, batch)


def tree(direct: Any) -> Iterator[dict[str, Any]]:
    """Rows of folders from what each holds directly."""
    opened: list[tuple[str, dict[str, Any]]] = []
    for bucket, stored, size, keys in direct:
        above = paths(stored.replace(b"\0", b"/").decode())
        while opened and (opened[-1][1]["bucket"], opened[-1][0]) != (bucket, "".join(above[len(opened) - 1 :][:1])):
            yield opened.pop()[1]
        for path in above[len(opened) :]:
            parent, name = split(path)
            row = {"bucket": bucket, "parent": parent, "name": name, "size": 0, "keyamount": 0}
            opened.append((path, row))
        for _, row in opened:
            row["size"] += int(size)
            row["keyamount"] += keys
    while opened:
        yield opened.pop()[1]


def paths(vfolder: str) -> list[str]:
    """The folder and those that hold it, outermost first, without the root."""
    found: list[str] = []
    while vfolder:
        found.insert(0, vfolder)
        vfolder, _ = split(vfolder)
    return found


def split(vfolder: str) -> tuple[str, str]:
    """Its parent and the name that it has there."""
    head, slash, tail = vfolder.rpartition("/")
    return (head, tail) if head or not slash else ("", vfolder)


def note_generations(separate: bool) -> None:
    """The highest generation of each bucket."""
    buckets = '"CephStorageGeneral".buckets' if separate else '"CephStorageGeneral_buckets"'
    keys = '"CephStorageIndex".keys' if separate else '"CephStorageIndex_keys"'
    op.execute(
        f"UPDATE {buckets} SET highest_generation = "  # noqa: S608 - names of ours
        f"coalesce((SELECT max(generation) FROM {keys} k WHERE k.bucket = {buckets}.name), 0)"
    )
