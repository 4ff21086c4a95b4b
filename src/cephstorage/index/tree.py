"""The tree of folders: a row for each folder, with what it and everything below it holds.

The rows change in the transaction that changes the record. So a page of sub-folders is one range read, however
many keys they hold, and `du` needs no sum. The root has no row: the bucket's own usage is its. A folder
that holds nothing is not there.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from cephstorage.domain.errors import BucketNotFound, InvalidCursor
from cephstorage.domain.names import (
    BucketName,
    folder_path,
    folders_above,
    parent_folder,
    prefix_end,
)
from cephstorage.domain.records import Folder, FolderUsage
from cephstorage.index.cursors import FOLDER, read_place, write_place
from cephstorage.index.folders import folder_path as stored_path
from cephstorage.index.schema import Schema

Change = tuple[int, int]
"""Bytes and keys, both more, or both fewer."""
_BATCH = 5000


class Changes(dict[str, Change]):
    """What changed directly in each of several folders."""

    def note(self, vfolder: str, size: int, keys: int) -> None:
        """Add to what is known of a folder."""
        sizes, amount = self.get(vfolder, (0, 0))
        self[vfolder] = (sizes + size, amount + keys)


class FolderStatements:
    """Statements over the tree. Whoever changes it has the bucket's row locked (``BucketStatements.write``)."""

    def __init__(self, schema: Schema) -> None:
        self._folders = folders = schema.folders
        self._keys, self._buckets = schema.keys, schema.buckets
        c = folders.c
        one = (c.bucket == bindparam("in_bucket")) & (c.parent == bindparam("below")) & (c.name == bindparam("named"))
        more = {"size": c.size + bindparam("bytes"), "keyamount": c.keyamount + bindparam("keys")}
        dialect = postgresql if folders.schema else sqlite
        upsert = dialect.insert(folders).values(
            bucket=bindparam("in_bucket"),
            parent=bindparam("below"),
            name=bindparam("named"),
            size=bindparam("bytes"),
            keyamount=bindparam("keys"),
        )
        grown = {"size": c.size + upsert.excluded.size, "keyamount": c.keyamount + upsert.excluded.keyamount}
        self._grow = upsert.on_conflict_do_update(index_elements=[c.bucket, c.parent, c.name], set_=grown)
        self._change = update(folders).where(one).values(more)
        self._drop_empty = delete(folders).where(one, c.keyamount == 0)
        self._one = select(c.size, c.keyamount).where(one)
        self._root = select(schema.buckets.c.size, schema.buckets.c.keyamount).where(
            schema.buckets.c.name == bindparam("in_bucket")
        )

    def add(self, conn: Connection, bucket: BucketName, changes: Mapping[str, Change]) -> None:
        """Add what changed directly in each folder to it and to all above it.

        All changes are of one kind: keys that came, keys that went, or other sizes of keys that stay.
        """
        sizes, keys = Counter[str](), Counter[str]()
        for vfolder, (size, count) in changes.items():
            for folder in folders_above(vfolder):
                sizes[folder] += size
                keys[folder] += count
        if not sizes:
            return
        rows = [_values(bucket, folder) | {"bytes": sizes[folder], "keys": keys[folder]} for folder in sorted(sizes)]
        coming = any(row["keys"] > 0 for row in rows)
        _run(conn, self._grow if coming else self._change, rows)
        if any(row["keys"] < 0 for row in rows):
            _run(conn, self._drop_empty, [_values(bucket, folder) for folder in sorted(sizes)])

    def children(
        self, conn: Connection, bucket: BucketName, vfolder: str, prefix: str, after: str | None, limit: int,
        *, descending: bool = False,
    ) -> list[Folder]:  # fmt: skip
        """Up to ``limit`` direct sub-folders, those whose path with a ``/`` begins with ``prefix``, behind ``after``."""
        bounds = _name_bounds(vfolder, prefix)
        if bounds is None:
            return []
        c = self._folders.c
        low, high = bounds
        asked = select(c.name, c.size, c.keyamount).where(c.bucket == str(bucket), c.parent == vfolder, c.name >= low)
        if high is not None:
            asked = asked.where(c.name < high)
        if after is not None:
            parent, name = parent_folder(after)
            if parent != vfolder:
                raise InvalidCursor("The cursor belongs to another listing; begin again without one.")
            asked = asked.where(c.name < name if descending else c.name > name)
        asked = asked.order_by(c.name.desc() if descending else c.name).limit(limit)
        return [Folder(folder_path(vfolder, name), size, keys) for name, size, keys in conn.execute(asked)]

    def usage(
        self, conn: Connection, bucket: BucketName, vfolder: str, limit: int, cursor: str | None
    ) -> FolderUsage | None:
        """What a folder holds and a page of its sub-folders; None when there is no such folder.

        Raises BucketNotFound, InvalidCursor.
        """
        root = conn.execute(self._root, {"in_bucket": str(bucket)}).first()
        if root is None:
            raise BucketNotFound(f"There is no bucket {bucket}.")
        found = root if vfolder == "" else conn.execute(self._one, _values(bucket, vfolder)).first()
        if found is None:
            return None
        place = read_place(cursor, FOLDER)
        children = self.children(conn, bucket, vfolder, "", place.name if place else None, limit + 1)
        following = write_place(FOLDER, children[limit - 1].vfolder) if len(children) > limit else None
        return FolderUsage(Folder(vfolder, found.size, found.keyamount), tuple(children[:limit]), following)

    def rebuild(self, conn: Connection) -> None:
        """Make the whole tree anew from the records, in bounded memory."""
        conn.execute(delete(self._folders))
        rows = self._counted(conn)
        while batch := list(islice(rows, _BATCH)):
            conn.execute(insert(self._folders), batch)

    def drift(self, conn: Connection) -> list[str]:
        """Names of the buckets whose tree is not what their records make. Reads every record."""
        c = self._folders.c
        counted = conn.execute(select(c.bucket, func.count()).group_by(c.bucket)).all()
        amounts: dict[str, int] = {bucket: number for bucket, number in counted}  # noqa: C416 - typed
        wrong = set()
        for bucket, rows in groupby(self._counted(conn), lambda row: row["bucket"]):
            while batch := {(row["parent"], row["name"]): (row["size"], row["keyamount"]) for row in islice(rows, 500)}:
                asked = select(c.parent, c.name, c.size, c.keyamount).where(
                    c.bucket == bucket, tuple_(c.parent, c.name).in_(list(batch))
                )
                stored = {(parent, name): (size, keys) for parent, name, size, keys in conn.execute(asked)}
                amounts[bucket] = amounts.get(bucket, 0) - len(batch)
                if stored != batch:
                    wrong.add(bucket)
        return sorted(wrong | {bucket for bucket, amount in amounts.items() if amount})

    def _counted(self, conn: Connection) -> Iterator[dict[str, Any]]:
        """The rows that the records make. Folders come so that each is followed by all that is below it."""
        c = self._keys.c
        direct = (
            select(c.bucket, c.vfolder, func.sum(c.size), func.count())
            .group_by(c.bucket, c.vfolder)
            .order_by(c.bucket, c.vfolder)
        )
        asked = conn.execute(direct, execution_options={"yield_per": _BATCH})
        return tree_rows((bucket, stored_path(vfolder), int(size), keys) for bucket, vfolder, size, keys in asked)


