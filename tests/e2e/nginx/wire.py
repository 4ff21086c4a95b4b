"""An edge whose proxy is the fault origin: what nginx passes on, and what it does when its proxy misbehaves."""

import contextlib
import socket
from collections.abc import Iterable
from http.client import HTTPResponse, IncompleteRead
from typing import Any

from cephstorage.domain.edge import ACCEL_EXPIRES
from tests.harness.behaviour import Behaviour, LoggedRequest
from tests.harness.content import Body
from tests.harness.edge import Edge
from tests.harness.origin import FaultOrigin
from tests.harness.service import Reply

MIRROR = "files.test"


class Wire:
    """The edge from outside, its proxy from inside."""

    def __init__(self, edge: Edge, proxy: FaultOrigin) -> None:
        self.edge = edge
        self.proxy = proxy

    def put(self, path: str, body: bytes | Body = b"", *, keep: int | None = None, **behaviour: Any) -> Behaviour:
        """Have the proxy answer a target; ``keep``: seconds for which the edge may keep it."""
        headers = [*behaviour.pop("headers", [])]
        if keep is not None:
            headers.insert(0, (ACCEL_EXPIRES, str(keep)))
        return self.proxy.put(path, body, headers=headers, **behaviour)

    def raw(self, data: bytes, method: str = "GET") -> Reply:
        """Send bytes, read one answer."""
        with socket.create_connection(("127.0.0.1", self.edge.port), timeout=60) as sock:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(data)
            response = HTTPResponse(sock, method=method)
            with contextlib.closing(response):
                response.begin()
                fields = {name.lower(): value for name, value in response.getheaders()}
                return Reply(response.status, fields, _what_comes(response))

    def ask(
        self,
        target: str | bytes,
        host: str = MIRROR,
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Reply:
        """One request whose target travels byte by byte as given."""
        raw = target if isinstance(target, bytes) else target.encode("latin-1")
        fields = [("Host", host), ("Connection", "close"), *headers]
        if body or method in {"PUT", "POST"}:
            fields.append(("Content-Length", str(len(body))))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        return self.raw(
            method.encode() + b" " + raw + b" HTTP/1.1\r\n" + head.encode("latin-1") + b"\r\n" + body, method
        )

    def last(self) -> LoggedRequest:
        """The last request that reached the proxy."""
        return self.proxy.logged()[-1]


def _what_comes(response: HTTPResponse) -> bytes:
    """The body up to its end, or to where it is cut."""
    pieces = []
    try:
        while piece := response.read(64 * 1024):
            pieces.append(piece)
    except IncompleteRead as error:
        pieces.append(error.partial)
    except ConnectionResetError:
        pass
    return b"".join(pieces)
