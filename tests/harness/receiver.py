"""A receiver of webhooks on loopback: keeps what it was sent, answers as the test says."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from cephstorage_client import verify_webhook
from tests.harness.patience import until

HEADER = "CephStorage-Signature"


@dataclass(frozen=True)
class Delivery:
    """One request as it arrived."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    event: dict[str, Any]
    """The body, read without any check."""

    def verified(self, *secrets: str) -> dict[str, Any]:
        """The event, checked as a receiver does it."""
        return verify_webhook(secrets, self.headers[HEADER], self.body)

    @property
    def said(self) -> tuple[str, str]:
        """What happened, and to which key."""
        return str(self.event["type"]), str(self.event.get("key", ""))


Answer = int | tuple[int, dict[str, str]]


class Receiver:
    """Answers each delivery with what ``answer`` returns: a status, perhaps with headers. It may wait."""

    def __init__(self) -> None:
        self.answer: Callable[[Delivery], Answer] = lambda _: 204
        self._seen: list[Delivery] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.serve(self)

            def do_PUT(self) -> None:
                receiver.serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Note a request and answer it."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        delivery = Delivery(request.path, dict(request.headers), body, json.loads(body))
        with self._lock:
            self._seen.append(delivery)
        answer = self.answer(delivery)
        status, headers = (answer, {}) if isinstance(answer, int) else answer
        request.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            request.send_header(name, value)
        request.end_headers()

    def url(self, path: str = "/hook") -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}{path}"

    def seen(self, path: str = "/hook") -> list[Delivery]:
        """What has arrived at a path so far."""
        with self._lock:
            return [each for each in self._seen if each.path == path]

    def awaited(self, count: int, path: str = "/hook") -> list[Delivery]:
        """What has arrived at a path, once that is as many."""
        return until(lambda: self.seen(path), lambda seen: len(seen) >= count)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
