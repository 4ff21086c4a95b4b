"""The digest that follows a spool hashes every byte exactly once, whoever gives up waiting for it."""

import asyncio
import hashlib
import threading
from pathlib import Path

import pytest

from cephstorage.domain.digests import Digest
from cephstorage.domain.errors import DigestMismatch, Md5Mismatch
from cephstorage.transfer.digest import SpoolDigest
from cephstorage.transfer.spool import Spool
from cephstorage.transfer.spools import SpoolDirectory
from tests.harness.content import MIB, Content


class HeldSpool(Spool):
    """A spool whose first read waits until the test lets it go on; it notes every byte that is read."""

    def __init__(self, spool: Spool) -> None:
        self.__dict__ = spool.__dict__
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.reads: list[tuple[int, int]] = []

    def read_into(self, buffer: memoryview, position: int) -> int:
        count = super().read_into(buffer, position)
        self.reads.append((position, position + count))
        if not self.entered.is_set():
            self.entered.set()
            assert self.go_on.wait(30)
        return count


async def spool_of(folder: Path, body: bytes) -> HeldSpool:
    """A spool that holds a whole body."""
    spool = HeldSpool(SpoolDirectory(folder, 1 << 40).open("a"))
    await spool.put(0, body)
    spool.publish(0, len(body))
    return spool


def promise(algorithm: str, body: bytes, *, by_caller: bool = False) -> Digest:
    name = {"md5": "md5", "sha-256": "sha256", "sha-512": "sha512"}[algorithm]
    return Digest(algorithm, hashlib.new(name, body, usedforsecurity=False).digest(), by_caller)


def assert_read_once(spool: HeldSpool, size: int) -> None:
    """The reads lie end to end over the whole body."""
    assert [start for start, _ in spool.reads] == [0, *(end for _, end in spool.reads[:-1])]
    assert spool.reads[-1][1] == size


@pytest.mark.parametrize("rounds", range(5))
async def test_a_cancelled_follower_does_not_spoil_the_digest(tmp_path: Path, rounds: int) -> None:
    body = Content(rounds, 9 * MIB)
    spool = await spool_of(tmp_path, body.read())
    digest = SpoolDigest(spool)
    gives_up = asyncio.create_task(digest.follow(body.size))
    assert await asyncio.to_thread(spool.entered.wait, 30)
    gives_up.cancel()
    await asyncio.wait({gives_up})
    follower = asyncio.create_task(digest.follow(body.size))
    await asyncio.sleep(0)
    spool.go_on.set()
    await follower
    assert digest.md5() == body.md5
    assert_read_once(spool, body.size)
    spool.close()


async def test_many_followers_at_once_hash_every_byte_once(tmp_path: Path) -> None:
    body = Content(9, 9 * MIB)
    spool = await spool_of(tmp_path, body.read())
    digest = SpoolDigest(spool)
    followers = [asyncio.create_task(digest.follow(end)) for end in (body.size, MIB, body.size, 5, body.size - 1)]
    assert await asyncio.to_thread(spool.entered.wait, 30)
    followers.pop(1).cancel()
    spool.go_on.set()
    await asyncio.gather(*followers)
    assert digest.md5() == body.md5
    assert_read_once(spool, body.size)
    spool.close()


async def test_a_digest_follows_in_steps_of_any_size(tmp_path: Path) -> None:
    body = Content(3, MIB + 7)
    spool = await spool_of(tmp_path, body.read())
    spool.go_on.set()
    digest = SpoolDigest(spool)
    for end in (0, 1, 1, 300_000, 299_999, MIB, body.size, body.size):
        await digest.follow(end)
    assert digest.md5() == body.md5
    assert_read_once(spool, body.size)
    spool.close()


async def test_nothing_has_the_md5_of_nothing(tmp_path: Path) -> None:
    spool = await spool_of(tmp_path, b"")
    digest = SpoolDigest(spool)
    await digest.follow(0)
    assert digest.md5() == hashlib.md5(b"", usedforsecurity=False).hexdigest()
    spool.close()


async def test_what_the_spool_does_not_hold_is_an_error(tmp_path: Path) -> None:
    spool = await spool_of(tmp_path, b"short")
    spool.go_on.set()
    with pytest.raises(OSError, match="ends at 5, before 6"):
        await SpoolDigest(spool).follow(6)
    spool.close()


async def test_the_spool_may_be_closed_while_the_thread_still_hashes(tmp_path: Path) -> None:
    body = Content(4, 2 * MIB)
    spool = await spool_of(tmp_path, body.read())
    digest = SpoolDigest(spool)
    following = asyncio.create_task(digest.follow(body.size))
    assert await asyncio.to_thread(spool.entered.wait, 30)
    spool.close()
    spool.go_on.set()
    await following
    assert digest.md5() == body.md5


# -- promises


async def verified(folder: Path, body: bytes, promised: tuple[Digest, ...]) -> None:
    """Hash a body with all algorithms that are promised, then hold it to the promises."""
    spool = await spool_of(folder, body)
    spool.go_on.set()
    digest = SpoolDigest(spool)
    assert digest.expect(promised)
    await digest.follow(len(body))
    spool.close()
    digest.verify(promised, "'cat.jpg'")


async def test_several_algorithms_at_once(tmp_path: Path) -> None:
    body = Content(5, 300_000).read()
    promised = tuple(promise(name, body) for name in ("md5", "sha-256", "sha-512"))
    await verified(tmp_path, body, promised)


@pytest.mark.parametrize("wrong", ["md5", "sha-256", "sha-512"])
async def test_one_wrong_digest_of_the_origin_is_enough(tmp_path: Path, wrong: str) -> None:
    body = Content(5, 1000).read()
    promised = tuple(promise(name, b"other bytes" if name == wrong else body) for name in ("md5", "sha-256", "sha-512"))
    with pytest.raises(DigestMismatch, match=rf"{wrong} of 'cat.jpg'"):
        await verified(tmp_path, body, promised)


async def test_a_wrong_md5_of_the_caller_has_its_own_error(tmp_path: Path) -> None:
    body = b"bytes"
    with pytest.raises(Md5Mismatch):
        await verified(tmp_path, body, (promise("sha-256", body), promise("md5", b"other", by_caller=True)))


async def test_an_algorithm_that_comes_too_late_is_refused(tmp_path: Path) -> None:
    spool = await spool_of(tmp_path, b"bytes")
    spool.go_on.set()
    digest = SpoolDigest(spool)
    await digest.follow(1)
    assert not digest.expect([promise("sha-256", b"bytes")])
    assert digest.expect([promise("md5", b"bytes")])
    await digest.follow(5)
    digest.verify([promise("md5", b"bytes")], "it")
    spool.close()
