"""The rows of the table: what is asked of each contestant, and what is seen.

A row of figures is measured in rounds, in turn with the others, and shown as the median or as its ratio to the
origin read directly. A row of words says what was observed.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.content import Content

from bench import client
from bench.peers.contestants import Contestant, rest
from bench.peers.origins import FAR, FAULTY, MIB, PLAIN, SLOW, SLOW_SIZE, Origins
from bench.peers.readers import asks, crowd, get

CLIENTS = 50
SECONDS = 2
_SLOW_READERS = 1000
_LATE = 2.0
_FAULTY_SIZE = 8 * MIB
_DIES_AT = MIB // 2
"""Within the first slice of those who fetch in slices: an answer of theirs dies, too."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One measurement: whom, on which origins, and a mark that no other one has."""

    whom: Contestant
    origins: Origins
    mark: str

    def port(self, host: str = PLAIN) -> int:
        """Where to ask for what a host has."""
        return self.whom.port(host)

    def cold(self, path: str) -> str:
        """A target that nobody has asked for yet."""
        return f"{path}?{self.mark}"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    ``direct``: whether the origin itself is measured, too. ``ratio``: how a figure is shown beside that of the origin:
    ``time`` and ``rate`` as ours per the origin's; empty: as it is. ``once``: one round is enough.
    """

    name: str
    short: str
    measure: Callable[[Asked], float | str]
    must: str = ""
    ratio: str = ""
    direct: bool = True
    once: bool = False
    digits: int = 2

    def shown(self, seen: Sequence[float | str], direct: Sequence[float | str]) -> str:
        """What stands in the table for what was seen in all rounds."""
        words = [item for item in seen if isinstance(item, str)]
        if words:
            return ", ".join(dict.fromkeys(words))
        if not seen:
            return "-"
        value = statistics.median(float(item) for item in seen)
        if self.ratio:
            value /= statistics.median(float(item) for item in direct)
        return f"{value:.{self.digits}f}"


def _requests(path: str) -> Callable[[Asked], float]:
    def measure(asked: Asked) -> float:
        client.read(asked.port(), path, PLAIN)
        asked.whom.settle(PLAIN, path)
        client.read(asked.port(), path, PLAIN)
        return client.wrk(asked.port(), path, PLAIN, SECONDS)[0]

    return measure


def _cold_time(asked: Asked) -> float:
    target = asked.cold("/256m")
    seconds = client.read(asked.port(), target, PLAIN).total
    asked.whom.settle(PLAIN, target)
    rest()
    return seconds


def _first_byte(asked: Asked) -> float:
    target = asked.cold("/1m")
    milliseconds = client.read(asked.port(), target, PLAIN).first * 1e3
    asked.whom.settle(PLAIN, target)
    return milliseconds


def _crowd_time(asked: Asked) -> float:
    target = asked.cold("/64m")
    seconds = crowd(asked.port(), target, PLAIN, CLIENTS).last_done
    asked.whom.settle(PLAIN, target)
    rest()
    return seconds


def _slow_crowd(asked: Asked) -> str:
    target = asked.cold("/file")
    before = asked.origins.slow_sent()
    seen = crowd(asked.port(SLOW), target, SLOW, CLIENTS)
    asked.whom.settle(SLOW, target)
    return f"{seen.worst_first:.2f} s, {(asked.origins.slow_sent() - before) / SLOW_SIZE:.2f}x"


def _tail_time(asked: Asked) -> float:
    target = asked.cold("/256m")
    milliseconds = client.read(asked.port(), target, PLAIN, f"-{MIB}").total * 1e3
    asked.whom.settle(PLAIN, target)
    asked.origins.rest()
    return milliseconds


def _tail_stored(asked: Asked) -> str:
    target = asked.cold("/256m")
    client.read(asked.port(), target, PLAIN, f"-{MIB}")
    asked.whom.settle(PLAIN, target)
    asked.origins.rest()
    before = asked.origins.sent(target)
    client.read(asked.port(), target, PLAIN, f"-{MIB}")
    asked.origins.rest()
    return "yes" if asked.origins.sent(target) == before else "no"


def _leaver(asked: Asked) -> str:
    """A client leaves at 1 MiB; a while later, is the rest there without the origin?"""
    target = asked.cold("/256m")
    with asks(asked.port(), target, PLAIN) as sock:
        seen = 0
        while seen < MIB and (piece := sock.recv(65536)):
            seen += len(piece)
    asked.origins.rest()
    time.sleep(_LATE)
    before = asked.origins.sent(target)
    client.read(asked.port(), target, PLAIN)
    asked.origins.rest()
    return "yes" if asked.origins.sent(target) == before else "no"


def _dying_origin(asked: Asked) -> str:
    """The origin dies once in mid-body, and is back at once."""
    path, body = f"/dies-{asked.mark}", Content(7, _FAULTY_SIZE)
    asked.origins.faulty.put(path, body, die_after=_DIES_AT, how="rst", die_times=1)
    got = get(asked.port(FAULTY), path, FAULTY)
    if got.clean and got.status == 200:
        return "the whole body" if got.sha256 == body.sha256 else "wrong bytes"
    return "error" if got.sha256 == Content(7, got.size).sha256 or got.status != 200 else "wrong bytes, error"


def _truncated(asked: Asked) -> str:
    """A body that ends with its connection, too early. Is it served again without asking?"""
    path = f"/cut-{asked.mark}"
    asked.origins.faulty.put(
        path, Content(8, _FAULTY_SIZE), framing="close", die_after=_DIES_AT, headers=[("Cache-Control", "max-age=9999")]
    )
    get(asked.port(FAULTY), path, FAULTY)
    time.sleep(_LATE / 4)
    before = asked.origins.faulty.count(path)
    get(asked.port(FAULTY), path, FAULTY)
    return "stored" if asked.origins.faulty.count(path) == before else "not stored"


def _far(asked: Asked) -> float:
    """MiB/s of a cold 64 MiB over a long line."""
    target = asked.cold("/64m")
    rate = client.read(asked.port(FAR), target, FAR).rate
    asked.whom.settle(FAR, target)
    return rate


def _memory(asked: Asked) -> float:
    """MiB that all processes grow by when 1,000 clients read a warm object and stop after the first bytes."""
    client.read(asked.port(), "/64m", PLAIN)
    asked.whom.settle(PLAIN, "/64m")
    client.read(asked.port(), "/64m", PLAIN)
    before = _resident(asked.whom.pids())
    held = []
    try:
        for _ in range(_SLOW_READERS):
            sock = asks(asked.port(), "/64m", PLAIN)
            held.append(sock)
            assert sock.recv(1024)
        time.sleep(1)
        return _resident(asked.whom.pids()) - before
    finally:
        for sock in held:
            sock.close()


def _resident(pids: list[int]) -> float:
    """MiB of memory of their own; what processes share is shared out (proc(5), Pss)."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
    return total / 1024


