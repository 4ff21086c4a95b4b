"""What a store hit costs before nginx sends it: the proxy's decision alone, asked as the edge asks."""

import os
from pathlib import Path

from tests.e2e.edge.conftest import edge_secret
from tests.harness.stack import Stack

from bench import client
from bench.peers.contestants import Contestant
from bench.peers.origins import PLAIN
from cephstorage.domain.edge import EDGE

_SECONDS = 4
_TICKS = os.sysconf("SC_CLK_TCK")


def decisions(whom: Contestant) -> None:
    """Print how many decisions a processor makes in a second, and what one adds to a request."""
    stack = whom.service
    assert isinstance(stack, Stack)
    proxy = stack.proxies[0]
    client.read(proxy.port, "/4k", PLAIN)
    whom.settle(PLAIN, "/4k")
    header = f"{EDGE}: {edge_secret(proxy)}"
    before = _used(proxy.pid)
    rate, _ = client.wrk(proxy.port, "/4k", PLAIN, _SECONDS, header=header)
    used = _used(proxy.pid) - before
    alone, _ = client.wrk(proxy.port, "/4k", PLAIN, _SECONDS, connections=1, header=header)
    print(f"store hits decided (X-Accel): {rate * _SECONDS / used:.0f}/s per core; one adds {1e3 / alone:.2f} ms")


def _used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
