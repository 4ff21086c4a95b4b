"""The service on PostgreSQL: the same behaviour, several processes on one database, and its absence."""

from collections.abc import Callable

from tests.harness.bucket import Bucket
from tests.harness.origin import FaultOrigin
from tests.harness.postgres import Postgres
from tests.harness.service import Service

BODY = b"bytes of an object" * 1000


def test_keys_are_stored_listed_and_deleted(
    launch: Callable[..., Service], origin: FaultOrigin, postgres: Postgres
) -> None:
    service = launch(database_url=postgres.fresh())
    bucket = Bucket(service, "alice")
    bucket.put("a/upload.txt", BODY)
    origin.put("/object", BODY)
    bucket.success(bucket.create("a/fetched.txt", f"{origin.url}/object"))
    assert bucket.read("a/fetched.txt") == bucket.read("a/upload.txt") == BODY
    assert [record["key"] for record in bucket.listing(vfolder="a")["keys"]] == ["a/fetched.txt", "a/upload.txt"]
    assert bucket.usage() == (2 * len(BODY), 2)
    bucket.delete("a/upload.txt")
    assert bucket.usage() == (len(BODY), 1)
    assert not (service.data_dir / "cephstorage.db").exists()
    assert service.stop() == 0
