"""Visits to our own mirrors, as an ordinary client makes them: one fill for all who ask, the mirror's own rules.

A visit asks for the first byte only. The answer tells whether a fill brings the rest; then its landing is
waited for.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from cephstorage.domain.errors import (
    CephStorageError,
    InvalidKey,
    LeaseLost,
    OriginRefused,
    TooLarge,
    TransferCancelled,
    Unavailable,
)
from cephstorage.domain.mirrors import Mirror, read_target
from cephstorage.domain.usage import Figures, figures_of
from cephstorage.proxy.exchange import ClientGone, Exchange, Message
from cephstorage.proxy.mirror import MirrorProxy
from cephstorage.proxy.mirror_request import MirrorParts
from cephstorage.services.visits import Outcome, Visited

_LOOK_AGAIN = 0.2
_ENOUGH = 1 << 20
_FIRST_BYTE = (b"range", b"bytes=0-0")


class _Client:
    """The other side of an exchange: keeps the head, hands the body on."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.status = 0
        self.cache_status = ""
        self.ended = False
        self._take = take

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            said = dict(message["headers"]).get(b"cache-status", b"")
            self.cache_status = said.decode("latin-1").partition(";")[2].strip()
        else:
            if message["body"]:
                self._take(bytes(message["body"]))
            self.ended = not message["more_body"]


class MirrorVisitor:
    """``services.visits.Visitor`` over the mirror proxy of this process."""

    def __init__(self, proxy: MirrorProxy, parts: MirrorParts, count: Callable[[str, Figures], None]) -> None:
        self._count = count
        self._proxy = proxy
        self._parts = parts

    async def visit(self, mirror: Mirror, target: str) -> Visited:
        """See ``Visitor.visit``."""
        try:
            client = await self._first_byte(mirror, target)
            if client.status == 416:  # an empty object has no first byte
                client.status = 200
            size = await self._landed(mirror, target, client)
        except Unavailable:
            raise
        except CephStorageError as error:
            return Visited(Outcome.FAILED, code=error.code, msg=error.msg)
        return _outcome(client, size)

    async def _first_byte(self, mirror: Mirror, target: str) -> _Client:
        """Ask for one byte. Who answers with everything although it is not kept is left after a while."""
        taken = 0

        def count(piece: bytes) -> None:
            nonlocal taken
            taken += len(piece)
            if taken > _ENOUGH:
                raise ClientGone

        client = _Client(count)
        with contextlib.suppress(ClientGone):
            await self._ask(mirror, target, (_FIRST_BYTE,), client)
        return client

    async def read(self, mirror: Mirror, target: str, take: Callable[[bytes], None], most: int) -> None:
        """See ``Visitor.read``."""
        taken = 0

        def bounded(piece: bytes) -> None:
            nonlocal taken
            taken += len(piece)
            if taken > most:
                raise TooLarge(f"The index {target!r} has more than {most} bytes.")
            take(piece)

        client = _Client(bounded)
        await self._ask(mirror, target, (), client)
        if client.status != 200 or not client.ended:
            raise OriginRefused(f"{target!r} can't be read: it is answered with {client.status}.")

    async def _ask(
        self, mirror: Mirror, target: str, headers: tuple[tuple[bytes, bytes], ...], client: _Client
    ) -> None:
        """Make a request. Raises errors of the tree."""
        path, _, query = target.partition("?")
        try:
            raw_path, raw_query = path.encode("ascii"), query.encode("ascii")
        except UnicodeEncodeError as error:
            raise InvalidKey("The address holds characters that must be percent-encoded.") from error
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "raw_path": raw_path,
            "query_string": raw_query,
            "headers": ((b"host", mirror.host.encode()), *headers),
        }
        exchange = Exchange(scope, client.receive, client.send)
        exchange.ours = True
        try:
            await self._proxy.serve(exchange)
        finally:
            self._count(mirror.host, figures_of(exchange.answered()))

    async def _landed(self, mirror: Mirror, target: str, client: _Client) -> int:
        """Wait until a fill that the answer came from has landed, here or elsewhere; its bytes. Raises its error."""
        path, _, query = target.partition("?")
        key = read_target(path, query, mirror)[0].key
        if key is None or "stored" not in _words(client.cache_status):
            return 0
        parts = self._parts
        if (live := parts.engine.live(mirror.bucket, key)) is not None:
            # One that is lost has been published just as its lease was renewed, or goes on elsewhere.
            with contextlib.suppress(TransferCancelled, LeaseLost):
                record = await live.ended()
                return record.size if record is not None else 0
        while await parts.ledger.fill_owner(mirror.bucket, key, parts.clock()) is not None:  # noqa: ASYNC110 - elsewhere
            await asyncio.sleep(_LOOK_AGAIN)
        record = await parts.keys.get(mirror.bucket, key)
        if record is None:
            raise OriginRefused("The fill has ended without a copy; the log of the process that ran it says why.")
        return record.size


def _words(cache_status: str) -> list[str]:
    return [word.strip() for word in cache_status.split(";")]


def _outcome(client: _Client, size: int) -> Visited:
    """What an answer's status and Cache-Status (RFC 9211) say of the copy."""
    words = _words(client.cache_status)
    detail = next((word.removeprefix("detail=") for word in words if word.startswith("detail=")), "")
    if client.status >= 400:
        code = detail or "origin_refused"
        return Visited(Outcome.FAILED, code=code, msg=f"The mirror answers {client.status}.", status=client.status)
    if detail.startswith("stale-"):
        msg = "The origin could not be asked; the copy that is stored goes on being served."
        return Visited(Outcome.FAILED, code=detail.removeprefix("stale-"), msg=msg)
    if "stored" in words:
        return Visited(Outcome.FETCHED, size)
    if "fwd=stale" in words:
        return Visited(Outcome.CONFIRMED)
    if words[0] == "hit":
        return Visited(Outcome.STORED)
    return Visited(Outcome.UNSTORED, code=detail or "not_stored", msg="The origin's answer is one that is not kept.")
