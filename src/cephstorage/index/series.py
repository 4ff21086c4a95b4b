"""Series by the minute: sums to which any number of processes add."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from cephstorage.domain.names import prefix_end
from cephstorage.index.runner import Runner
from cephstorage.index.schema import Schema
from cephstorage.index.tables.columns import WHOLE

_FORGET_AT_ONCE = 1000


class SeriesStatements:
    """Statements over series."""

    def __init__(self, schema: Schema) -> None:
        series = schema.series
        c = series.c
        sums: Any = postgresql.insert(series) if series.schema else sqlite.insert(series)
        self._add = sums.on_conflict_do_update(
            index_elements=[c.name, c.minute], set_={"value": c.value + sums.excluded.value}
        )
        point = (c.minute - c.minute % bindparam("step", type_=WHOLE)).label("point")
        self._read = (
            select(c.name, point, func.sum(c.value))
            .where(
                c.name >= bindparam("low"),
                c.name < bindparam("high"),
                c.minute >= bindparam("since"),
                c.minute < bindparam("until"),
            )
            .group_by(c.name, point)
            .order_by(c.name, point)
        )
        old = select(c.name, c.minute).where(c.minute < bindparam("before")).limit(bindparam("limit"))
        self._old = old
        self._forget = delete(series).where(c.name == bindparam("of_name"), c.minute == bindparam("of_minute"))

    def add(self, conn: Connection, sums: Mapping[tuple[str, int], float]) -> None:
        """See ``SeriesTable.add``. In one order, so that two processes do not wait for each other in a circle."""
        rows = [{"name": name, "minute": minute, "value": value} for (name, minute), value in sorted(sums.items())]
        if rows:
            conn.execute(self._add, rows)

    def read(self, conn: Connection, prefix: str, since: int, until: int, step: int) -> list[tuple[str, int, float]]:
        """See ``SeriesTable.read``."""
        values = {"low": prefix, "high": prefix_end(prefix), "since": since, "until": until, "step": step}
        return [(row[0], row[1], row[2]) for row in conn.execute(self._read, values)]

    def forget(self, conn: Connection, before: int) -> int:
        """Delete some sums of minutes before one; how many."""
        old = conn.execute(self._old, {"before": before, "limit": _FORGET_AT_ONCE}).all()
        if old:
            conn.execute(self._forget, [{"of_name": row.name, "of_minute": row.minute} for row in old])
        return len(old)


class SqlSeriesTable:
    """``SeriesTable`` in SQL. Relaxed: a power failure may cost the figures of a moment."""

    def __init__(self, db: Runner, statements: SeriesStatements) -> None:
        self._db = db
        self._sql = statements

    async def add(self, sums: Mapping[tuple[str, int], float]) -> None:
        """Add to sums by name and minute."""
        await self._db.write_relaxed(self._sql.add, sums)

    async def read(self, prefix: str, since: int, until: int, step: int) -> Sequence[tuple[str, int, float]]:
        """Sums by name and point."""
        return await self._db.read_one(self._sql.read, prefix, since, until, step)

    async def forget(self, before: int) -> int:
        """Delete sums of minutes before one, some at a time; how many."""
        total = 0
        while count := await self._db.write_relaxed(self._sql.forget, before):
            total += count
        return total
