"""One HTTP exchange on raw ASGI: the request as it was written, and the answer going out.

The data plane uses this instead of a framework: targets stay undecoded, and a body costs one read and
one write per piece.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cephstorage.domain.cache_control import cache_directives
from cephstorage.domain.edge import ACCEL_BUFFERING, ACCEL_EXPIRES, INTERNAL_PREFIX, MOST_HEAD, S3_LET_IN
from cephstorage.domain.errors import CephStorageError, OriginProtocol, TransferError
from cephstorage.domain.handover import EdgeAsk
from cephstorage.domain.usage import Answered, Asker
from cephstorage.proxy import sendfile
from cephstorage.wire.problems import problem

Message = MutableMapping[str, Any]
Receive = Callable[[], Coroutine[Any, Any, Message]]
Send = Callable[[Message], Coroutine[Any, Any, None]]
Scope = MutableMapping[str, Any]
CONNECTION = "cephstorage.connection"
"""The ASGI extension under which the server lends its connection."""
WRITTEN = "cephstorage.target"
"""The ASGI extension with the request target as it was written: ASGI's own form loses an empty query."""
FORWARDED = "cephstorage-forwarded"
"""The owners that a forwarded request has passed, separated by commas."""
_KEPT = frozenset({200, 206})
_NGINXS_OWN = 2048
"""Bytes that nginx and our server add to a head: status line, date, notes and ranges of slices."""
_FOR_CACHES = frozenset({"cache-control", "cdn-cache-control", "expires", "surrogate-control"})


class ClientGone(Exception):
    """The client closed the connection."""


@dataclass(frozen=True, slots=True)
class Request:
    """The request head. ``headers`` has lower-case names; repeated ones are joined by ', ' (RFC 9110 section 5.3).

    ``internal`` are the headers under the edge's own names, which mean nothing until its secret is checked.
    """

    method: str
    raw_path: str
    raw_query: str
    headers: dict[str, str]
    internal: dict[str, str] = field(default_factory=dict, repr=False)
    written: str = ""

    @classmethod
    def of(cls, scope: Scope) -> "Request":
        """Read an ASGI scope."""
        headers: dict[str, str] = {}
        internal: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            held = internal if name.startswith(INTERNAL_PREFIX) else headers
            held[name] = f"{held[name]}, {value}" if name in held else value
        path, query = scope["raw_path"].decode("latin-1"), scope["query_string"].decode("latin-1")
        written = scope.get("extensions", {}).get(WRITTEN, b"").decode("latin-1")
        return cls(scope["method"], path, query, headers, internal, written)

    @property
    def host(self) -> str:
        """The Host header."""
        return self.headers.get("host", "")

    @property
    def target(self) -> str:
        """Path and query as written."""
        return self.raw_path + (f"?{self.raw_query}" if self.raw_query else "")


