"""Published URLs over time: key rotation, restarts, another service, overwrites under a reader's eyes."""

import socket
from collections.abc import Callable

import pytest

from tests.harness import raw
from tests.harness.bucket import Bucket, address
from tests.harness.content import MIB, Content
from tests.harness.patience import until
from tests.harness.service import Service


def test_rotation_revokes(launch: Callable[..., Service]) -> None:
    bucket = Bucket(launch(), "alice")
    old = address(bucket.put("k", b"x")["url"])
    assert bucket.service.call("GET", old, token=None).status == 200
    assert bucket.service.json("POST", "/config/signing-key/rotate") == {"msg": "signing_key_rotated"}
    assert bucket.service.call("GET", old, token=None).status == 403
    assert bucket.read("k") == b"x"
    new = address(bucket.record("k")["url"])
    bucket.service.stop()
    bucket.service.start()
    assert bucket.service.call("GET", old, token=None).status == 403
    assert bucket.service.call("GET", new, token=None).body == b"x"


def test_validators_and_urls_outlive_a_restart(launch: Callable[..., Service]) -> None:
    bucket = Bucket(launch(), "alice")
    url = address(bucket.put("k", b"x" * 1000)["url"])
    volatile = {"date"}
    before = bucket.service.call("GET", url, token=None)
    bucket.service.kill()
    bucket.service.start()
    after = bucket.service.call("GET", url, token=None)
    assert after.body == before.body
    assert {name: after.headers[name] for name in after.headers.keys() - volatile} == {
        name: before.headers[name] for name in before.headers.keys() - volatile
    }
    assert {"etag", "last-modified"} <= after.headers.keys()


def test_another_services_signature_is_foreign(launch: Callable[..., Service]) -> None:
    here, there = Bucket(launch("here"), "alice"), Bucket(launch("there"), "alice")
    here.put("k", b"here")
    there.put("k", b"there")
    foreign = address(there.record("k")["url"])
    assert there.service.call("GET", foreign, token=None).body == b"there"
    reply = here.service.call("GET", foreign, token=None)
    assert (reply.status, reply.json()["code"]) == (403, "signature_invalid")


def test_urls_stand_on_the_public_address(launch: Callable[..., Service]) -> None:
    bucket = Bucket(launch(public_address="https://files.example.org/store/"), "alice")
    record = bucket.put("a b", b"x")
    base = "https://files.example.org/store"
    assert record["url"].startswith(f"{base}/objects/alice___photos/a%20b?")
    assert bucket.record("a b")["url"].startswith(base)
    # A front that takes its prefix off reaches the key with the same signature.
    assert bucket.service.call("GET", record["url"].removeprefix(base), token=None).body == b"x"
    spoofed = bucket.service.call("GET", bucket.target("a b"), None, {"X-Forwarded-Host": "evil.example"})
    assert spoofed.json()["url"].startswith(base)


@pytest.mark.stacks("direct", "edge")  # it counts files of the disk store
def test_a_reader_gets_one_version_whole(bucket: Bucket) -> None:
    old, new = Content(1, 32 * MIB), Content(2, 32 * MIB)
    bucket.put("k", old.read())
    url = address(bucket.record("k")["url"])
    with socket.socket() as sock:
        # A small window: most of the old version can't have left the service when the new one arrives.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        sock.settimeout(60)
        sock.connect(("127.0.0.1", bucket.service.port))
        sock.sendall(raw.head(bucket.service, "GET", url.encode(), token=False))
        sock.recv(1, socket.MSG_PEEK)
        bucket.put("k", new.read())
        until(lambda: len(stored(bucket)) == 1)
        reply = raw.answer(sock)
    assert reply.status == 200
    assert reply.body == old.read()
    assert bucket.read("k") == new.read()


def stored(bucket: Bucket) -> list[str]:
    """The files with bytes that the store holds for the bucket."""
    folder = bucket.service.data_dir / "objects" / f"{bucket.username}___{bucket.name}"
    return [path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"]
