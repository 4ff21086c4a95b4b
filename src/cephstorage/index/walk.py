"""Walking over keys in byte order: a span of them, forwards or backwards, with or without conditions.

The keys of one folder are found by (folder, key), all others by key alone. In a folder a walk begins at a row value,
``(folder, key) > (...)``: so no planner can think of taking the whole folder and sorting it. It ends with the
folder or by its limit: a row value as the end does not stop a scan on PostgreSQL before 18. What lies behind the
end of the span is cut off afterwards; it is never more than the limit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, Table, bindparam, func, null, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from cephstorage.index.folders import folder_sort_key
from cephstorage.index.rows import RECORD_COLUMNS

Filters = Mapping[str, object]
"""Values of conditions by their names in ``WalkStatements``."""


@dataclass(frozen=True, slots=True)
class Span:
    """Keys of a bucket from ``low`` on (without it: ``above``) and below ``before``; of ``folder`` only, unless None.

    ``facts``: whether rows of it hold what is remembered of origins (``ListQuery.facts``).
    """

    bucket: str
    folder: str | None
    low: str
    before: str | None
    descending: bool = False
    above: bool = False
    facts: bool = True

    def after(self, key: str) -> "Span":
        """What of it follows behind a key."""
        if self.descending:
            return replace(self, before=key if self.before is None else min(key, self.before))
        return replace(self, low=key, above=True) if key >= self.low else self

    def holds(self, key: str) -> bool:
        """Whether a key lies in its range; the folder aside."""
        low = key > self.low if self.above else key >= self.low
        return low and (self.before is None or key < self.before)


class WalkStatements:
    """Statements over a table of keys."""

    def __init__(self, keys: Table) -> None:
        self._keys = keys
        shown = [null().label(name) if name == "origin" else keys.c[name] for name in RECORD_COLUMNS]
        self._records = {True: select(*(keys.c[name] for name in RECORD_COLUMNS)), False: select(*shown)}
        self._names = select(keys.c.key)
        self._made: dict[tuple[Any, ...], Select[Any]] = {}

    def rows(
        self, conn: Connection, span: Span, filters: Filters, limit: int, take: int | None = None
    ) -> Sequence[Row[Any]]:
        """Up to ``limit`` rows of ``RECORD_COLUMNS``: of the first ``take`` keys those that the filters let through."""
        values = {**_values(span), **filters, "limit": limit, **({} if take is None else {"take": take})}
        found = list(conn.execute(self._statement("rows", span, values), values).all())
        while found and not span.holds(found[-1].key):
            found.pop()
        return found

    def nth(self, conn: Connection, span: Span, number: int) -> str | None:
        """The key that is the ``number``-th of the span; None when it has fewer."""
        values = {**_values(span), "limit": 1, "skip": number - 1}
        found: str | None = conn.scalar(self._statement("nth", span, values), values)
        return found if found is not None and span.holds(found) else None

    def named(self, conn: Connection, span: Span, filters: Filters, keys: Sequence[str]) -> Sequence[Row[Any]]:
        """The rows of these keys that the filters let through, in order."""
        values = {"bucket": span.bucket, "keys": list(keys), **filters}
        if span.folder is not None:
            values["vfolder"] = folder_sort_key(span.folder)
        return conn.execute(self._statement("named", span, values), values).all()

    def _statement(self, what: str, span: Span, values: Mapping[str, object]) -> Select[Any]:
        shape = (what, span.descending, span.above, span.facts, *sorted(values))
        made = self._made.get(shape)
        if made is None:
            made = self._made[shape] = self._build(what, span, values)
        return made

    def _build(self, what: str, span: Span, values: Mapping[str, object]) -> Select[Any]:
        """The keys of the span in order; with ``take``, what the filters let through of so many of them."""
        filters = [name for name in values if name in _CONDITIONS]
        if what == "nth":
            return self._bounded(self._names, span, values).limit(bindparam("limit")).offset(bindparam("skip"))
        if what == "named":
            return self._named(span, filters, in_folder="vfolder" in values)
        if "take" not in values:
            return self._bounded(self._records[span.facts], span, values).limit(bindparam("limit"))
        if filters and _ABOUT_NAMES.issuperset(filters):
            return self._by_names(span, filters, values)
        taken = self._bounded(self._records[span.facts].add_columns(self._keys.c.vfolder), span, values)
        inner = taken.limit(bindparam("take")).subquery("taken")
        asked: Select[Any] = select(*(inner.c[name] for name in RECORD_COLUMNS)).where(*_conditions(inner.c, filters))
        return _ordered(asked, inner.c, span, in_folder="vfolder" in values).limit(bindparam("limit"))

    def _by_names(self, span: Span, filters: Sequence[str], values: Mapping[str, object]) -> Select[Any]:
        """Names are tried as they stand in the index: in the order of names each row may lie on another page of the table."""
        c, in_folder = self._keys.c, "vfolder" in values
        shown = select(c.vfolder, c.key) if in_folder else self._names
        inner = self._bounded(shown, span, values).limit(bindparam("take")).subquery("taken")
        found = _ordered(select(*inner.c).where(*_conditions(inner.c, filters)), inner.c, span, in_folder=in_folder)
        chosen = found.limit(bindparam("limit")).subquery("chosen")
        same = (c.bucket == bindparam("bucket")) & (c.key == chosen.c.key)
        asked = self._records[span.facts].join_from(chosen, self._keys, same)
        return _ordered(asked, chosen.c, span, in_folder=in_folder)

    def _named(self, span: Span, filters: Sequence[str], *, in_folder: bool) -> Select[Any]:
        c = self._keys.c
        some = c.key.in_(bindparam("keys", expanding=True))
        asked = self._records[span.facts].where(c.bucket == bindparam("bucket"), some, *_conditions(c, filters))
        if in_folder:
            asked = asked.where(c.vfolder == bindparam("vfolder"))
        return _ordered(asked, c, span, in_folder=False)

    def _bounded(self, asked: Select[Any], span: Span, values: Mapping[str, object]) -> Select[Any]:
        c = self._keys.c
        asked = asked.where(c.bucket == bindparam("bucket"))
        if "vfolder" in values:
            asked = self._in_folder(asked, span, values)
        else:
            if "low" in values:
                asked = asked.where(c.key > bindparam("low") if span.above else c.key >= bindparam("low"))
            if "before" in values:
                asked = asked.where(c.key < bindparam("before"))
        return _ordered(asked, c, span, in_folder="vfolder" in values)

    def _in_folder(self, asked: Select[Any], span: Span, values: Mapping[str, object]) -> Select[Any]:
        c = self._keys.c
        folder: Any = bindparam("vfolder", type_=c.vfolder.type)
        place = tuple_(c.vfolder, c.key)
        if not span.descending:
            low = tuple_(folder, bindparam("low", type_=c.key.type))
            return asked.where(place > low if span.above else place >= low, c.vfolder <= folder)
        if "before" in values:
            high = tuple_(folder, bindparam("before", type_=c.key.type))
            return asked.where(place < high, c.vfolder >= folder)
        return asked.where(c.vfolder <= folder, c.vfolder >= folder)


def _ordered(asked: Select[Any], c: Any, span: Span, *, in_folder: bool) -> Select[Any]:
    order = (c.vfolder, c.key) if in_folder else (c.key,)
    return asked.order_by(*(each.desc() if span.descending else each for each in order))


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


_ABOUT_NAMES = {name for name, condition in _CONDITIONS.items() if condition is _contains}


def _conditions(c: Any, filters: Sequence[str]) -> list[ColumnElement[bool]]:
    return [_CONDITIONS[name](c, name) for name in filters]


def _values(span: Span) -> dict[str, object]:
    """The values of the bounds that a span has."""
    values: dict[str, object] = {"bucket": span.bucket}
    if span.folder is not None:
        values |= {"vfolder": folder_sort_key(span.folder), "low": span.low}
    elif span.low:
        values["low"] = span.low
    if span.before is not None:
        values["before"] = span.before
    return values