def tree_rows(direct: Iterable[tuple[str, str, int, int]]) -> Iterator[dict[str, Any]]:
    """The rows of folders, from (bucket, folder, bytes, keys) of what each holds directly, in stored order."""
    open_rows: list[tuple[str, dict[str, Any]]] = []
    for bucket, vfolder, size, keys in direct:
        above = folders_above(vfolder)[::-1]
        while open_rows and not _holds(open_rows[-1], bucket, above, len(open_rows)):
            yield open_rows.pop()[1]
        for path in above[len(open_rows) :]:
            parent, name = parent_folder(path)
            row: dict[str, Any] = {"bucket": bucket, "parent": parent, "name": name, "size": 0, "keyamount": 0}
            open_rows.append((path, row))
        for _, row in open_rows:
            row["size"] += size
            row["keyamount"] += keys
    while open_rows:
        yield open_rows.pop()[1]


def _holds(opened: tuple[str, dict[str, Any]], bucket: str, above: list[str], depth: int) -> bool:
    path, row = opened
    return row["bucket"] == bucket and len(above) >= depth and above[depth - 1] == path


def _values(bucket: BucketName, vfolder: str) -> dict[str, Any]:
    parent, name = parent_folder(vfolder)
    return {"in_bucket": str(bucket), "below": parent, "named": name}


def _run(conn: Connection, statement: Any, rows: list[dict[str, Any]]) -> None:
    conn.execute(statement, rows if len(rows) > 1 else rows[0])


def _name_bounds(vfolder: str, prefix: str) -> tuple[str, str | None] | None:
    """Where the names of sub-folders lie whose path, with a ``/`` behind it, begins with ``prefix``."""
    head = f"{vfolder}/" if vfolder else ""
    if head.startswith(prefix):
        return "", None
    if not prefix.startswith(head):
        return None
    rest = prefix[len(head) :]
    name = rest.removesuffix("/") if len(rest) > 1 or vfolder else rest
    leading = 1 if not vfolder and name.startswith("/") else 0
    if "/" in name[leading:]:
        return None
    if name != rest:
        return name, name + "\1"
    return rest, prefix_end(rest)
