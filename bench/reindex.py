"""The database of a filled bucket is lost and rebuilt from a real Ceph: ``python -m bench.reindex --keys 10000``.

Every record is compared, field by field, with what it was before; a difference ends the run.
"""

import argparse
import asyncio
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph
from tests.harness.machines import shared_engines
from tests.harness.postgres import Postgres
from tests.harness.service import Service

from bench.__main__ import show
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import ListQuery, Record
from cephstorage.index import index_at

AT_ONCE = 16
BUCKET = BucketName("bench", "photos")


async def records(url: str) -> dict[str, Record]:
    """Every record of the bucket; when it was confirmed is not in the store."""
    index = index_at(url, Path())
    await index.open()
    try:
        found: dict[str, Record] = {}
        query = ListQuery(recursive=True, limit=1000)
        while True:
            page = await index.keys.listing(BUCKET, query)
            found |= {record.key: replace(record, validated_at=0.0) for record in page.keys}
            if page.cursor is None:
                assert await index.usage_drift() == []
                return found
            query = replace(query, cursor=page.cursor)
    finally:
        await index.close()


def fill(service: Service, count: int) -> float:
    """Upload keys in folders, each with a type and bytes of its own; keys a second."""
    bucket = Bucket(service, BUCKET.username, BUCKET.bucketname)

    def put(number: int) -> None:
        bucket.put(f"{number // 100}/{number}", f"{number}".encode(), {"Content-Type": f"text/x-{number % 7}"})

    begin = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, range(count)))
    return count / (time.monotonic() - begin)


def measure(node: Ceph, postgres: Postgres, folder: Path, count: int) -> None:
    """Fill, lose the database, rebuild, compare."""
    service = Service(folder, **shared_engines(postgres, node)).start()
    try:
        show(f"{count} keys on Ceph and PostgreSQL", "", "", None)
        show("Uploads, each durable", f"{fill(service, count):.0f}/s", "", None)
    finally:
        service.stop()
    before = asyncio.run(records(service.settings["database_url"]))
    service.settings["database_url"] = postgres.fresh()
    begin = time.monotonic()
    done = service.command("reindex")
    assert done.returncode == 0, done.stderr
    show("Rebuilt from the store", f"{count / (time.monotonic() - begin):.0f}/s", "", None)
    after = asyncio.run(records(service.settings["database_url"]))
    assert after == before, "records differ"
    show("Records that are as they were", f"{len(after)} of {count}", "", None)


def main() -> None:
    """Measure in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000)
    count = parser.parse_args().keys
    with (
        tempfile.TemporaryDirectory() as folder,
        Ceph(Path(folder) / "ceph").start() as node,
        closing(Postgres()) as postgres,
    ):
        measure(node, postgres, Path(folder) / "data", count)


if __name__ == "__main__":
    main()
