"""The installations over which the suite can run do the same things, each on its own engines."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.mirror.site import Site
from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.machines import shared_engines
from tests.harness.origin import FaultOrigin
from tests.harness.postgres import Postgres
from tests.harness.service import Service
from tests.harness.stack import KINDS, Stack, make

BODY = Content(41, 5 * MIB + 3)


@pytest.fixture(params=KINDS)
def stack(request: pytest.FixtureRequest, tmp_path: Path, origin: FaultOrigin) -> Iterator[Service]:
    def engines() -> dict[str, str]:
        postgres: Postgres = request.getfixturevalue("postgres")
        ceph: Ceph = request.getfixturevalue("ceph")
        return shared_engines(postgres, ceph)

    made = make(request.param, tmp_path / "data", engines, origin_allowed_ports=str(origin.port))
    with contextlib.ExitStack() as stopping:
        stopping.callback(made.stop)
        yield made.start()


def test_upload_create_mirror_and_restart(stack: Service, origin: FaultOrigin) -> None:
    bucket = Bucket(stack, "alice")
    bucket.put("up/loaded", BODY.read(), {"Content-Type": "text/x-own"})
    origin.put("/k", BODY)
    assert bucket.success(bucket.create("k", f"{origin.url}/k"))["bytes_done"] == BODY.size
    site = Site(stack, origin, "m")
    site.order()
    site.known_by(*getattr(stack, "proxies", ()))
    assert site.fill("/cold", BODY).body == BODY.read()
    checked(bucket, site)
    assert stack.stop() == 0
    stack.start()
    checked(bucket, site)
    assert site.count("/cold") == 1


def checked(bucket: Bucket, site: Site) -> None:
    for key in ("up/loaded", "k"):
        answer = bucket.published(key)
        assert (answer.status, hashlib.md5(answer.body, usedforsecurity=False).hexdigest()) == (200, BODY.md5)
    assert bucket.published("up/loaded").headers["content-type"] == "text/x-own"
    assert site.get("/cold").body == BODY.read()
    assert site.range("/cold", "1048570-1048590").body == BODY.read(1048570, 1048591)
    assert bucket.usage() == (2 * BODY.size, 2)


@pytest.mark.parametrize("stack", ["edge", "ceph"], indirect=True)
def test_every_member_can_be_killed_and_started_again(stack: Stack, origin: FaultOrigin) -> None:
    bucket = Bucket(stack, "alice")
    origin.put("/k", BODY)
    for number, end in enumerate([stack.kill, *(member.kill for member in stack.members), stack.edge.kill_nginx]):
        key = f"k{number}"
        bucket.put(key, BODY.read())
        end()
        stack.start()
        assert bucket.read(key) == BODY.read()
    assert bucket.success(bucket.create("after", f"{origin.url}/k"))["bytes_done"] == BODY.size
