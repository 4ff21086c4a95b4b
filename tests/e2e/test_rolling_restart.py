"""One process after the other is restarted behind the edge, under load: no GET fails, no byte is wrong."""

import contextlib
import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.load import Load
from tests.harness.machines import shared_engines
from tests.harness.origin import FaultOrigin
from tests.harness.postgres import Postgres
from tests.harness.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("started_anew")]

HITS = 6
SIZE = 2 * MIB + 77
RATE = 4 * MIB
"""Bytes a second that the origin sends, so that fills are under way at every moment."""


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


def test_every_process_is_restarted_under_load(stack: Stack, origin: FaultOrigin) -> None:
    bucket, site = Bucket(stack, "alice"), Site(stack, origin, "m")
    site.order()
    site.known_by(*stack.proxies)
    hits = [Content(60 + number, SIZE) for number in range(HITS)]
    for number, body in enumerate(hits):
        site.fill(f"/hit{number}", body)
    bucket.put("signed", hits[0].read())
    uploaded: dict[str, str] = {}
    repeated: list[str] = []

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
            repeated.append(f"up{number}: {status} {said!r}")
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
    assert len(repeated) <= len(stack.members) + len(stack.proxies), repeated
    for key, md5 in uploaded.items():
        assert bucket.record(key)["md5"] == md5
    for number in range(load.done["cold"]):
        assert site.stored(f"cold{number}")["md5"] == Content(1000 + number, SIZE).md5
