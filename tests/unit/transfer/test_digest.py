"""The digest that follows a spool hashes every byte exactly once, whoever gives up waiting for it."""

import asyncio
import threading
from pathlib import Path

import pytest

from cephstorage.transfer.digest import SpoolDigest
from cephstorage.transfer.spool import Spool, SpoolDirectory
from tests.harness.content import MIB, Content


class HeldSpool(Spool):
    """A spool whose first read waits until the test lets it go on."""

    def __init__(self, spool: Spool) -> None:
        self.__dict__ = spool.__dict__
        self.entered, self.go_on = threading.Event(), threading.Event()

    def read(self, position: int, size: int) -> bytes:
        data = super().read(position, size)
        if not self.entered.is_set():
            self.entered.set()
            assert self.go_on.wait(30)
        return data


@pytest.mark.parametrize("rounds", range(5))
async def test_a_cancelled_follower_does_not_spoil_the_digest(tmp_path: Path, rounds: int) -> None:
    body = Content(rounds, 9 * MIB)
    spool = HeldSpool(SpoolDirectory(tmp_path, 1 << 40).open("a"))
    await spool.put(0, body.read())
    spool.publish(0, body.size)
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
    spool.close()
