"""Answering a mirror's request with its stored copy: from the store, or around one that does not answer."""

from dataclasses import replace

from cephstorage.domain.decision import freshness
from cephstorage.domain.errors import StoreUnavailable
from cephstorage.domain.handover import edge_lifetime
from cephstorage.domain.mirrors import source_url
from cephstorage.domain.policy import Mode
from cephstorage.domain.records import Record
from cephstorage.ports.origin import OriginRequest
from cephstorage.proxy.answer import of_record
from cephstorage.proxy.detour import Detour
from cephstorage.proxy.exchange import Exchange
from cephstorage.proxy.mirror_request import Asked, MirrorParts, guarded
from cephstorage.proxy.stored import Dressed


class StoredCopies:
    """Sends stored copies as the clients of a mirror see them."""

    def __init__(self, parts: MirrorParts) -> None:
        self._parts = parts
        self._detour = Detour(parts.origin)

    async def send(self, exchange: Exchange, asked: Asked, record: Record, status: str) -> bool:
        """Answer with the copy; False when the key has gone meanwhile.

        ``status`` is what Cache-Status says. Raises StoredBytesMissing, StoreUnavailable.
        """
        if exchange.edge is not None and (exchange.edge.store_failed or 0) >= 500:
            if await self._around_store(exchange, asked, record):
                return True
        asked = asked.answered(200, record.content_type)
        try:
            return await self._parts.stored.send(
                exchange, record, lambda found: self._dressed(exchange, asked, found, status)
            )
        except StoreUnavailable:
            if exchange.started or not await self._around_store(exchange, asked, record):
                raise
            return True

    def _dressed(self, exchange: Exchange, asked: Asked, record: Record, status: str) -> Dressed:
        """A stored copy as the client of this mirror sees it."""
        now = self._parts.clock()
        shown = of_record(record)
        if asked.policy.mode is Mode.IMMUTABLE and not any(
            name.lower() == "cache-control" for name, _ in shown.headers
        ):
            shown = replace(shown, headers=(*shown.headers, ("cache-control", "public, max-age=31536000, immutable")))
        shown = guarded(exchange, asked, shown)
        found = freshness(asked.policy, record, now)
        by_origin = asked.policy.mode is Mode.ORIGIN
        ttl = f"; ttl={found.remaining}" if by_origin else ""
        extra = [("age", str(int(found.age))), *self._parts.marks(status + ttl)]
        written = exchange.request.written
        lifetime = edge_lifetime(asked.mirror, asked.policy, asked.target, written, record, now)
        return Dressed(shown, extra, lifetime, now)

    async def _around_store(self, exchange: Exchange, asked: Asked, record: Record) -> bool:
        """The store does not answer: the same version from the origin; False when it has another, or does not answer."""
        if asked.policy.rewrite_links is not None:
            return False
        dressed = self._dressed(exchange, asked, record, "hit; fwd=bypass; detail=store_unavailable")
        url = source_url(asked.mirror, asked.policy, asked.target)
        source = asked.ask(OriginRequest(url, mirror=asked.mirror.host))
        return await self._detour.send(exchange, source, record, dressed.shown, dressed.extra)
