"""How fast a folder is listed in a bucket with many keys.

``build`` fills a database file by bulk INSERT with the tree of an archive: one folder that holds a tenth
of the keys, one folder with thousands of sub-folders, and packages spread over the rest.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sqlalchemy import insert, update

from cephstorage.domain.names import BucketName
from cephstorage.domain.records import ListQuery, Record
from cephstorage.index import SqliteIndex
from cephstorage.index.rows import record_values
from cephstorage.index.schema import build_schema
from cephstorage.index.sqlite_file import connect
from cephstorage.index.tree import FolderStatements

BUCKET = BucketName("bench", "archive")
BIG_FOLDER = "pool/snapshots"
MANY_FOLDERS = "pool/main/lib"
_SIZE = 4096
_BATCH = 10_000
_FILES_PER_PACKAGE = 8


def key_names(count: int) -> Iterator[str]:
    """``count`` keys: a tenth in one big folder, a fifth under one folder of folders, the rest spread."""
    big, many = count // 10, count // 5
    yield from (f"{BIG_FOLDER}/snapshot-{number:09d}.tar.gz" for number in range(big))
    yield from (_package_file(MANY_FOLDERS, "lib", number) for number in range(many))
    yield from (
        _package_file(f"pool/main/{number % 26:02d}", "pkg", number // 26) for number in range(count - big - many)
    )


def _package_file(folder: str, stem: str, number: int) -> str:
    package, version = divmod(number, _FILES_PER_PACKAGE)
    name = f"{stem}{package:06d}-dev" if package % 3 == 0 else f"{stem}{package:06d}"
    return f"{folder}/{name}/{name}_1.{version}-1_amd64.deb"


def _row(key: str) -> dict[str, object]:
    return record_values(
        Record(
            bucket=BUCKET,
            key=key,
            ts=1.7e9,
            md5="d41d8cd98f00b204e9800998ecf8427e",
            content_type="application/octet-stream",
            size=_SIZE,
            generation=1,
            etag='"d41d8cd98f00b204e9800998ecf8427e"',
            last_modified="Tue, 14 Nov 2023 22:13:20 GMT",
            store_version="0123456789abcdef.1",
            source="http://archive.example/debian",
            validated_at=1.7e9,
        )
    )


def build(path: Path, keys: int) -> None:
    """Make a database at ``path`` whose bucket ``BUCKET`` holds ``keys`` keys. The index must not be open."""
    asyncio.run(_empty(path))
    schema = build_schema(separate_schemas=False)
    names = key_names(keys)
    connection = connect(path, patience=15)
    connection.exec_driver_sql("PRAGMA synchronous = OFF")
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    while batch := [_row(key) for key in islice(names, _BATCH)]:
        connection.execute(insert(schema.keys), batch)
    FolderStatements(schema).rebuild(connection)
    connection.execute(update(schema.buckets).values(size=keys * _SIZE, keyamount=keys))
    connection.exec_driver_sql("COMMIT")
    connection.close()


async def _empty(path: Path) -> None:
    index = SqliteIndex(path)
    await index.open()
    await index.buckets.create(BUCKET, 0.0)
    await index.close()


async def measure(path: Path, rounds: int = 300) -> dict[str, tuple[float, float]]:
    """p50 and p99 in milliseconds of each kind of page."""
    index = SqliteIndex(path)
    await index.open()
    big = ListQuery(vfolder=BIG_FOLDER, limit=100)
    first = await index.keys.listing(BUCKET, ListQuery(vfolder="pool/main/00", limit=1))
    folder = first.vfolders[0] if first.vfolders else "pool/main"
    queries = {
        "folder of a package": ListQuery(vfolder=folder, limit=100),
        "big folder, page 1": big,
        "big folder, page 1,000": await _page(index, big, 1000),
        "1,000 keys on a page": ListQuery(vfolder=BIG_FOLDER, limit=1000),
        "folder of many folders, 100": ListQuery(vfolder=MANY_FOLDERS, limit=100),
        "folder of many folders, 1,000": ListQuery(vfolder=MANY_FOLDERS, limit=1000),
        "root": ListQuery(),
        "sub-folders of pool/main": ListQuery(vfolder="pool/main"),
        "recursive below pool/main": ListQuery(vfolder="pool/main", recursive=True, limit=100),
    }
    figures = {name: await _timed(index, query, rounds) for name, query in queries.items()}
    await index.close()
    return figures


async def _page(index: SqliteIndex, query: ListQuery, number: int) -> ListQuery:
    """The query for page ``number``, or for the last one that there is."""
    for _ in range(number - 1):
        cursor = (await index.keys.listing(BUCKET, query)).cursor
        if cursor is None:
            break
        query = ListQuery(vfolder=query.vfolder, limit=query.limit, cursor=cursor)
    return query


async def _timed(index: SqliteIndex, query: ListQuery, rounds: int) -> tuple[float, float]:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        await index.keys.listing(BUCKET, query)
        times.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(times, n=100)
    return cuts[49], cuts[98]


def main() -> None:
    """Build in a temporary folder, measure, print."""
    options = argparse.ArgumentParser(description="Listing in a bucket with many keys.")
    options.add_argument("--keys", type=int, default=1_000_000)
    keys = options.parse_args().keys
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cephstorage.db"
        began = time.perf_counter()
        build(path, keys)
        print(f"{keys:,} keys built in {time.perf_counter() - began:.0f} s, {path.stat().st_size / 2**20:.0f} MiB")
        for name, (p50, p99) in asyncio.run(measure(path)).items():
            print(f"{name:<32} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms")


if __name__ == "__main__":
    main()
