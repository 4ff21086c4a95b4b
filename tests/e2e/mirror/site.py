"""A mirror as its clients and its operator see it: one mirror host in front of one folder of the fault origin."""

import http.client
import json
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any, Self
from urllib.parse import quote

from cephstorage.domain.names import encode_key
from tests.harness.behaviour import Behaviour, LoggedRequest
from tests.harness.content import BLOCK, Body, as_body
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service

PIECE = 256 * 1024
_NUMBERS = count(1)


class Download:
    """An answer whose head has come; the body is read as the test pleases."""

    def __init__(
        self,
        address: tuple[str, int],
        method: str,
        target: str,
        headers: dict[str, str],
        on_sent: Callable[[], object] = bool,
    ) -> None:
        self._connection = http.client.HTTPConnection(*address, timeout=60)
        self._connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            self._connection.putheader(name, value)
        self._connection.endheaders()
        on_sent()
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        self.headers = {name.lower(): value for name, value in self._answer.getheaders()}
        self.proxy_said = self.headers.get("cache-status", "").partition(", CephStorage-edge")[0]
        """Cache-Status without what an edge has added (RFC 9211 section 2: each cache appends its own)."""
        self.body = b""
        self._announced = self._answer.length
        self._read = 0

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes. Raises IncompleteRead or OSError when they don't come."""
        data = b""
        while len(data) < size:
            piece = self._answer.read(min(PIECE, size - len(data)))
            if not piece:
                raise http.client.IncompleteRead(data, size - len(data))
            data += piece
        self._read += size
        return data

    def rest(self) -> bytes:
        """Everything up to a clean end. Raises IncompleteRead or OSError when there is none."""
        return self._answer.read()

    def until_cut(self) -> bytes:
        """What comes before the connection breaks. An AssertionError when the body ends cleanly."""
        pieces: list[bytes] = []
        try:
            while piece := self._answer.read(BLOCK):
                pieces.append(piece)
        except http.client.IncompleteRead as error:
            return b"".join([*pieces, error.partial])
        except ConnectionError:
            return b"".join(pieces)
        assert self._announced is not None, "the body ended cleanly"
        received = b"".join(pieces)
        assert self._read + len(received) < self._announced, "the body ended cleanly"
        return received

    def as_far_as_it_comes(self) -> bytes:
        """What comes before the connection breaks or the body ends."""
        pieces: list[bytes] = []
        try:
            while piece := self._answer.read(BLOCK):
                pieces.append(piece)
        except http.client.IncompleteRead as error:
            pieces.append(error.partial)
        except ConnectionError:
            pass
        return b"".join(pieces)

    def close(self) -> None:
        """Leave."""
        self._connection.close()
        self._answer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Site:
    """One mirror host. Paths are those of the mirror; the origin has them under ``prefix``."""

    def __init__(self, service: Service, origin: FaultOrigin, name: str, prefix: str = "") -> None:
        self.service = service
        self.origin = origin
        self.host = f"{name}.test"
        self.bucket = f"mirrors___{name}"
        self.prefix = prefix

    @classmethod
    def of_test(cls, service: Service, origin: FaultOrigin, test: str) -> Self:
        """A mirror, made, that no other test uses: its host and its folder at the origin have the test's name."""
        name = re.sub(r"[^a-z0-9]+", "-", test.lower()).strip("-")[:40].strip("-")
        name = f"{name}-{next(_NUMBERS)}"
        made = cls(service, origin, name, f"/{name}")
        made.order()
        return made

    def order(self, **rules: Any) -> Any:
        """POST the mirror: made, or replaced."""
        wish = {"mirror": self.host, "origin": self.origin.url + self.prefix, "bucket": self.bucket, **rules}
        return self.service.json("POST", "/mirrors/host", wish)

    def known_by(self, *processes: Service) -> None:
        """Wait until these processes, behind an edge or on other machines, know the mirror."""
        for process in processes:
            there = Site(process, self.origin, self.host.removesuffix(".test"), self.prefix)
            until(lambda there=there: there.get("/not-there").headers.get("cache-status"))

    # -- the origin's side

    def put(self, path: str, body: bytes | Body = b"", **behaviour: Any) -> Behaviour:
        """Serve a body at the origin."""
        return self.origin.put(self.prefix + path, body, **behaviour)

    def logged(self, path: str, method: str | None = None) -> list[LoggedRequest]:
        """The requests that reached the origin."""
        return self.origin.logged(self.prefix + path, method)

    def count(self, path: str, method: str | None = None) -> int:
        """How many requests reached the origin."""
        return len(self.logged(path, method))

    def body_bytes(self, path: str) -> int:
        """How many body bytes the origin has sent."""
        return self.origin.body_bytes(self.prefix + path)

    @contextmanager
    def origin_down(self, *, cut: bool = False) -> Iterator[None]:
        """The origin refuses connections meanwhile; ``cut`` resets those that are open."""
        self.origin.stop_listening(cut=cut)
        try:
            yield
        finally:
            self.origin.listen_again()

    # -- the client's side

    def open(
        self,
        target: str,
        headers: dict[str, str] | None = None,
        method: str = "GET",
        on_sent: Callable[[], object] = bool,
    ) -> Download:
        """Ask the mirror; returns when the head of the answer is there. ``on_sent``: the request has gone out."""
        return Download(
            (self.service.host, self.service.port), method, target, {"Host": self.host, **(headers or {})}, on_sent
        )

    def ask_and_leave(self, target: str, leave_when: Callable[[], object]) -> None:
        """Send a request and close the connection without having read anything."""
        with socket.create_connection((self.service.host, self.service.port), timeout=60) as sock:
            sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
            leave_when()

    def get(self, target: str, headers: dict[str, str] | None = None, method: str = "GET") -> Download:
        """Ask the mirror and read the body to its clean end."""
        with self.open(target, headers, method) as answer:
            answer.body = answer.rest()
            return answer

    def head(self, target: str, headers: dict[str, str] | None = None) -> Download:
        """HEAD."""
        return self.get(target, headers, "HEAD")

    def range(self, target: str, wanted: str, **headers: str) -> Download:
        """GET with ``Range: bytes=wanted``."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.get(target, {"Range": f"bytes={wanted}", **more})

    def get_all(self, targets: list[str], headers: dict[str, str] | None = None) -> list[Download]:
        """Many clients at a time, each with a connection of its own."""
        with ThreadPoolExecutor(len(targets)) as pool:
            return list(pool.map(lambda target: self.get(target, headers), targets))

    def raw(self, request: bytes) -> tuple[int, bytes]:
        """Bytes as they are on a connection of their own: the status of the answer, and its body."""
        with socket.create_connection((self.service.host, self.service.port), timeout=60) as sock:
            sock.sendall(request)
            answer = http.client.HTTPResponse(sock)
            answer.begin()
            return answer.status, answer.read()

    # -- the operator's side

    def record(self, key: str) -> Any:
        """The record of a stored key, or None."""
        username, _, bucketname = self.bucket.partition("___")
        reply = self.service.call("GET", f"/ceph/{username}/{bucketname}/keys/{encode_key(key)}")
        assert reply.status in {200, 404}, (reply.status, reply.body)
        return reply.json() if reply.status == 200 else None

    def keys(self) -> list[str]:
        """Every key of the mirror's bucket."""
        username, _, bucketname = self.bucket.partition("___")
        page = self.service.json("GET", f"/ceph/{username}/{bucketname}/keys?recursive=true&limit=1000")
        return [record["key"] for record in page["keys"]]

    def stored(self, key: str) -> Any:
        """The record, as soon as the fill has landed."""
        return until(lambda: self.record(key))

    def explain(self, target: str) -> Any:
        """What the mirror would do."""
        return self.service.json("GET", "/explain?url=" + quote(f"http://{self.host}{target}", safe=""))

    def settled(self, target: str) -> Any:
        """The explanation, as soon as no fill of the target is under way."""
        return until(lambda: self.explain(target), lambda told: not told["filling"])

    def resumable(self, target: str) -> None:
        """Wait until it is noted where the fill's bytes come from: who takes it over goes on from them from then on."""
        until(lambda: self.explain(target)["fill"]["resumable"])

    def fill(self, path: str, body: bytes | Body, **behaviour: Any) -> Download:
        """Put a body at the origin, bring it through the mirror and wait until it is stored and the fill has ended."""
        self.put(path, body, **behaviour)
        answer = self.get(path)
        held = as_body(body)
        assert answer.body == b"".join(held.views(0, len(held)))
        self.stored(path.removeprefix("/"))
        self.settled(path)
        return answer


def problem_code(answer: Download) -> str:
    """The code of an error answer."""
    assert answer.headers["content-type"] == "application/problem+json"
    return str(json.loads(answer.body)["code"])
