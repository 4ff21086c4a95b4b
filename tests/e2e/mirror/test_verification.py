"""Verification: damaged and missing copies are found, never served once they are known, and brought anew."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.mirror.site import Site
from tests.e2e.mirror.test_copies import ended, upload
from tests.harness import programs
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.machines import Machines, shared_engines
from tests.harness.origin import FaultOrigin
from tests.harness.postgres import Postgres
from tests.harness.s3 import Bystander

pytestmark = pytest.mark.stacks("direct")  # it damages files in the data folder

BODY = Content(21, 2 * MIB + 5)


def verify(site: Site, **wish: Any) -> Any:
    """A verification, seen to its end."""
    return ended(site, site.service.json("POST", "/mirrors/verify", {"mirror": site.host, **wish}))


def file_of(site: Site, size: int) -> Path:
    """The one stored file of this size."""
    folder = site.service.data_dir / "objects" / site.bucket
    (found,) = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size == size]
    return found


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(MIB)
        byte = file.read(1)
        file.seek(MIB)
        file.write(bytes([byte[0] ^ 1]))


def test_good_copies_are_left_alone(site: Site) -> None:
    site.fill("/a", BODY)
    site.fill("/b", b"12345")
    site.fill("/c", b"")
    upload(site, "own", b"not a copy")
    done = verify(site, byte_rate=1e9)
    assert done["counts"] == {"seen": 4, "verified": 3, "bytes": BODY.size + 5}
    assert verify(site, prefix="b")["counts"]["verified"] == 1
    assert site.count("/a") == 1


def test_damaged_and_missing_copies_are_brought_anew(site: Site) -> None:
    site.fill("/a", BODY)
    site.fill("/b", b"12345")
    site.fill("/c", b"1234567")
    damage(file_of(site, BODY.size))
    file_of(site, 5).unlink()
    with file_of(site, 7).open("ab") as longer:
        longer.write(b"8")
    assert site.get("/a").body != BODY.read()
    found = verify(site, repair=False)
    assert found["counts"] == {"seen": 3, "verified": 3, "damaged": 2, "missing": 1, "bytes": BODY.size + 12}
    assert {(error["what"], error["code"]) for error in found["errors"]} == {
        ("a", "stored_bytes_damaged"), ("b", "stored_bytes_missing"), ("c", "stored_bytes_damaged"),
    }  # fmt: skip
    assert site.count("/a") == 1
    done = verify(site)
    assert done["counts"]["repaired"] == 3
    assert "unrepaired" not in done["counts"]
    assert site.get("/a").body == BODY.read()
    assert (site.get("/b").body, site.get("/c").body) == (b"12345", b"1234567")
    assert site.count("/a") == 2
    assert verify(site)["counts"] == {"seen": 3, "verified": 3, "bytes": BODY.size + 12}


def test_what_ceph_has_lost_or_damaged_is_brought_anew(
    tmp_path: Path, origin: FaultOrigin, postgres: Postgres, ceph: Ceph
) -> None:
    """A bit that has flipped on a disk below RGW, and a version that somebody has deleted."""
    programs.require("rados")
    engines = shared_engines(postgres, ceph)
    machines = Machines(tmp_path, **engines, origin_allowed_ports=str(origin.port), ceph_removal_grace="0.2")
    site = Site(machines.serve("one"), origin, "repaired")
    keys = engines["ceph_access_key"], engines["ceph_secret_key"]
    with contextlib.ExitStack() as opened:
        opened.callback(machines.stop)
        seen = opened.enter_context(contextlib.closing(Bystander(ceph, site.bucket, *keys)))
        site.order()
        for path, body in (("/a", BODY), ("/b", b"12345"), ("/good", b"good")):
            site.fill(path, body)
        versions = dict(seen.versions())
        ceph.flip(versions["a"], MIB)
        seen.client.delete_object(Bucket=site.bucket, Key="b", VersionId=versions["b"])
        assert seen.md5("a") != BODY.md5
        found = verify(site, repair=False)["counts"]
        assert (found["verified"], found["damaged"], found["missing"]) == (3, 1, 1)
        done = verify(site)["counts"]
        assert (done["repaired"], done.get("unrepaired")) == (2, None)
        assert [site.get(path).body for path in ("/a", "/b", "/good")] == [BODY.read(), b"12345", b"good"]
        assert seen.md5("a") == BODY.md5
        assert [site.count(path) for path in ("/a", "/b", "/good")] == [2, 2, 1]


def test_a_damaged_copy_is_served_no_more_though_the_origin_is_gone(own_site: Callable[..., Site]) -> None:
    site = own_site()
    site.fill("/a", BODY)
    damage(file_of(site, BODY.size))
    with site.origin_down():
        done = verify(site)
        assert (done["counts"]["damaged"], done["counts"]["unrepaired"]) == (1, 1)
        assert site.get("/a").status in {502, 504}
    assert site.get("/a").body == BODY.read()
