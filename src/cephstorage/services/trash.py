"""The trash of buckets: what lies in it, back with it, away with it."""

from collections.abc import Callable

from cephstorage.domain.errors import InvalidInput
from cephstorage.domain.lifecycle import TrashPage
from cephstorage.domain.listing import checked
from cephstorage.domain.names import BucketName, key_name
from cephstorage.domain.records import ListQuery, Record
from cephstorage.ports.lifecycles import Trash as TrashTable
from cephstorage.services.purges import Purges


class Trash:
    """``on_due`` is told when something is to be swept."""

    def __init__(
        self, table: TrashTable, purges: Purges, clock: Callable[[], float], on_due: Callable[[], None]
    ) -> None:
        self._table = table
        self._purges = purges
        self._clock = clock
        self._on_due = on_due

    async def listing(self, bucket: BucketName, prefix: str, limit: int, cursor: str | None) -> TrashPage:
        """A page of what may be restored. Raises InvalidInput, BucketNotFound, InvalidCursor."""
        checked(ListQuery(vfolder=None, prefix=prefix))
        return await self._table.listing(bucket, prefix, limit, cursor, self._clock())

    async def restore(self, bucket: BucketName, key: str, generation: int | None, *, over: bool) -> Record:
        """Make a version visible again. Raises BucketNotFound, KeyNotFound, PreconditionFailed, QuotaExceeded."""
        record = await self._table.restore(bucket, key_name(key), generation, self._clock(), over=over)
        await self._purges.settle(bucket, record.key)
        return record

    async def empty(self, bucket: BucketName, key: str | None, generation: int | None) -> int:
        """Remove versions for good, soon; how many. Raises InvalidInput, BucketNotFound."""
        if generation is not None and key is None:
            raise InvalidInput("A generation is one of a key: name the key, too.")
        count = await self._table.empty(bucket, None if key is None else key_name(key), generation, self._clock())
        self._on_due()
        return count
