"""``cephstorage db``: an installation moves from SQLite to PostgreSQL and goes on there; older schemas are upgraded."""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.e2e.mirror.site import Site
from tests.harness.aftermath import examine
from tests.harness.bucket import Bucket, address
from tests.harness.origin import FaultOrigin
from tests.harness.postgres import Postgres
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # it brings its own engines

BODY = b"bytes of an object" * 1000
Launch = Callable[..., Service]


def db(service: Service, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a verb of the family ``db``."""
    return service.command("db", *arguments, **settings)


def test_an_installation_moves_to_postgresql_and_goes_on(
    launch: Launch, origin: FaultOrigin, postgres: Postgres
) -> None:
    service = launch()
    site, bucket = Site(service, origin, "mirror"), Bucket(service, "alice")
    site.order()
    site.fill("/object", BODY)
    for number in range(30):
        bucket.put(f"a/{number}", f"{number}".encode())
    bucket.put("a/0", b"again")
    bucket.delete("a/1")
    gone = Bucket(service, "alice", "gone")
    gone.put("k", b"x")
    gone.delete("k")
    assert service.call("DELETE", gone.path).status == 200
    token = bucket.create("fetched", f"{origin.url}/mirror-object")
    assert bucket.failure(token) == "origin_refused"
    url = postgres.fresh()
    running = db(service, "copy", database_url=url)
    assert (running.returncode, "stop it first" in running.stderr) == (6, True)
    published, before = address(bucket.record("a/2")["url"]), bucket.listing(recursive="true", limit=1000)
    usage = bucket.usage()
    service.stop()
    copied = db(service, "copy", "--json", database_url=url)
    assert copied.returncode == 0, copied.stderr
    assert json.loads(copied.stdout)["rows"]["CephStorageIndex_keys"] == 30
    again = db(service, "copy", database_url=url)
    assert (again.returncode, "not empty" in again.stderr) == (6, True)
    (service.data_dir / "cephstorage.db").rename(service.data_dir / "put-away.db")
    service.settings["database_url"] = url
    service.start()
    after = bucket.listing(recursive="true", limit=1000)
    assert [without_url(record) for record in after["keys"]] == [without_url(record) for record in before["keys"]]
    assert bucket.usage() == usage
    assert bucket.failure(token) == "origin_refused"
    assert service.call("GET", published, token=None).body == b"2"
    assert site.get("/object").body == BODY
    assert site.count("/object") == 1
    bucket.put("a/0", b"and again")
    bucket.delete("a/2")
    site.fill("/other", BODY)
    assert Bucket(service, "alice", "gone").put("k", b"x")["generation"] == 2
    assert examine(service.data_dir, "alice___photos", url).drift == []


def without_url(record: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in record.items() if name != "url"}


def test_a_copy_that_fails_leaves_the_target_empty(launch: Launch, postgres: Postgres) -> None:
    service = launch()
    Bucket(service, "alice").put("k", b"x")
    service.stop()
    with contextlib.closing(sqlite3.connect(service.data_dir / "cephstorage.db")) as database:
        database.execute('UPDATE "CephStorageGeneral_buckets" SET size = 7')
        database.commit()
    url = postgres.fresh()
    failed = db(service, "copy", database_url=url)
    assert failed.returncode == 5
    assert "usage of alice___photos" in failed.stderr
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regclass('\"CephStorageIndex\".keys')").fetchone() == (None,)


def test_numbers_of_the_queues_go_on_where_they_were(launch: Launch, postgres: Postgres) -> None:
    service = launch()
    service.stop()
    with contextlib.closing(sqlite3.connect(service.data_dir / "cephstorage.db")) as database:
        database.execute(
            "INSERT INTO sqlite_sequence SELECT 'CephStorageGeneral_removals', 0"
            " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'CephStorageGeneral_removals')"
        )
        database.execute("UPDATE sqlite_sequence SET seq = 41 WHERE name = 'CephStorageGeneral_removals'")
        database.commit()
    url = postgres.fresh()
    assert db(service, "copy", database_url=url).returncode == 0
    with psycopg.connect(url) as connection:
        drawn = connection.execute("SELECT nextval('\"CephStorageGeneral\".removals_id_seq')").fetchone()
    assert drawn == (42,)


@pytest.mark.parametrize(("url", "said"), [("", "CEPHSTORAGE_DATABASE_URL"), ("empty", "no SQLite database")])
def test_what_is_not_there_is_not_copied(url: str, said: str, tmp_path: Path, postgres: Postgres) -> None:
    failed = db(Service(tmp_path / "data"), "copy", database_url=url and postgres.fresh())
    assert (failed.returncode, said in failed.stderr) == (3, True)


def test_an_older_database_is_named_at_the_start_and_upgraded_on_request(tmp_path: Path, postgres: Postgres) -> None:
    from tests.conformance.index.test_migrations import write_postgres

    url = postgres.fresh()
    asyncio.run(asyncio.to_thread(write_postgres, "0.1.0", url))
    service = Service(tmp_path / "data", database_url=url)
    with pytest.raises((AssertionError, OSError)):
        service.start()
    assert service.wait() == 1
    assert "cephstorage db upgrade" in service.log()
    upgraded = db(service, "upgrade")
    assert (upgraded.returncode, "Upgraded from 1" in upgraded.stdout) == (0, True)
    assert "already" in db(service, "upgrade").stdout
    service.start()
    page = service.json("GET", "/ceph/alice/photos/keys?recursive=true")
    assert len(page["keys"]) == 3
    assert service.stop() == 0


def test_doctor_examines_the_database_server(tmp_path: Path, own_postgres: Postgres) -> None:
    url = own_postgres.fresh()
    service = Service(tmp_path / "data", database_url=url)

    def findings() -> dict[str, tuple[bool, str]]:
        command = [sys.executable, "-m", "cephstorage", "doctor", "--json"]
        found = subprocess.run(command, env=service.env, capture_output=True, text=True, check=False)
        return {each["name"]: (each["ok"], each["detail"]) for each in json.loads(found.stdout)["findings"]}

    assert "is empty" in findings()["database"][1]
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT to_regclass('\"CephStorageIndex\".keys')").fetchone() == (None,)
    service.start()
    service.stop()
    found = findings()
    assert found["database"][0]
    assert "PostgreSQL at 127.0.0.1" in found["database"][1]
    assert found["database clock"][0]
    assert found["usage"][0]
    own_postgres.kill()
    ok, detail = findings()["database"]
    assert not ok
    assert "can't be reached" in detail
    assert own_postgres.password not in detail
    own_postgres.start()
