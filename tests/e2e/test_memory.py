"""Memory stays bounded whatever the size of an object and however slow its readers."""

import asyncio
import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Record
from cephstorage.index import index_at
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service

pytestmark = [pytest.mark.stacks("direct"), pytest.mark.usefixtures("started_anew")]  # it measures one process

GIB = 1024 * MIB
KEYS, HOST = "/ceph/alice/big/keys", "mirror.test"
ALLOWED = 64 * MIB
PER_READER = 512 * 1024
"""One piece of 256 KiB on its way to a socket, and the next one."""


@pytest.fixture
def ready(service: Service, origin: FaultOrigin) -> Service:
    """A service that has done everything once, on a small object, so that what follows is growth."""
    service.json("PUT", "/ceph/alice/big")
    service.json("POST", "/mirrors/host", {"mirror": HOST, "origin": origin.url, "bucket": "alice___big"})
    through_every_way(service, origin, "small", Content(1, 2 * MIB))
    return service


def memory(service: Service, field: str) -> int:
    """Bytes of resident memory: ``VmRSS`` now, ``VmHWM`` at most so far."""
    status = Path(f"/proc/{service.pid}/status").read_text()
    found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def through_every_way(service: Service, origin: FaultOrigin, name: str, body: Content) -> None:
    """Fetch from a URL, upload and mirror one body after the other; each is deleted when it has landed."""
    origin.put(f"/{name}", body)
    fetch(service, origin, name)
    settle(service, name, body)
    upload(service, name, body)
    settle(service, name, body)
    assert mirrored_bytes(service, name) == body.size
    settle(service, name, body)


def fetch(service: Service, origin: FaultOrigin, name: str) -> None:
    order = {"key_url": f"{origin.url}/{name}", "key_name": name}
    token = service.json("POST", KEYS, order)["token"]
    ended = until(lambda: service.json("GET", f"/ceph/progress/{token}"), lambda seen: seen["state"] != "inprogress")
    assert ended["state"] == "success", ended


def upload(service: Service, name: str, body: Content) -> None:
    with connected(service) as connection:
        headers = {"Content-Length": str(body.size), "Authorization": f"Bearer {service.admin_token}"}
        connection.request("PUT", f"{KEYS}/{name}", body.views(0, body.size), headers)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()


def mirrored_bytes(service: Service, name: str) -> int:
    with connected(service) as connection:
        connection.request("GET", f"/{name}", headers={"Host": HOST})
        answer, buffer, total = connection.getresponse(), bytearray(MIB), 0
        while count := answer.readinto(buffer):
            total += count
        return total


@contextlib.contextmanager
def connected(service: Service) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    try:
        yield connection
    finally:
        connection.close()


def settle(service: Service, name: str, body: Content) -> None:
    """Wait until the key has landed with the right bytes, then delete it."""
    landed = until(lambda: service.call("GET", f"{KEYS}/{name}"), lambda answer: answer.status == 200).json()
    assert (landed["size"], landed["md5"]) == (body.size, body.md5)
    assert service.call("DELETE", f"{KEYS}/{name}").status == 200


@pytest.mark.slow
def test_a_gigabyte_through_fetch_upload_and_mirror(ready: Service, origin: FaultOrigin) -> None:
    before = memory(ready, "VmRSS")
    through_every_way(ready, origin, "big", Content(2, GIB))
    growth = memory(ready, "VmHWM") - before
    print(f"1 GiB by fetch, upload and mirror: peak memory grew by {growth / MIB:.1f} MiB from {before / MIB:.1f} MiB")
    assert growth < ALLOWED


