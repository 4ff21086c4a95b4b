"""Going on with an answer whose sender has died: the client gets the rest of the same version, and sees nothing of it.

A fill's owner may be killed while another process passes its answer on. The rest is then asked for as any client would
ask (a Range, If-Match the strong validator that was shown), by an exchange of its own: from the store, from a
fill that this process or another one has taken over. What is not the very same version is never joined to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cephstorage.domain.errors import OriginChanged, TransferError
from cephstorage.domain.ranges import ContentRange, Span, parse_content_range
from cephstorage.domain.validators import is_strong, valid_etag
from cephstorage.ports.origin import OriginResponse
from cephstorage.proxy.exchange import Exchange, Message

_CONDITIONS = ("if-range", "if-none-match", "if-modified-since", "if-unmodified-since")


class CutOff(Exception):
    """An answer broke off after its head had gone out. ``promise``: what its client is still owed."""

    def __init__(self, promise: "Promise", error: TransferError) -> None:
        super().__init__(error.msg)
        self.promise = promise
        self.error = error


@dataclass(frozen=True, slots=True)
class Promise:
    """What an answer's head has promised: bytes ``[start, end)`` of an object of ``size`` bytes under a strong ETag."""

    etag: str
    start: int
    end: int
    size: int

    @classmethod
    def of(cls, response: OriginResponse) -> "Promise | None":
        """Read a 200 or 206 with a length and a strong ETag; None when there is no going on with it."""
        etag = valid_etag(response.headers.get("etag"))
        if etag is None or not is_strong(etag) or not response.length:
            return None
        if response.status == 200:
            return cls(etag, 0, response.length, response.length)
        part = _part(response.headers) if response.status == 206 else None
        if part is None or part.span is None or part.total is None or len(part.span) != response.length:
            return None
        return cls(etag, part.span.start, part.span.end, part.total)


def _part(headers: Mapping[str, str]) -> ContentRange | None:
    return parse_content_range(headers.get("content-range"))


class Rest:
    """The rest of a promise, on its way to the client of ``exchange``."""

    def __init__(self, exchange: Exchange, promise: Promise) -> None:
        self._exchange = exchange
        self._promise = promise

    @property
    def position(self) -> int:
        """Where it goes on."""
        return self._promise.start + self._exchange.sent

    @property
    def done(self) -> bool:
        """Whether the client has everything."""
        return self.position == self._promise.end

    def asked(self) -> Exchange:
        """The exchange that asks for it."""
        request = self._exchange.request
        headers = {name: value for name, value in request.headers.items() if name not in _CONDITIONS}
        headers |= {"range": f"bytes={self.position}-{self._promise.end - 1}", "if-match": self._promise.etag}
        return self._exchange.beside(replace(request, headers=headers), self._take)

    async def _take(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
            self._check(message["status"], headers)
        elif body := message["body"]:
            await self._exchange.write(body)

    def _check(self, status: int, headers: Mapping[str, str]) -> None:
        owed = ContentRange(Span(self.position, self._promise.end), self._promise.size)
        if status != 206 or headers.get("etag") != self._promise.etag or _part(headers) != owed:
            raise OriginChanged("The object is another one by now; the rest of it would not fit what was sent.")
