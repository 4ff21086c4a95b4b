"""The queue of bytes that no record names any more: replaced, deleted and never published versions."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from cephstorage.domain.names import BucketName
from cephstorage.index.schema import Schema
from cephstorage.ports.index import Removal


class RemovalStatements:
    """Statements over the queue."""

    def __init__(self, schema: Schema) -> None:
        removals = schema.removals
        self._queue = insert(removals)
        self._oldest = (
            select(removals.c.id, removals.c.bucket, removals.c.key, removals.c.store_version)
            .where(removals.c.id > bindparam("after"))
            .order_by(removals.c.id)
            .limit(bindparam("limit"))
        )
        self._newest = select(func.max(removals.c.id))
        self._done = delete(removals).where(removals.c.id == bindparam("removal"))

    def queue(self, conn: Connection, bucket: BucketName, key: str, store_version: str) -> None:
        """Have a version removed from the store."""
        conn.execute(self._queue, {"bucket": str(bucket), "key": key, "store_version": store_version})

    def queue_several(self, conn: Connection, bucket: BucketName, versions: Sequence[tuple[str, str]]) -> None:
        """Have versions removed from the store, given as key and version."""
        rows = [{"bucket": str(bucket), "key": key, "store_version": version} for key, version in versions]
        conn.execute(self._queue, rows)

    def oldest(self, conn: Connection, limit: int, after: int) -> list[Removal]:
        """See ``LandingIndex.removals``."""
        found = conn.execute(self._oldest, {"limit": limit, "after": after})
        return [Removal(number, BucketName.parse(bucket), key, version) for number, bucket, key, version in found]

    def newest(self, conn: Connection) -> int:
        """See ``LandingIndex.newest_removal``."""
        return int(conn.scalar(self._newest) or 0)

    def done(self, conn: Connection, ids: Sequence[int]) -> None:
        """See ``LandingIndex.removed``."""
        if ids:
            conn.execute(self._done, [{"removal": number} for number in ids])