class Exchange:
    """The answer of one request. ``started`` tells whether its head has gone out."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.request = Request.of(scope)
        self.started = False
        self.edge: EdgeAsk | None = None
        """What our edge says of the request; None when somebody else asks."""
        self.ours = False
        """Whether the service itself asks, who needs no token."""
        self.admitted = False
        """Whether the client was let in by a request that this one is a part of."""
        self.mirror = ""
        """The host of the mirror that answers."""
        self.decision = ""
        """What the mirror has decided."""
        self.status = 0
        self.sent = 0
        """Bytes of the body so far."""
        self.writing = False
        """Whether a piece of the body waits for the client to take it."""
        self.private = False
        """Whether the answer is for this client alone: no shared cache on the way may keep it."""
        self.lifetime = 0
        """Seconds that the edge may keep a 200 or 206; it keeps nothing else."""
        self.flows = False
        """Whether the body's bytes are still coming, so that the edge passes on what it gets."""
        self.explain: Callable[[str], Sequence[tuple[str, str]]] = lambda _: ()
        """The headers by which an error answer says whose it is, from its code."""
        self._receive = receive
        self._send = send
        self._body_read = asyncio.Event()
        self._body_read.set()
        self._connection: sendfile.Connection | None = scope.get("extensions", {}).get(CONNECTION)

    @property
    def sliced(self) -> bool:
        """Whether the edge asks for one slice, which must not break once its head is out."""
        return self.edge is not None and self.edge.slice

    @property
    def continues(self) -> bool:
        """Whether the edge goes on with an answer whose first slice it has."""
        return self.edge is not None and self.edge.continues

    @property
    def let_in(self) -> bool:
        """Whether RGW has vouched for the client (see ``proxy.s3_door``)."""
        return self.edge is not None and self.edge.s3 == S3_LET_IN

    def beside(self, request: Request, send: Send) -> "Exchange":
        """An exchange with the same client, who has been let in, for a part of its request; ``send`` takes the answer."""
        scope = {"method": request.method, "raw_path": b"", "query_string": b"", "headers": ()}
        made = Exchange(scope, self._receive, send)
        made.request, made.ours, made.edge = request, self.ours, self.edge if self.let_in else None
        made.admitted = True
        return made

    @property
    def whole_will_do(self) -> bool:
        """Whether the edge asks for the first slice of all, so that one answer with the whole does as well."""
        return self.edge is not None and self.edge.whole

    def answered(self) -> Answered:
        """What was answered, to whom, for the mirror's figures."""
        asker = Asker.CLIENT
        if self.ours:
            asker = Asker.OURSELVES
        elif FORWARDED in self.request.headers:
            asker = Asker.PEER
        elif self.edge is not None:
            asker = Asker.EDGE
        return Answered(asker, self.decision, self.status, self.sent, self.continues)

    async def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Send the head. Raises OriginProtocol, with nothing sent, when it is more than the edge takes."""
        headers = unshared(headers) if self.private else headers
        if (
            self.edge is not None
        ):  # first of all: nginx 1.22 goes by whichever of these and Cache-Control it reads first
            flows = [(ACCEL_BUFFERING, "no")] if self.flows else []
            headers = [(ACCEL_EXPIRES, str(self.lifetime if status in _KEPT else 0)), *flows, *headers]
        pairs = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]
        if self.edge is not None:
            self._check_size(pairs)
        self.started, self.status = True, status
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    def _check_size(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        most = MOST_HEAD - _NGINXS_OWN - len(self.request.host) - len(self.request.target)  # which its cache notes
        if (size := sum(len(name) + len(value) + 4 for name, value in pairs)) > most:
            raise OriginProtocol(f"The headers of this answer have {size} bytes; the edge takes {most}.")

    async def write(self, data: bytes | bytearray) -> None:
        """Send a piece of the body; waits while the client's buffers are full."""
        self.writing = True
        try:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            self.writing = False
        self.sent += len(data)

    async def write_file(self, file: int, start: int, end: int) -> bool:
        """Send a piece of a file as body, past Python; False where the server can't. Raises ClientGone."""
        if self._connection is None:
            return False
        try:
            await sendfile.send(self._connection, file, start, end)
        except ConnectionError as error:
            raise ClientGone from error
        self.sent += end - start
        return True

    async def end(self, data: bytes | bytearray = b"") -> None:
        """Send the last piece. Not calling this makes the server cut the connection: never a clean end."""
        await self._send({"type": "http.response.body", "body": data, "more_body": False})
        self.sent += len(data)

    async def whole(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        """Send a small answer at once."""
        await self.start(status, [*headers, ("content-length", str(len(body)))])
        await self.end(b"" if self.request.method == "HEAD" else body)

    async def refuse(self, code: str, msg: str, retry_after: float | None = None, *, gateway: bool = False) -> None:
        """Send an error answer; ``gateway`` when it is the origin's fault."""
        status, headers, body = problem(code, msg, retry_after, gateway=gateway)
        await self.whole(status, [*headers, *self.explain(code)], body)

    async def fail(self, error: CephStorageError) -> None:
        """Send an error of the tree, or cut the connection when the head has gone out."""
        if not self.started:
            gateway = isinstance(error, TransferError)
            await self.refuse(error.code, error.msg, error.retry_after, gateway=gateway)

    async def body(self) -> AsyncIterator[bytes]:
        """The request's body as it comes. Raises ClientGone when the client leaves before its end."""
        self._body_read.clear()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if piece := message.get("body", b""):
                yield piece
            if not message.get("more_body", False):
                self._body_read.set()
                return

    async def unless_gone(self, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` until it ends or the client leaves (ClientGone)."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientGone
            task.result()
        finally:
            for future in (task, gone):
                future.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)

    async def _gone(self) -> None:
        await self._body_read.wait()  # what comes before is the body, which its own reader wants
        while (await self._receive())["type"] != "http.disconnect":
            pass


def unshared(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers by which only the client's own cache may keep the answer (RFC 9111 section 5.2.2.7), or none at all."""
    pairs = list(headers)
    said = cache_directives(", ".join(value for name, value in pairs if name.lower() == "cache-control"))
    kept = [(name, value) for name, value in pairs if name.lower() not in _FOR_CACHES]
    return [*kept, ("cache-control", "no-store" if "no-store" in said else "private")]
