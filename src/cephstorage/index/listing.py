"""Listing: sub-folders from the tree, then keys by range, page after page from where the last ended.

Nothing is counted or skipped over: a page costs the same at the front of a bucket and at its end. A filter
is given ``budget`` keys a request to find what it looks for; after them the page ends, with a cursor. Where a
text in the name is looked for, the index of names (``names.py``) is asked about all that is left after the
first keys, or, where the text is likely to be rare, before any.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, bindparam, select

from cephstorage.domain.errors import BucketNotFound
from cephstorage.domain.listing import KeyGlob, key_glob
from cephstorage.domain.names import BucketName, prefix_end
from cephstorage.domain.records import Folder, ListQuery, Page, Record
from cephstorage.index.cursors import FOLDER, KEY, Place, read_place, write_place
from cephstorage.index.names import NameIndex, Names
from cephstorage.index.rows import record_of
from cephstorage.index.schema import Schema
from cephstorage.index.tree import FolderStatements
from cephstorage.index.walk import Filters, Span, WalkStatements

_MAX_LIMIT = 1000
BUDGET = 5000
"""Keys that a filter may look at in one request; also the most that the index of names may find."""
SHORT_BUDGET = 1000
"""The same before the index of names is asked, and of keys that a glob is compared with."""


_EMPTY = Page(())


class ListingStatements:
    """The listing's statements over one schema."""

    def __init__(self, schema: Schema, tree: FolderStatements, names: NameIndex, budget: int = BUDGET) -> None:
        self._bucket = select(schema.buckets.c.name).where(schema.buckets.c.name == bindparam("bucket"))
        self._tree = tree
        self._names = names
        self._walk = WalkStatements(schema.keys)
        self.budget = budget

    def listing(self, conn: Connection, bucket: BucketName, query: ListQuery) -> Page:
        """One page; see ``KeyIndex.listing``."""
        page = self._page(conn, bucket, query)
        # A bucket that holds something is there: only of an empty one is it asked, and other pages cost a statement less.
        if page == _EMPTY and conn.scalar(self._bucket, {"bucket": str(bucket)}) is None:
            raise BucketNotFound(f"There is no bucket {bucket}.")
        return page

    def _page(self, conn: Connection, bucket: BucketName, query: ListQuery) -> Page:
        query = replace(query, limit=min(max(query.limit, 1), _MAX_LIMIT))
        with_folders = query.vfolder is not None and not query.recursive
        place = read_place(query.cursor, FOLDER + KEY if with_folders else KEY)
        folders = [each.vfolder for each in self._folders(conn, bucket, query, place)] if with_folders else []
        if len(folders) > query.limit:
            folders = folders[: query.limit]
            return Page((), tuple(folders), write_place(FOLDER, folders[-1]))
        room = query.limit - len(folders)
        records, looked = self._records(conn, bucket, query, place, room + 1)
        if len(records) > room:
            records = records[:room]
            last = write_place(KEY, records[-1].key) if records else write_place(FOLDER, folders[-1])
            return Page(tuple(records), tuple(folders), last)
        return Page(tuple(records), tuple(folders), None if looked is None else write_place(KEY, looked))

    def _folders(self, conn: Connection, bucket: BucketName, query: ListQuery, place: Place | None) -> list[Folder]:
        """Up to ``limit`` + 1 sub-folders from the place on."""
        if place is not None and place.kind == KEY:
            return []
        assert query.vfolder is not None
        after = place.name if place is not None else None
        return self._tree.children(
            conn, bucket, query.vfolder, query.prefix, after, query.limit + 1, descending=query.descending
        )

    def _records(
        self, conn: Connection, bucket: BucketName, query: ListQuery, place: Place | None, wanted: int
    ) -> tuple[list[Record], str | None]:
        """Up to ``wanted`` records, and the key up to which was looked if that is not the end."""
        glob = key_glob(query)
        span = _span(str(bucket), query, place, glob)
        filters = _filters(query, glob)
        if span is None:
            return [], None
        if not filters and glob is None:
            rows = self._walk.rows(conn, span, filters, wanted)
            return [record_of(bucket, row) for row in rows], None
        texts = Names((query.contains, *(glob.sieve.literals if glob else ())))
        indexed = self._names.can(texts)
        if indexed and self._names.sifts(conn, span, texts):
            return self._indexed(conn, bucket, span, filters, glob, wanted, texts, [])
        take = min(SHORT_BUDGET, self.budget) if indexed else self.budget
        found, looked = self._sieved(conn, bucket, span, filters, glob, wanted, take)
        if looked is None or len(found) >= wanted or not indexed:
            return found, looked
        return self._indexed(conn, bucket, span.after(looked), filters, glob, wanted, texts, found)

    def _sieved(
        self, conn: Connection, bucket: BucketName, span: Span, filters: Filters, glob: KeyGlob | None,
        wanted: int, take: int,
    ) -> tuple[list[Record], str | None]:  # fmt: skip
        """Of the first ``take`` keys of a span what the filters let through.

        And how far was looked, unless that was to the span's end, or what is wanted was found.
        """
        most = wanted if glob is None else min(SHORT_BUDGET, self.budget)
        rows = self._walk.rows(conn, span, filters, most, take)
        matching = rows if glob is None else [row for row in rows if glob.matches(row.key)]
        found = [record_of(bucket, row) for row in matching[:wanted]]
        if len(found) == wanted:
            return found, None
        return found, rows[-1].key if len(rows) == most else self._walk.nth(conn, span, take)

    def _indexed(
        self, conn: Connection, bucket: BucketName, span: Span, filters: Filters, glob: KeyGlob | None,
        wanted: int, texts: Names, found: list[Record],
    ) -> tuple[list[Record], str | None]:  # fmt: skip
        """What the index of names finds in a span; walk on through it where these are too many."""
        keys = self._names.find(conn, span, texts, self.budget)
        if keys is None:
            more, looked = self._sieved(conn, bucket, span, filters, glob, wanted - len(found), self.budget)
            return found + more, looked
        matching = sorted(filter(glob.matches, keys) if glob else keys, reverse=span.descending)
        for start in range(0, len(matching), wanted):
            rows = self._walk.named(conn, span, filters, matching[start : start + wanted])
            found += [record_of(bucket, row) for row in rows]
            if len(found) >= wanted:
                break
        return found[:wanted], None


