"""The parts of the engine around a real origin, without the service."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.addresses import parse_networks
from cephstorage.domain.names import BucketName
from cephstorage.domain.ranges import RangeRequest
from cephstorage.domain.transfers import Kind, Lease, RetryPolicy, TransferRequest
from cephstorage.origin.guard import ConnectGuard
from cephstorage.origin.http import HttpOrigin
from cephstorage.transfer.fetch import Fetch
from cephstorage.transfer.intake import Limits
from cephstorage.transfer.live import LiveTransfer
from cephstorage.transfer.spools import SpoolDirectory
from tests.harness.origin import FaultOrigin

BUCKET = BucketName("alice", "photos")
QUICK = RetryPolicy(attempts=4, base=0.001, cap=0.01)
PLENTY = 1 << 40


@pytest.fixture
async def client(origin: FaultOrigin) -> AsyncIterator[HttpOrigin]:
    """The real client, which may reach the test's origin."""
    guard = ConnectGuard(parse_networks(["127.0.0.0/8"]), [origin.port])
    made = HttpOrigin(guard, connect_timeout=10, read_timeout=30, user_agent="test", via_name="test", limit_per_host=20)
    await made.start()
    yield made
    await made.close()


def fill_request(url: str | None, **fields: Any) -> TransferRequest:
    """What a mirror miss asks for."""
    values: dict[str, Any] = {"mirror_host": "mirror.example", "target": "/k", **fields}
    return TransferRequest(Kind.FILL, BUCKET, values.pop("key", "k"), url=url, **values)


@dataclass
class Bench:
    """Makes transfers and fetches over one spool directory."""

    client: HttpOrigin
    spools: SpoolDirectory

    def live(self, request: TransferRequest, first_range: RangeRequest | None = None, name: str = "t") -> LiveTransfer:
        """A transfer with the spool ``name``."""
        live = LiveTransfer(request, Lease(name, "owner", 1), self.spools.open(name))
        live.first_range = first_range
        return live

    def fetch(self, live: LiveTransfer, resume: RetryPolicy = QUICK, largest: int = PLENTY) -> Fetch:
        """An attempt to make its spool whole."""
        return Fetch(live, self.client, Limits(self.spools, largest), random.Random(1).random, resume)


@pytest.fixture
def bench(client: HttpOrigin, tmp_path: Path) -> Bench:
    return Bench(client, SpoolDirectory(tmp_path / "spool", PLENTY))
