"""What a fill's bytes have to match by a rule of its mirror: a digest that is read through the mirror itself.

So the file that holds it is stored like any other, and read once for all who need it. Where there is none, or it can't be
had, nothing is expected: a mirror without this rule would not have asked either.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping

import structlog

from cephstorage.domain.digests import Digest
from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.expected import SIDECARS, companion, in_name, promised_by
from cephstorage.domain.mirrors import Mirror, read_target
from cephstorage.domain.package_digests import packages_digests, path_name
from cephstorage.domain.policy import DigestSource
from cephstorage.domain.transfers import TransferRequest
from cephstorage.ports.index import KeyIndex
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.visits import Visitor

log = structlog.get_logger()

_LARGEST_INDEX = 64 << 20
_LARGEST_SIDECAR = 64 << 10
_MOST_PACKAGES = 300_000
"""Digests of ``Packages`` indexes that a process holds, about 200 bytes each; the index used last goes last."""
_PATIENCE = 30.0
"""Seconds; readers of the file wait meanwhile."""


class Expectations:
    """Finds the digests that rules have fills checked against."""

    def __init__(self, mirrors: Mirrors, visitor: Visitor, keys: KeyIndex) -> None:
        self._mirrors = mirrors
        self._visitor = visitor
        self._keys = keys
        self._packages: OrderedDict[tuple[str, str, str], Mapping[bytes, bytes]] = OrderedDict()
        self._reading = asyncio.Lock()

    async def __call__(self, request: TransferRequest) -> tuple[Digest, ...]:
        """The digests that the bytes of a fill must have."""
        policy = request.terms.policy
        source = policy.digest
        mirror = self._mirrors.of_host(request.mirror_host) if request.mirror_host is not None else None
        if source is DigestSource.NONE or mirror is None or request.target is None:
            return ()
        path = read_target(request.target.partition("?")[0], "", mirror)[0].path
        if named := in_name(source, path):
            return named
        try:
            async with asyncio.timeout(_PATIENCE):
                if source is DigestSource.PACKAGES:
                    return await self._in_packages(mirror, policy.digest_indexes, path)
                return await self._in_companion(mirror, source, path)
        except (CephStorageError, TimeoutError) as error:
            code = error.code if isinstance(error, CephStorageError) else "timeout"
            log.info("no_digest_to_expect", mirror=mirror.host, target=request.target, code=code)
            return ()

    async def _in_companion(self, mirror: Mirror, source: DigestSource, path: str) -> tuple[Digest, ...]:
        if (beside := companion(source, path)) is None:
            return ()
        body = bytearray()
        most = _LARGEST_SIDECAR if source in SIDECARS else _LARGEST_INDEX
        await self._visitor.read(mirror, beside, body.extend, most)
        return await asyncio.to_thread(promised_by, source, path, bytes(body))

    async def _in_packages(self, mirror: Mirror, indexes: tuple[str, ...], path: str) -> tuple[Digest, ...]:
        """The digest that the first index which names the path has for it; an index does not name itself."""
        for target in indexes if path not in indexes else ():
            if (value := (await self._read_packages(mirror, target)).get(path_name(path))) is not None:
                return (Digest("sha-256", value),)
        return ()

    async def _read_packages(self, mirror: Mirror, target: str) -> Mapping[bytes, bytes]:
        """An index as the mirror has it now; each version of it is read once."""
        async with self._reading:
            await self._visitor.visit(mirror, target)
            place, _ = read_target(*target.partition("?")[::2], mirror)
            record = await self._keys.get(mirror.bucket, place.key) if place.key is not None else None
            if record is None:
                return {}
            name = (mirror.host, target, record.md5)
            if name not in self._packages:
                body = bytearray()
                await self._visitor.read(mirror, target, body.extend, _LARGEST_INDEX)
                found = await asyncio.to_thread(packages_digests, target, bytes(body), _MOST_PACKAGES)
                self._keep(name, found)
            self._packages.move_to_end(name)
            return self._packages[name]

    def _keep(self, name: tuple[str, str, str], found: Mapping[bytes, bytes]) -> None:
        for known in [known for known in self._packages if known[:2] == name[:2]]:
            del self._packages[known]
        self._packages[name] = found
        while len(self._packages) > 1 and sum(map(len, self._packages.values())) > _MOST_PACKAGES:
            self._packages.popitem(last=False)
