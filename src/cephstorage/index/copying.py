"""A whole index, copied from SQLite into an empty PostgreSQL database: all of it, or nothing.

Everything happens in one transaction of the target, which is checked before it commits: the number of rows
of each table, and every bucket's usage. The source is read in one snapshot and never written.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, exists, func, insert, select, update

from cephstorage.domain.errors import Conflict, DatabaseUnavailable
from cephstorage.index.buckets import GENERATIONS, BucketStatements
from cephstorage.index.postgres_setup import prepare
from cephstorage.index.schema import Schema, build_schema
from cephstorage.index.sqlite_file import connect
from cephstorage.index.sqlite_file import prepare as prepare_file

_PATIENCE = 15.0
_BATCH = 1000
Tell = Callable[[str, int], None]


def copy_index(target: Connection, file: Path, tell: Tell) -> Mapping[str, int]:
    """Copy the SQLite ``file``, upgraded if it is older; rows by table. ``tell`` hears of each table.

    Raises Conflict when the target is not empty, DatabaseUnavailable when the copy is not like the source.
    """
    old, new = build_schema(separate_schemas=False), build_schema(separate_schemas=True)
    target.exec_driver_sql("SET LOCAL statement_timeout = 0")
    prepare(target, schema=new)
    _require_empty(target, new)
    prepare_file(file, old, _PATIENCE)
    with closing(connect(file, patience=_PATIENCE, read_only=True)) as source:
        source.exec_driver_sql("BEGIN")
        counts = {}
        for table in _content(new):
            twin = old.metadata.tables[f"{table.schema}_{table.name}"]
            counts[twin.name] = _copy(source, target, twin, table)
            tell(twin.name, counts[twin.name])
        _set_counters(source, target, old, new)
        _check(source, target, old, new)
    target.exec_driver_sql("ANALYZE")
    return counts


def _content(schema: Schema) -> list[Table]:
    """The tables in an order in which no row refers to a later one; the counters are the database's own."""
    return [table for table in schema.metadata.sorted_tables if table is not schema.counters]


def _require_empty(target: Connection, schema: Schema) -> None:
    for table in _content(schema):
        if target.scalar(select(exists(select(table)))):
            raise Conflict(
                f"The target database is not empty: there are rows in {table.schema}.{table.name}. "
                "Name an empty database in CEPHSTORAGE_DATABASE_URL."
            )


def _copy(source: Connection, target: Connection, old: Table, new: Table) -> int:
    names = ", ".join(f'"{column.name}"' for column in new.columns)
    asked = source.exec_driver_sql(f'SELECT {names} FROM "{old.name}"')  # noqa: S608 - names of ours
    raw: Any = target.connection.dbapi_connection
    count = 0
    with raw.cursor() as cursor, cursor.copy(f'COPY "{new.schema}"."{new.name}" ({names}) FROM STDIN') as sink:
        for row in _rows(asked):
            sink.write_row(row)
            count += 1
    return count


def _rows(asked: Any) -> Iterator[tuple[Any, ...]]:
    while batch := asked.fetchmany(_BATCH):
        yield from (tuple(row) for row in batch)


def _set_counters(source: Connection, target: Connection, old: Schema, new: Schema) -> None:
    """Numbers go on where they were; whoever knows the settings by heart looks again."""
    version = source.scalar(select(old.counters.c.value).where(old.counters.c.name == "settings"))
    here = new.counters.c.name == "settings"
    target.execute(update(new.counters).where(here).values(value=(version or 0) + 1))
    used = select(old.counters.c.name, old.counters.c.value).where(old.counters.c.name.startswith(GENERATIONS))
    if generations := source.execute(used).mappings().all():
        target.execute(insert(new.counters), [dict(row) for row in generations])
    last: dict[str, int] = dict(source.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").tuples().all())
    for table in (new.removals, new.purges, new.webhook_events):
        if number := last.get(f"{table.schema}_{table.name}", 0):
            target.exec_driver_sql(
                "SELECT setval(pg_get_serial_sequence(%(table)s, 'id'), %(number)s)",
                {"table": f'"{table.schema}"."{table.name}"', "number": number},
            )


def _check(source: Connection, target: Connection, old: Schema, new: Schema) -> None:
    for table in _content(new):
        twin = old.metadata.tables[f"{table.schema}_{table.name}"]
        there, here = (
            connection.scalar(select(func.count()).select_from(each))
            for connection, each in ((source, twin), (target, table))
        )
        if there != here:
            raise DatabaseUnavailable(f"The copy of {twin.name} has {here} rows instead of {there}; nothing was kept.")
    if drift := BucketStatements(new).drift(target):
        raise DatabaseUnavailable(
            f"The usage of {', '.join(drift)} is not the sum over the keys; nothing was kept. See `cephstorage doctor`."
        )