class SlowReader:
    """A client with a tiny receive buffer that has read one block of an object, and holds."""

    def __init__(self, service: Service, name: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(60)
        self._socket.connect(("127.0.0.1", service.port))
        self._socket.sendall(f"GET /{name} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        self._reader = self._socket.makefile("rb", buffering=0)
        self.status = self._line()
        while self._line():
            pass
        self.received = bytearray()

    def _line(self) -> bytes:
        line = bytearray()
        while not line.endswith(b"\r\n"):
            line += self._socket.recv(1)
        return bytes(line[:-2])

    def read(self, size: int) -> None:
        """Read this much more."""
        while size > 0:
            data = self._socket.recv(min(size, 10_000))
            assert data, "the answer ended"
            self.received += data
            size -= len(data)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


def test_a_slow_reader_does_not_hold_up_the_fill(ready: Service, origin: FaultOrigin) -> None:
    body = Content(3, 64 * MIB)
    origin.put("/slow", body)
    slow = SlowReader(ready, "slow")
    slow.read(10_000)
    landed = until(lambda: ready.call("GET", f"{KEYS}/slow"), lambda answer: answer.status == 200).json()
    assert (landed["size"], landed["md5"]) == (body.size, body.md5)
    assert origin.body_bytes("/slow") == body.size
    slow.read(200_000)
    assert bytes(slow.received) == body.read(0, 210_000)
    slow.close()


@pytest.mark.slow
def test_two_hundred_slow_readers_of_one_object(ready: Service, origin: FaultOrigin) -> None:
    body, before = Content(4, 64 * MIB), memory(ready, "VmRSS")
    origin.put("/crowd", body)
    readers = [SlowReader(ready, "crowd") for _ in range(200)]
    for reader in readers:
        reader.read(10_000)
    assert {reader.status for reader in readers} == {b"HTTP/1.1 200 OK"}
    until(lambda: ready.call("GET", f"{KEYS}/crowd"), lambda answer: answer.status == 200)
    for reader in readers:
        reader.read(50_000)
    growth = memory(ready, "VmHWM") - before
    print(f"200 slow readers of 64 MiB: peak memory grew by {growth / MIB:.1f} MiB from {before / MIB:.1f} MiB")
    assert growth < len(readers) * PER_READER
    assert origin.body_bytes("/crowd") == body.size
    assert {bytes(reader.received) for reader in readers} == {body.read(0, 60_000)}
    for reader in readers:
        reader.close()


@pytest.mark.slow
def test_a_listing_of_any_size_is_exported_and_imported_in_bounded_memory(ready: Service) -> None:
    """Both are larger than what memory may grow by; the records are put into the index past the service."""
    asyncio.run(fill_index(ready.data_dir, 90_000))
    before = memory(ready, "RssAnon")  # the database's file is mapped, too, and is no memory of the process
    seen, received = [], 0
    with connected(ready) as connection:
        connection.request("GET", "/ceph/alice/big/export", headers={"Authorization": f"Bearer {ready.admin_token}"})
        answer = connection.getresponse()
        while piece := answer.read(MIB):
            received += len(piece)
            seen.append(memory(ready, "RssAnon"))
    assert received > 24 * MIB
    line = json.dumps({"key": "", "url": "http://origin.invalid/", "more": "x" * 1000}).encode() + b"\n"
    amount = 40_000

    def lines() -> Iterator[bytes]:
        for number in range(amount):
            yield line
            if number % 1000 == 999:
                seen.append(memory(ready, "RssAnon"))

    with connected(ready) as connection:
        headers = {"Content-Length": str(amount * len(line)), "Authorization": f"Bearer {ready.admin_token}"}
        connection.request("POST", "/ceph/alice/big/import", lines(), headers)
        report = json.loads(connection.getresponse().read())
    assert (report["lines"], report["refused"], len(report["errors"])) == (amount, amount, 100)
    growth = max(seen) - before
    print(f"{received / MIB:.0f} MiB out, {amount * len(line) / MIB:.0f} MiB in: grew by {growth / MIB:.1f} MiB")
    assert growth < 16 * MIB


async def fill_index(data_dir: Path, amount: int) -> None:
    """Records without bytes, in the service's own database."""
    bucket, index = BucketName("alice", "big"), index_at("", data_dir / "cephstorage.db")
    await index.open()
    for start in range(0, amount, 2000):
        await index.adoption.adopt(
            bucket,
            [
                Record(
                    bucket, f"many/{number % 97}/{number}-{'x' * 100}", 1.0, "0" * 32, "text/plain", 1, 1, '"e"', None,
                    f"{number:032}.1", "upload", 1.0,
                )
                for number in range(start, start + 2000)
            ],
        )  # fmt: skip
    await index.close()
