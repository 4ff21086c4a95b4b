"""Making stored copies invalid: what a write through a mirror may have changed is asked for before it is used again."""

from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from cephstorage.domain.errors import InvalidKey
from cephstorage.domain.mirrors import Mirror, read_target
from cephstorage.domain.records import ListQuery
from cephstorage.domain.variants import variant_prefix
from cephstorage.ports.index import KeyIndex
from cephstorage.services.absences import Absences
from cephstorage.services.purges import Purges


class Invalidations:
    """Invalidates what targets of a mirror have stored, here and at the edges."""

    def __init__(self, keys: KeyIndex, purges: Purges, absences: Absences, clock: Callable[[], float]) -> None:
        self._keys = keys
        self._purges = purges
        self._absences = absences
        self._clock = clock

    async def of(self, mirror: Mirror, targets: Iterable[str]) -> None:
        """Invalidate what is stored for these targets; done when every edge that answers has forgotten it."""
        for written in targets:
            parts = urlsplit(written)
            try:
                target, _ = read_target(parts.path or "/", parts.query, mirror)
            except InvalidKey:
                continue  # nothing can be stored for it
            self._absences.forget(mirror, target.canonical)
            for key in await self._stored(mirror, target.key):
                if await self._keys.invalidate(mirror.bucket, key, self._clock()):
                    await self._purges.settle(mirror.bucket, key)

    async def _stored(self, mirror: Mirror, key: str | None) -> list[str]:
        """The key and those of its variants."""
        if key is None:
            return []
        page = await self._keys.listing(mirror.bucket, ListQuery(vfolder=None, prefix=variant_prefix(key)))
        return [key, *(record.key for record in page.keys)]
