"""One process after the other is restarted behind the edge, under load: no GET fails, no byte is wrong."""

import contextlib
import http.client
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.machines import shared_engines
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.postgres import Postgres
from tests.harness.stack import Stack

pytestmark = pytest.mark.slow

HITS = 6
SIZE = 2 * MIB + 77
RATE = 4 * MIB
"""Bytes a second that the origin sends, so that fills are under way at every moment."""
ROUND = 4
"""Deeds that every client has to do between two restarts."""


@pytest.fixture(params=["disk", "ceph"])
def stack(request: pytest.FixtureRequest, tmp_path: Path, origin: FaultOrigin) -> Iterator[Stack]:
    settings = {"origin_allowed_ports": str(origin.port)}
    if request.param == "disk":
        made = Stack(tmp_path / "data", proxies=2, **settings)
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        ceph: Ceph = request.getfixturevalue("ceph")
        made = Stack(tmp_path / "data", proxies=2, worker=True, engines=shared_engines(postgres, ceph), **settings)
    with contextlib.ExitStack() as stopping:
        stopping.callback(made.stop)
        yield made.start()


class Load:
    """Clients that go on until they are told to end; each counts its deeds and keeps what went wrong."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._end = Event()
        self.done: dict[str, int] = {}
        self.wrong: list[str] = []
        self.repeated: list[str] = []
        self._running = []

    def keep(self, name: str, deed: Callable[[int], None]) -> None:
        """Do the deed again and again."""
        self.done[name] = 0
        self._running.append(self._pool.submit(self._loop, name, deed))

    def _loop(self, name: str, deed: Callable[[int], None]) -> None:
        for number in itertools.count():
            if self._end.is_set():
                return
            try:
                deed(number)
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.wrong.append(f"{name} {number}: {error!r}")
            self.done[name] += 1

    def a_round(self) -> None:
        """Wait until every client has done some more deeds."""
        before = dict(self.done)
        until(lambda: all(self.done[name] >= before[name] + ROUND for name in before))

    def end(self) -> None:
        self._end.set()
        for one in self._running:
            one.result()


def test_every_process_is_restarted_under_load(stack: Stack, origin: FaultOrigin) -> None:
    bucket, site = Bucket(stack, "alice"), Site(stack, origin, "m")
    site.order()
    for proxy in stack.proxies:
        seen_there = Site(proxy, origin, "m")
        until(lambda seen_there=seen_there: seen_there.get("/not-there").headers.get("cache-status"))
    hits = [Content(60 + number, SIZE) for number in range(HITS)]
    for number, body in enumerate(hits):
        site.fill(f"/hit{number}", body)
    bucket.put("signed", hits[0].read())
    uploaded: dict[str, str] = {}

    def hit(number: int) -> None:
        assert site.get(f"/hit{number % HITS}").body == hits[number % HITS].read()

    def part(number: int) -> None:
        start = number * 4099 % (SIZE - 1000)
        answer = site.range(f"/hit{number % HITS}", f"{start}-{start + 999}")
        assert (answer.status, answer.body) == (206, hits[number % HITS].read(start, start + 1000))

    def signed(_: int) -> None:
        assert bucket.read("signed") == hits[0].read()

    def cold(number: int) -> None:
        body = Content(1000 + number, SIZE)
        site.put(f"/cold{number}", body, rate=RATE)
        assert site.get(f"/cold{number}").body == body.read()

    def upload(number: int) -> None:
        body = Content(100_000 + number, SIZE)
        try:
            first = bucket.upload(f"up{number}", body.read())
            status, said = first.status, first.body[:200]
        except (OSError, http.client.HTTPException):
            status, said = 0, b""
        if status != 201:
            load.repeated.append(f"up{number}: {status} {said!r}")
            again = bucket.upload(f"up{number}", body.read())
            assert again.status == 201, again.body[:200]
        uploaded[f"up{number}"] = body.md5

    deeds = {"hit": hit, "part": part, "signed": signed, "cold": cold, "upload": upload}
    with ThreadPoolExecutor(len(deeds)) as pool:
        load = Load(pool)
        try:
            for name, deed in deeds.items():
                load.keep(name, deed)
            for member in [*stack.members, *stack.proxies]:
                load.a_round()
                assert member.stop() == 0
                load.a_round()
                member.start()
            load.a_round()
        finally:
            load.end()
    assert load.wrong == []
    assert len(load.repeated) <= len(stack.members) + len(stack.proxies), load.repeated
    for key, md5 in uploaded.items():
        assert bucket.record(key)["md5"] == md5
    for number in range(load.done["cold"]):
        assert site.stored(f"cold{number}")["md5"] == Content(1000 + number, SIZE).md5
