"""The HTTP server: uvicorn, with its connections lent to the data plane and its signals left to us."""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from cephstorage.bootstrap.parting import parting
from cephstorage.proxy.exchange import CONNECTION, WRITTEN
from cephstorage.wire.problems import problem

KEEP_ALIVE = 75
_ABSOLUTE = re.compile(rb"https?://(?:[^/?#@]*@)?([^/?#@]*)", re.IGNORECASE)
_SHORT_PAUSE = 0.0005
_FULL_BUFFER_PAUSE = 0.02


class LentConnection:
    """What ``cephstorage.proxy.sendfile`` needs of a connection, for one of the requests on it.

    The protocol's own ``cycle`` is that of the newest request, which a client may have sent ahead.
    """

    def __init__(self, protocol: "Protocol") -> None:
        self._protocol = protocol
        self.cycle: RequestResponseCycle | None = None

    def descriptor(self) -> int:
        """The socket of the connection."""
        socket = self._protocol.transport.get_extra_info("socket")
        if socket is None or self._protocol.transport.is_closing():
            raise ConnectionResetError
        return int(socket.fileno())

    async def drained(self) -> None:
        """Wait until the head has left the transport's buffer: at the end of this turn of the loop, as a rule."""
        transport, pause = self._protocol.transport, 0.0
        while transport.get_write_buffer_size() > 0:
            if transport.is_closing():
                raise ConnectionResetError
            await asyncio.sleep(pause)
            pause = _FULL_BUFFER_PAUSE if pause else _SHORT_PAUSE

    def cut(self) -> None:
        """End the connection without an answer."""
        if self.cycle is not None:
            self.cycle.disconnected = True  # so that the server does not answer in our place
        self._protocol.transport.close()

    def count_body(self, size: int) -> None:
        """Keep the server's count of the body right: it checks it against Content-Length."""
        assert self.cycle is not None
        self.cycle.expected_content_length -= size


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 that offers its connection to the application."""

    def on_message_begin(self) -> None:
        """Begin a request; its scope names the connection."""
        super().on_message_begin()
        scope: Any = self.scope
        scope["extensions"] = {CONNECTION: LentConnection(self)}

    def on_headers_complete(self) -> None:
        """Keep the target as it was written. An absolute one is read like a plain one: its host stands for Host
        (RFC 9112 section 3.2.2).
        """
        absolute = _ABSOLUTE.match(self.url)
        if absolute is not None:
            rest = self.url[absolute.end() :]
            self.url = rest if rest.startswith(b"/") else b"/" + rest
            self.headers[:] = [pair for pair in self.headers if pair[0] != b"host"] + [(b"host", absolute[1])]
        scope: Any = self.scope
        scope["extensions"][WRITTEN] = self.url
        super().on_headers_complete()
        scope["extensions"][CONNECTION].cycle = self.cycle

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP with a problem, like every other error."""
        status, headers, body = problem("invalid_request", f"The request is not valid HTTP/1.1: {msg}")
        fields = [*headers, ("content-length", str(len(body))), ("connection", "close")]
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.transport.write(f"HTTP/1.1 {int(status)} {status.phrase}\r\n{head}\r\n".encode("latin-1") + body)
        self.transport.close()


class Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before the runtime has stopped."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller of ``serve``."""
        yield


def make_server(application: Any, grace: float) -> Server:
    """A server for an ASGI application; sockets come with ``serve``. ``grace`` is in seconds, for requests under way at a stop."""
    return Server(
        uvicorn.Config(
            parting(application),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=grace,  # type: ignore[arg-type] # asyncio.wait_for takes fractions
            timeout_keep_alive=KEEP_ALIVE,
        )
    )