ROWS = (
    Row("warm 4 KiB, requests/s, 32 connections", "small", _requests("/4k"), "nginx's", "rate"),
    Row("warm 1 MiB, MiB/s, 32 connections", "middling", _requests("/1m"), "nginx's", "rate"),
    Row("cold 256 MiB, time", "cold", _cold_time, "<= 3.5", "time"),
    Row("first byte of a cold object, ms", "first", _first_byte, "<= 2"),
    Row("50 clients, one cold 64 MiB, last one done", "crowd", _crowd_time, "<= 1.1", "time"),
    Row(
        "the same, slow origin: worst first byte, origin bytes",
        "slow",
        _slow_crowd,
        "0.05 s, 1x",
        direct=False,
        once=True,
    ),
    Row("last 1 MiB of a cold 256 MiB, ms", "tail", _tail_time, "<= 5", digits=1),
    Row("the same: stored", "tail-stored", _tail_stored, "yes", direct=False, once=True),
    Row("client leaves at 1 MiB: filled", "leaver", _leaver, "yes", direct=False, once=True),
    Row(
        "origin dies mid-body and returns: client gets",
        "dies",
        _dying_origin,
        "the whole body",
        direct=False,
        once=True,
    ),
    Row("close-delimited truncated body", "truncated", _truncated, "not stored", direct=False, once=True),
    Row("cold 64 MiB, 50 ms and 125 MB/s away, MiB/s", "far", _far, digits=0),
    Row("memory of 1,000 slow readers, MiB", "memory", _memory, direct=False, once=True, digits=0),
)
