"""Walking over keys in byte order: a span of them, forwards or backwards, with or without conditions.

The keys of one folder are found by (folder, key), all others by key alone. In a folder the bounds compare both
columns as one row value: so no planner can think of reading the whole bucket in order of keys instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, bindparam, func, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from cephstorage.index.folders import folder_sort_key
from cephstorage.index.rows import RECORD_COLUMNS

Filters = Mapping[str, object]
"""Values of conditions by their names in ``WalkStatements``."""


@dataclass(frozen=True, slots=True)
class Span:
    """Keys of a bucket from ``low`` on (without it: ``above``) and below ``before``; of ``folder`` only, unless None.

    ``last`` is an inclusive end in the direction of the walk.
    """

    bucket: str
    folder: str | None
    low: str
    before: str | None
    descending: bool = False
    above: bool = False
    last: str | None = None

    def after(self, key: str) -> "Span":
        """What of it follows behind a key."""
        if self.descending:
            return replace(self, before=key if self.before is None else min(key, self.before), last=None)
        return replace(self, low=key, above=True, last=None) if key >= self.low else replace(self, last=None)

    def until(self, key: str | None) -> "Span":
        """What of it ends with a key; all of it for None."""
        return replace(self, last=key)

    def holds(self, key: str) -> bool:
        """Whether a key lies in its range; the folder aside."""
        low = key > self.low if self.above else key >= self.low
        return low and (self.before is None or key < self.before)


class WalkStatements:
    """Statements over a table of keys."""

    def __init__(self, keys: Table) -> None:
        self._keys = keys
        self._records = select(*(keys.c[name] for name in RECORD_COLUMNS))
        self._names = select(keys.c.key)
        self._made: dict[tuple[Any, ...], Select[Any]] = {}

    def rows(self, conn: Connection, span: Span, filters: Filters, limit: int) -> Sequence[Row[Any]]:
        """Up to ``limit`` rows of ``RECORD_COLUMNS`` in order."""
        values = {**_values(span), **filters, "limit": limit}
        return conn.execute(self._statement("rows", span, values), values).all()

    def nth(self, conn: Connection, span: Span, number: int) -> str | None:
        """The key that is the ``number``-th of the span; None when it has fewer."""
        values = {**_values(span), "limit": 1, "skip": number - 1}
        found: str | None = conn.scalar(self._statement("nth", span, values), values)
        return found

    def named(self, conn: Connection, span: Span, filters: Filters, keys: Sequence[str]) -> Sequence[Row[Any]]:
        """The rows of these keys that the filters let through, in order."""
        c = self._keys.c
        conditions = [self._condition(name) for name in filters]
        if span.folder is not None:
            conditions.append(c.vfolder == folder_sort_key(span.folder))
        asked = self._records.where(c.bucket == span.bucket, c.key.in_(bindparam("keys", expanding=True)), *conditions)
        order = c.key.desc() if span.descending else c.key
        return conn.execute(asked.order_by(order), {"keys": list(keys), **filters}).all()

    def _statement(self, what: str, span: Span, values: Mapping[str, object]) -> Select[Any]:
        shape = (what, span.descending, span.above, *sorted(values))
        made = self._made.get(shape)
        if made is None:
            made = self._made[shape] = self._build(what, span, values)
        return made

    def _build(self, what: str, span: Span, values: Mapping[str, object]) -> Select[Any]:
        c = self._keys.c
        asked: Select[Any] = self._records if what == "rows" else self._names
        conditions: list[ColumnElement[bool]] = [c.bucket == bindparam("bucket")]
        in_folder = "vfolder" in values
        place = tuple_(c.vfolder, c.key) if in_folder else c.key

        def bound(name: str) -> Any:
            key = bindparam(name, type_=c.key.type)
            return tuple_(bindparam("vfolder", type_=c.vfolder.type), key) if in_folder else key

        # One bound on each side: of two row values PostgreSQL ends a scan at the first, be it the wider one.
        last_is_low, last_is_high = "last" in values and span.descending, "last" in values and not span.descending
        if last_is_low:
            conditions.append(place >= bound("last"))
        elif in_folder or "low" in values:
            conditions.append(place > bound("low") if span.above else place >= bound("low"))
        if last_is_high:
            conditions.append(place <= bound("last"))
        elif "before" in values:
            conditions.append(place < bound("before"))
        elif in_folder:
            conditions.append(c.vfolder <= bindparam("vfolder"))
        conditions += [self._condition(name) for name in values if name in _CONDITIONS]
        order = (c.vfolder, c.key) if in_folder else (c.key,)
        asked = asked.where(*conditions).order_by(*(each.desc() if span.descending else each for each in order))
        asked = asked.limit(bindparam("limit"))
        return asked.offset(bindparam("skip")) if "skip" in values else asked

    def _condition(self, name: str) -> ColumnElement[bool]:
        condition: ColumnElement[bool] = _CONDITIONS[name](self._keys.c, name)
        return condition


def _contains(c: Any, name: str) -> ColumnElement[bool]:
    """LIKE knows no case in SQLite and wildcards everywhere; replace() compares bytes in every database."""
    condition: ColumnElement[bool] = func.replace(c.key, bindparam(name), "") != c.key
    return condition


_CONDITIONS: dict[str, Any] = {
    "contains": _contains,
    **{f"literal{number}": _contains for number in range(4)},
    "content_type": lambda c, name: c.content_type == bindparam(name),
    "md5": lambda c, name: c.md5 == bindparam(name),
    "size_min": lambda c, name: c.size >= bindparam(name),
    "size_max": lambda c, name: c.size <= bindparam(name),
    "ts_min": lambda c, name: c.ts >= bindparam(name),
    "ts_max": lambda c, name: c.ts <= bindparam(name),
}


def _values(span: Span) -> dict[str, object]:
    """The values of the bounds that a span has."""
    values: dict[str, object] = {"bucket": span.bucket}
    if span.folder is not None:
        values |= {"vfolder": folder_sort_key(span.folder), "low": span.low}
    elif span.low:
        values["low"] = span.low
    if span.before is not None:
        values["before"] = span.before
    if span.last is not None:
        values["last"] = span.last
    return values
