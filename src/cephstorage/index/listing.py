"""Listing: sub-folders by a loose index scan, then keys by range, page after page from where the last ended.

Nothing is counted or skipped over: a page costs the same at the front of a bucket and at its end. The
cursor says which entry was the last one: ``["f", folder]`` or ``["k", key]``, base64url of JSON.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Select, bindparam, func, select

from cephstorage.domain.errors import BucketNotFound, InvalidCursor, InvalidKey
from cephstorage.domain.names import BucketName, child_folder, key_name, prefix_end
from cephstorage.domain.records import ListQuery, Page, Record
from cephstorage.index.folders import after, below, folder_path, folder_sort_key
from cephstorage.index.rows import RECORD_COLUMNS, record_of
from cephstorage.index.schema import Schema

_MAX_LIMIT = 1000
_FOLDER, _KEY = "f", "k"


@dataclass(frozen=True, slots=True)
class _Place:
    """The entry after which a page begins."""

    kind: str
    name: str


def _cursor(kind: str, name: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([kind, name]).encode()).decode()


def _place(cursor: str | None, *, with_folders: bool) -> _Place | None:
    """Read a cursor. Raises InvalidCursor."""
    if cursor is None:
        return None
    try:
        kind, name = json.loads(base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True))
        key_name(name)
    except (ValueError, TypeError, AttributeError, RecursionError, InvalidKey) as error:
        raise InvalidCursor("The cursor was not made by this service; begin again without one.") from error
    if kind != _KEY and not (kind == _FOLDER and with_folders):
        raise InvalidCursor("The cursor belongs to another listing; begin again without one.")
    return _Place(kind, name)


class ListingStatements:
    """The listing's statements over one schema."""

    def __init__(self, schema: Schema) -> None:
        keys = schema.keys
        self._bucket = select(schema.buckets.c.name).where(schema.buckets.c.name == bindparam("bucket"))
        self._folder = (
            select(keys.c.vfolder)
            .where(
                keys.c.bucket == bindparam("bucket"),
                keys.c.vfolder >= bindparam("low"),
                keys.c.vfolder < bindparam("high"),
            )
            .order_by(keys.c.vfolder)
            .limit(1)
        )
        self._keys = keys
        self._page = (
            select(*(keys.c[name] for name in RECORD_COLUMNS))
            .where(keys.c.bucket == bindparam("bucket"))
            .order_by(keys.c.key)
            .limit(bindparam("limit"))
        )

    def listing(self, conn: Connection, bucket: BucketName, query: ListQuery) -> Page:
        """One page; see ``KeyIndex.listing``."""
        if conn.scalar(self._bucket, {"bucket": str(bucket)}) is None:
            raise BucketNotFound(f"There is no bucket {bucket}.")
        query = replace(query, limit=min(max(query.limit, 1), _MAX_LIMIT))
        with_folders = query.vfolder is not None and not query.recursive
        place = _place(query.cursor, with_folders=with_folders)
        folders = self._folders(conn, bucket, query, place) if with_folders else []
        if len(folders) > query.limit:
            folders = folders[: query.limit]
            return Page((), tuple(folders), _cursor(_FOLDER, folders[-1]))
        room = query.limit - len(folders)
        records = self._records(conn, bucket, query, place, room + 1)
        if len(records) <= room:
            return Page(tuple(records), tuple(folders))
        records = records[:room]
        last = _cursor(_KEY, records[-1].key) if records else _cursor(_FOLDER, folders[-1])
        return Page(tuple(records), tuple(folders), last)

    def _folders(self, conn: Connection, bucket: BucketName, query: ListQuery, place: _Place | None) -> list[str]:
        """Up to ``limit`` + 1 sub-folders from the place on."""
        if place is not None and place.kind == _KEY:
            return []
        assert query.vfolder is not None
        low, high = _folder_range(query.vfolder, query.prefix)
        if place is not None:
            low = max(low, after(place.name))
        found = []
        for child in self._children(conn, str(bucket), query.vfolder, low, high):
            if not f"{child}/".startswith(query.prefix):
                break  # the prefix names something deeper
            found.append(child)
            if len(found) > query.limit:
                break
        return found

    def _children(self, conn: Connection, bucket: str, parent: str, low: bytes, high: bytes) -> Iterator[str]:
        """The loose index scan: one seek for each sub-folder, however many keys it holds."""
        while low < high:
            found = conn.scalar(self._folder, {"bucket": bucket, "low": low, "high": high})
            child = None if found is None else child_folder(parent, folder_path(found))
            if child is None:
                return
            yield child
            low = after(child)

    def _records(
        self, conn: Connection, bucket: BucketName, query: ListQuery, place: _Place | None, limit: int
    ) -> list[Record]:
        values = {"bucket": str(bucket), "limit": limit, **_key_range(query, place)}
        if query.vfolder is not None and not query.recursive:
            values["vfolder"] = folder_sort_key(query.vfolder)
        if query.contains:
            values["contains"] = query.contains
        if query.content_type:
            values["content_type"] = query.content_type
        return [record_of(bucket, row) for row in conn.execute(self._page_for(frozenset(values)), values)]

    def _page_for(self, names: frozenset[str]) -> Select[tuple[object, ...]]:
        """The page statement with the conditions whose values are given."""
        c = self._keys.c
        conditions = {
            "after": c.key > bindparam("after"),
            "from": c.key >= bindparam("from"),
            "before": c.key < bindparam("before"),
            "vfolder": c.vfolder == bindparam("vfolder"),
            # LIKE knows no case in SQLite and wildcards everywhere; replace() compares bytes in every database.
            "contains": func.replace(c.key, bindparam("contains"), "") != c.key,
            "content_type": c.content_type == bindparam("content_type"),
        }
        return self._page.where(*(condition for name, condition in conditions.items() if name in names))


def _folder_range(vfolder: str, prefix: str) -> tuple[bytes, bytes]:
    """Where the sub-folders lie whose paths, with a ``/`` behind them, begin with ``prefix``."""
    low, high = below(vfolder)
    if not prefix:
        return low, high
    if prefix.endswith("/") and len(prefix) > 1:
        only = prefix[:-1]
        return max(low, folder_sort_key(only)), min(high, after(only))
    begin = folder_sort_key(prefix)
    return max(low, begin), min(high, begin + b"\xff")


def _key_range(query: ListQuery, place: _Place | None) -> dict[str, str]:
    """The bounds of the keys, as the values that the statement takes."""
    starts = [query.prefix]
    if query.recursive and query.vfolder:
        starts.append(query.vfolder + "/")
    low = max(starts)
    ends = [end for start in starts if start and (end := prefix_end(start)) is not None]
    bounds = {"before": min(ends)} if ends else {}
    if place is not None and place.kind == _KEY and place.name >= low:
        return {"after": place.name, **bounds}
    return {"from": low, **bounds} if low else bounds
