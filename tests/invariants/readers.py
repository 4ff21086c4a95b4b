"""Readers who are overtaken by what happens meanwhile: each gets one version whole (I8)."""

import contextlib
import http.client
import socket

from tests.harness.content import MIB
from tests.invariants.clients import Clients
from tests.invariants.dealing import deed
from tests.invariants.installation import Died, md5
from tests.invariants.model import ABSENT
from tests.invariants.world import BIG, keys

BIG_SIZE = 8 * MIB
"""More than the buffers of a loopback connection hold."""
START = 100
meanwhile = ("overwritten", "overwritten", "deleted", "killed", "later")


class Readers(Clients):
    """Readers of published addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.ranges: list[tuple[str, str, bytes]] = []
        self.streams: list[tuple[socket.socket, int]] = []

    @deed(key=keys, between=meanwhile)
    def read_ranges(self, key: str, between: str) -> None:
        """I8: two ranges of one version, whatever happens between them; or else another one whole."""
        self._finish_ranges()
        if ABSENT in self.model.allowed(key):
            self._upload(key, self._body(70_000), right=True)
        url = self._url(key)
        if url is None:
            return
        with contextlib.suppress(Died):
            reply = self.home.call("GET", url, headers={"Range": f"bytes=0-{START - 1}", "Authorization": ""})
            if reply.status == 206 and len(reply.body) == START:
                self.ranges.append((url, reply.headers["etag"], reply.body))
        self._happens(between, key, 70_000)
        if between != "later":
            self._finish_ranges()

    def _finish_ranges(self) -> None:
        while self.ranges:
            url, etag, start = self.ranges.pop()
            with contextlib.suppress(Died):
                asked = {"Range": f"bytes={START}-", "If-Range": etag, "Authorization": ""}
                reply = self.home.call("GET", url, headers=asked)
                assert reply.status in {200, 206, 404}
                whole = start + reply.body if reply.status == 206 else reply.body
                assert reply.status == 404 or md5(whole) in self.bodies, "I8: a mix of two versions"

    @deed(between=meanwhile)
    def read_slowly(self, between: str) -> None:
        """I8: one version whole, by a reader that is too slow for what happens meanwhile."""
        self._finish_streams()
        if ABSENT in self.model.allowed(BIG):
            self._upload(BIG, self._body(BIG_SIZE), right=True)
        url = self._url(BIG)
        if url is None:
            return
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        sock.settimeout(60)
        with contextlib.suppress(OSError):
            sock.connect(("127.0.0.1", self.home.service.port))
            sock.sendall(f"GET {url} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            sock.recv(1, socket.MSG_PEEK)
        self.streams.append((sock, self.home.deaths))
        self._happens(between, BIG, BIG_SIZE)
        if between != "later":
            self._finish_streams()

    def _finish_streams(self) -> None:
        """Only a death may cut a reader."""
        while self.streams:
            sock, deaths = self.streams.pop()
            with sock:
                answer = http.client.HTTPResponse(sock)
                try:
                    answer.begin()
                    body = answer.read()
                except (OSError, http.client.HTTPException):
                    self._alive()
                    assert self.home.deaths > deaths, "a reader was cut"
                    continue
            assert answer.status in {200, 404}
            assert answer.status == 404 or md5(body) in self.bodies, "I8: a mix of two versions"

    def _happens(self, deed: str, key: str, size: int) -> None:
        match deed:
            case "overwritten":
                self._upload(key, self._body(size), right=True)
            case "deleted":
                self.delete(key)
            case "killed":
                self.home.kill()