def _filters(query: ListQuery, glob: KeyGlob | None) -> Filters:
    """The conditions on keys, by the names under which the walk knows them."""
    literals: Sequence[str] = glob.sieve.literals if glob else ()
    values: dict[str, object] = {f"literal{number}": text for number, text in enumerate(literals)}
    values |= {"contains": query.contains, "content_type": query.content_type, "md5": query.md5}
    given = {name: value for name, value in values.items() if value}
    bounds = {"size_min": query.size_min, "size_max": query.size_max, "ts_min": query.ts_min, "ts_max": query.ts_max}
    given |= {name: value for name, value in bounds.items() if value is not None}
    return given


def _span(bucket: str, query: ListQuery, place: Place | None, glob: KeyGlob | None) -> Span | None:
    """The range of keys that is asked for, from the place on. None: nothing lies in it."""
    starts = [query.prefix]
    if glob is not None:
        starts.append(glob.sieve.prefix)
    if query.vfolder:
        starts.append(query.vfolder + "/")
    low = max(starts)
    ends = [end for start in starts if start and (end := prefix_end(start)) is not None]
    folder = query.vfolder if query.vfolder is not None and not query.recursive else None
    span = Span(bucket, folder, low, min(ends) if ends else None, descending=query.descending, facts=query.facts)
    if place is not None and place.kind == KEY:
        span = span.after(place.name)
    return span if span.before is None or span.low < span.before else None
