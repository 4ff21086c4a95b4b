"""The trash: versions that were deleted or replaced, kept whole for a while, in the transaction that unnamed them.

Their bytes stay in the store because a row here names them. It goes with a removal queued for it, or becomes the
visible record again; both under the bucket's lock.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, Table, bindparam, delete, func, insert, select, tuple_, update

from cephstorage.domain.errors import KeyNotFound
from cephstorage.domain.lifecycle import DAY, ExpiryRule, Reason, Trashed, TrashPage, ending
from cephstorage.domain.names import BucketName, prefix_end
from cephstorage.domain.records import Record
from cephstorage.domain.serialise import from_json, to_json
from cephstorage.index.buckets import BucketStatements
from cephstorage.index.cursors import VERSION, read_place, write_place
from cephstorage.index.removals import RemovalStatements
from cephstorage.index.schema import Schema

_ELSEWHERE = frozenset({"bucket", "key", "current"})


class TrashStatements:
    """Statements over the trash. Whoever changes it holds the bucket's row (``BucketStatements.write``)."""

    def __init__(self, schema: Schema, buckets: BucketStatements, removals: RemovalStatements) -> None:
        self._buckets, self._removals = buckets, removals
        self._trash: Table = schema.trash
        c = schema.trash.c
        here = c.bucket == bindparam("in_bucket")
        of_key = here & (c.key == bindparam("of_key"))
        self._insert = insert(schema.trash)
        restorable = c.due_at > bindparam("now")
        self._newest = select(func.max(c.generation)).where(of_key, restorable)
        self._versions = select(c.store_version).where(of_key)
        one = delete(schema.trash).where(of_key, c.generation == bindparam("of_generation"))
        self._take = one.where(restorable).returning(*c)
        self._end = one.where(c.due_at <= bindparam("now")).returning(c.key, c.store_version, c.size)
        due = select(c.bucket, c.key, c.generation).where(c.due_at <= bindparam("now"))
        self._due = due.order_by(c.due_at).limit(bindparam("limit"))
        self._kept = select(c.key, c.generation).where(here, restorable)
        self._hurry = update(schema.trash).where(here, restorable).values(due_at=bindparam("now"))
        self._listed = select(schema.trash).where(here, restorable).order_by(c.key, c.generation)

    def keep(
        self, conn: Connection, bucket: BucketName, records: Sequence[Record], reason: Reason, now: float, days: float
    ) -> None:
        """Put versions that are no longer visible into the trash."""
        rows = [
            {
                "bucket": str(bucket),
                "key": record.key,
                "generation": record.generation,
                "size": record.size,
                "store_version": record.store_version,
                "reason": reason.value,
                "trashed_at": now,
                "due_at": now + days * DAY,
                "record": to_json(record, without=_ELSEWHERE),
            }
            for record in records
        ]
        conn.execute(self._insert, rows)
        self._buckets.add_trash(conn, bucket, sum(record.size for record in records), len(records))

    def versions(self, conn: Connection, bucket: BucketName, key: str) -> list[str]:
        """The store versions that are kept of a key."""
        return list(conn.scalars(self._versions, {"in_bucket": str(bucket), "of_key": key}))

    def take(self, conn: Connection, bucket: BucketName, key: str, generation: int | None, now: float) -> Record:
        """Take a version out again, by default the newest of its key that is not to be swept. Raises KeyNotFound."""
        named = {"in_bucket": str(bucket), "of_key": key, "now": now}
        wanted = generation if generation is not None else conn.scalar(self._newest, named)
        row = conn.execute(self._take, {**named, "of_generation": wanted}).first()
        if row is None:
            raise KeyNotFound(f"The trash of {bucket} has no such version of {key!r}.")
        self._buckets.add_trash(conn, bucket, -row.size, -1)
        return _trashed(row).record

    def listing(
        self, conn: Connection, bucket: BucketName, prefix: str, limit: int, cursor: str | None, now: float
    ) -> TrashPage:
        """See ``Trash.listing``."""
        place = read_place(cursor, VERSION)
        self._buckets.lifecycle(conn, bucket)  # raises BucketNotFound
        c, asked = self._trash.c, self._listed
        if prefix:
            asked = asked.where(c.key >= prefix)
            asked = asked if (end := prefix_end(prefix)) is None else asked.where(c.key < end)
        if place is not None:
            asked = asked.where(tuple_(c.key, c.generation) > tuple_(place.name, place.generation))
        rows = conn.execute(asked.limit(limit + 1), {"in_bucket": str(bucket), "now": now}).all()
        last = rows[limit - 1] if len(rows) > limit else None
        following = write_place(VERSION, last.key, last.generation) if last is not None else None
        return TrashPage(tuple(_trashed(row) for row in rows[:limit]), following)

    def empty(
        self,
        conn: Connection,
        bucket: BucketName,
        key: str | None,
        generation: int | None,
        now: float,
        after: tuple[str, int],
        most: int,
    ) -> tuple[int, tuple[str, int] | None]:
        """A step of ``Trash.empty`` behind a version: how many, and behind which the next one begins; None: it was the last."""
        self._buckets.write(conn, bucket)
        c, here = self._trash.c, {"in_bucket": str(bucket), "now": now}
        version = tuple_(c.key, c.generation)
        meant = [version > tuple_(*after)]
        if key is not None:
            meant.append(c.key == key)
        if generation is not None:
            meant.append(c.generation == generation)
        last = conn.execute(
            self._kept.where(*meant).order_by(c.key, c.generation).offset(most - 1).limit(1), here
        ).first()
        if last is not None:
            meant.append(version <= tuple_(*last))
        count = conn.execute(self._hurry.where(*meant), here).rowcount
        return count, None if last is None else (last.key, last.generation)

    def due(self, conn: Connection, most: int, now: float) -> list[tuple[str, str, int]]:
        """Versions whose time is over."""
        return [(row.bucket, row.key, row.generation) for row in conn.execute(self._due, {"limit": most, "now": now})]

    def sweep(self, conn: Connection, most: int, now: float) -> int:
        """See ``Trash.sweep``."""
        found: defaultdict[str, list[tuple[str, int]]] = defaultdict(list)
        for name, key, generation in self.due(conn, most, now):
            found[name].append((key, generation))
        count = 0
        for name, versions in sorted(found.items()):
            bucket = BucketName.parse(name)
            self._buckets.write(conn, bucket)
            named = [{"in_bucket": name, "of_key": key, "of_generation": number} for key, number in sorted(versions)]
            gone = [row for one in named for row in conn.execute(self._end, {**one, "now": now})]
            if gone:  # else all of them were restored just now
                self._buckets.add_trash(conn, bucket, -sum(row.size for row in gone), -len(gone))
                self._removals.queue_several(conn, bucket, [(row.key, row.store_version) for row in gone])
            count += len(gone)
        return count


def _trashed(row: Row[Any]) -> Trashed:
    record = from_json(Record, row.record, bucket=BucketName.parse(row.bucket), key=row.key)
    return Trashed(record, Reason(row.reason), row.trashed_at, row.due_at)


def restored(record: Record, generation: int, now: float, rules: Iterable[ExpiryRule]) -> Record:
    """A version as it becomes visible again: as if it were stored now. An end that has passed is forgotten."""
    expires = record.expires if record.expires is not None and record.expires > now else None
    return replace(
        record,
        generation=generation,
        validated_at=now,
        invalidated_at=None,
        expires=expires,
        expires_at=ending(record.key, now, expires, rules),
    )
