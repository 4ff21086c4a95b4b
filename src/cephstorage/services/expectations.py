"""What a fill's bytes have to match by a rule of its mirror: a digest that is read through the mirror itself.

So the file that holds it is stored like any other, and read once for all who need it. Where there is none, or it can't be
had, nothing is expected: a mirror without this rule would not have asked either.
"""

import asyncio
from dataclasses import dataclass

import structlog

from cephstorage.domain.digests import Digest
from cephstorage.domain.errors import CephStorageError
from cephstorage.domain.expected import SIDECARS, companion, in_name, promised_by
from cephstorage.domain.mirrors import read_target
from cephstorage.domain.policy import DigestSource
from cephstorage.domain.transfers import TransferRequest
from cephstorage.services.mirrors import Mirrors
from cephstorage.services.visits import Visitor

log = structlog.get_logger()

_LARGEST_INDEX = 64 << 20
_LARGEST_SIDECAR = 64 << 10
_PATIENCE = 30.0
"""Seconds; readers of the file wait meanwhile."""


@dataclass(slots=True)
class Expectations:
    """Finds the digests that rules have fills checked against."""

    mirrors: Mirrors
    visitor: Visitor

    async def __call__(self, request: TransferRequest) -> tuple[Digest, ...]:
        """The digests that the bytes of a fill must have."""
        source = request.terms.policy.digest
        mirror = self.mirrors.of_host(request.mirror_host) if request.mirror_host is not None else None
        if source is DigestSource.NONE or mirror is None or request.target is None:
            return ()
        path = read_target(request.target.partition("?")[0], "", mirror)[0].path
        if (named := in_name(source, path)) or (beside := companion(source, path)) is None:
            return named
        body = bytearray()
        most = _LARGEST_SIDECAR if source in SIDECARS else _LARGEST_INDEX
        try:
            await asyncio.wait_for(self.visitor.read(mirror, beside, body.extend, most), _PATIENCE)
        except (CephStorageError, TimeoutError) as error:
            code = error.code if isinstance(error, CephStorageError) else "timeout"
            log.info("no_digest_to_expect", mirror=mirror.host, target=request.target, companion=beside, code=code)
            return ()
        return await asyncio.to_thread(promised_by, source, path, bytes(body))
