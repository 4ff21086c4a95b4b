"""The database is lost: ``cephstorage reindex`` brings back every record from the object store alone."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cephstorage.domain.names import BucketName
from cephstorage.domain.records import ListQuery, Record
from cephstorage.index import SqlIndex, index_at
from tests.e2e.mirror.site import Site
from tests.harness import programs
from tests.harness.bucket import Bucket, md5
from tests.harness.ceph import PROGRAMS as CEPH_PROGRAMS
from tests.harness.ceph import Ceph
from tests.harness.machines import shared_engines
from tests.harness.names import NASTY_KEYS
from tests.harness.origin import FaultOrigin
from tests.harness.postgres import PROGRAMS as POSTGRES_PROGRAMS
from tests.harness.postgres import Postgres
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # it brings its own engines

BODY = b"bytes of an object" * 300
TENANT = "alice___photos"
MIRRORED = "mirrors___mirror"


@dataclass
class Installation:
    """A service whose database can be thrown away."""

    service: Service
    fresh_database: Callable[[], str]

    def records(self, bucket: str) -> dict[str, Record]:
        """Every record of a bucket, as the index has it; when it was confirmed is not in the store."""
        return asyncio.run(self._records(BucketName.parse(bucket)))

    async def _records(self, bucket: BucketName) -> dict[str, Record]:
        index = self._index()
        await index.open()
        try:
            page = await index.keys.listing(bucket, ListQuery(recursive=True, limit=100_000))
            assert page.cursor is None
            assert await index.usage_drift() == []
            return {record.key: replace(record, validated_at=0.0) for record in page.keys}
        finally:
            await index.close()

    def _index(self) -> SqlIndex:
        return index_at(self.service.settings.get("database_url", ""), self.service.data_dir / "cephstorage.db")

    def lose_database(self) -> None:
        """Stop, and go on with a database that is empty."""
        self.service.stop()
        if url := self.fresh_database():
            self.service.settings["database_url"] = url
        for file in self.service.data_dir.glob("cephstorage.db*"):
            file.unlink()

    def reindex(self, *buckets: str) -> dict[str, dict[str, int]]:
        """Run the verb; what it says of each bucket."""
        done = self.service.command("reindex", "--json", *buckets)
        assert done.returncode == 0, done.stderr
        return {each.pop("bucket"): each for each in json.loads(done.stdout)["buckets"]}


@pytest.fixture(params=["disk", "ceph"])
def installation(request: pytest.FixtureRequest, tmp_path: Path, origin: FaultOrigin) -> Iterator[Installation]:
    """Disk and SQLite, or Ceph and PostgreSQL."""
    settings, fresh = {"origin_allowed_ports": str(origin.port)}, str
    if request.param == "ceph":
        programs.require(*CEPH_PROGRAMS, *POSTGRES_PROGRAMS)
        ceph: Ceph = request.getfixturevalue("ceph")
        postgres: Postgres = request.getfixturevalue("postgres")
        settings, fresh = settings | shared_engines(postgres, ceph), postgres.fresh
    service = Service(tmp_path / "data", **settings).start()
    yield Installation(service, fresh)
    service.stop()


def test_every_record_comes_back_as_it_was(installation: Installation, origin: FaultOrigin) -> None:
    service = installation.service
    bucket, site = Bucket(service, "alice"), Site(service, origin, "mirror")
    for number, key in enumerate(NASTY_KEYS.values()):
        bucket.put(key, f"{number}".encode(), {"Content-Type": f"text/x-{number}"}, timetag=str(1000 + number))
    for generation in range(3):
        bucket.put("overwritten", BODY + f"{generation}".encode())
    bucket.put(
        "described", BODY, {"x-amz-meta-color": "blue", "x-amz-meta-source": "mine", "x-amz-meta-big": "x" * 2000}
    )
    bucket.put("deleted", BODY)
    bucket.delete("deleted")
    origin.put("/source", BODY)
    bucket.success(bucket.create("created", f"{origin.url}/source", md5=md5(BODY)))
    site.order()
    headers = {"Content-Disposition": "attachment", "X-Meta": "two words", "Cache-Control": "max-age=60"}
    site.put("/a/b", BODY, etag='"v1"', headers=tuple(headers.items()))
    site.put("/plain?q=1", BODY)
    before = {path: site.get(path) for path in ("/a/b", "/plain?q=1")}
    for path in before:
        site.stored(path.removeprefix("/"))
    known = {name: installation.records(name) for name in (TENANT, MIRRORED)}
    assert len(known[TENANT]) == len(NASTY_KEYS) + 3

    installation.lose_database()
    said = installation.reindex()
    rebuilt = {name: installation.records(name) for name in known}
    assert {name: said[name]["added"] for name in known} == {name: len(found) for name, found in rebuilt.items()}
    rebuilt[TENANT].pop("deleted", None)  # its bytes may still wait for their removal
    assert rebuilt == known
    again = installation.reindex()
    assert {name: again[name]["known"] for name in known} == {name: said[name]["added"] for name in known}
    assert all(each["added"] == 0 for each in again.values())

    service.start()
    assert bucket.read("overwritten") == BODY + b"2"
    assert bucket.read("created") == BODY
    site.order()
    origin.stop_listening(cut=True)
    for path, answer in before.items():
        after = site.get(path)
        assert (after.status, after.body, after.headers["etag"]) == (200, answer.body, answer.headers["etag"])
        kept = {name.lower() for name in headers} & answer.headers.keys()
        assert {name: after.headers[name] for name in kept} == {name: answer.headers[name] for name in kept}


def test_one_bucket_alone_comes_back(installation: Installation) -> None:
    one, two = Bucket(installation.service, "alice"), Bucket(installation.service, "alice", "other")
    one.put("k", BODY)
    two.put("k", BODY)
    installation.lose_database()
    assert installation.reindex("alice/other").keys() == {"alice___other"}
    installation.service.start()
    assert two.read("k") == BODY
    assert installation.service.call("GET", f"{one.path}/keys/k").status == 404


def test_reindex_beside_a_running_service_changes_nothing(installation: Installation) -> None:
    bucket = Bucket(installation.service, "alice")
    for number in range(5):
        bucket.put(f"k{number % 2}", f"{number}".encode())
    before = installation.records(TENANT)
    assert installation.reindex()[TENANT]["added"] == 0
    assert installation.records(TENANT) == before
    assert bucket.read("k0") == b"4"


@pytest.mark.parametrize("installation", ["disk"], indirect=True)
def test_a_store_that_lost_everything_says_so(installation: Installation) -> None:
    Bucket(installation.service, "alice").put("k", BODY)
    installation.lose_database()
    shutil.rmtree(installation.service.data_dir / "objects")
    done = installation.service.command("reindex")
    assert (done.returncode, done.stdout.strip()) == (0, "The store has no bucket of ours.")
