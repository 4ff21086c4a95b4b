"""The index at size: a bucket of many keys on SQLite and on PostgreSQL, and the same listing by Ceph itself.

    python -m bench.index --sqlite-keys 1000000 --postgres-keys 10000000 --ceph-keys 100000

Times are those of the index, in the process, database included. Beside Ceph both sides answer over HTTP. The
sizes of rows and indexes at the end are what `docs/scaling.md` reckons with.
"""

import argparse
import asyncio
import gc
import http.client
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import psycopg
from tests.harness.ceph import Ceph
from tests.harness.postgres import Postgres
from tests.harness.s3 import Bystander
from tests.harness.service import Service

from bench import listing
from bench.database import land
from cephstorage.domain.names import BucketName, vfolder_of
from cephstorage.domain.records import ListQuery, Record
from cephstorage.domain.transfers import Kind, TransferRequest
from cephstorage.index import SqlIndex, index_at
from cephstorage.index.cursors import KEY, write_place
from cephstorage.index.folders import folder_sort_key
from cephstorage.index.postgres_names import create_names
from cephstorage.ports.ledger import NewTransfer

BUCKET, BIG, MANY = listing.BUCKET, listing.BIG_FOLDER, listing.MANY_FOLDERS
SERVER = {"shared_buffers": "2GB", "maintenance_work_mem": "1GB", "max_wal_size": "16GB", "checkpoint_timeout": "30min"}
_BATCH = 20_000
_LATER = 2.0
"""When transfers are due that nobody is to claim: `land` claims at 1.0."""
Work = Callable[[SqlIndex], Awaitable[Any]]


def show(what: str, p50: float, p99: float) -> None:
    """One line of the table, in milliseconds."""
    print(f"{what:<58} p50 {p50:8.2f} ms   p99 {p99:8.2f} ms", flush=True)


def quantiles(times: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(times, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


async def timed(what: str, rounds: int, work: Callable[[], Awaitable[Any]]) -> None:
    """Measure an operation, after a few that do not count."""
    for _ in range(5):
        await work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        await work()
        times.append(time.perf_counter() - began)
    show(what, *quantiles(times))


def pages(keys: int, chance: random.Random) -> dict[str, Callable[[], ListQuery]]:
    """Kinds of pages; each call draws another place."""
    big, many = keys // 10, keys // 5

    def package() -> str:
        return vfolder_of(listing._package_file(MANY, "lib", chance.randrange(many)))  # noqa: SLF001

    def somewhere() -> str:
        return write_place(KEY, f"{BIG}/snapshot-{chance.randrange(big):09d}.tar.gz")

    def name() -> str:
        return package().rpartition("/")[2]

    thousandth = write_place(KEY, f"{BIG}/snapshot-{min(big - 101, 99_900):09d}.tar.gz")
    return {
        "folder of a package, first page": lambda: ListQuery(package(), limit=100),
        f"folder of {big:,} keys, first page of 100": lambda: ListQuery(BIG, limit=100),
        f"folder of {big:,} keys, page 1,000": lambda: ListQuery(BIG, limit=100, cursor=thousandth),
        f"folder of {big:,} keys, any page of 100": lambda: ListQuery(BIG, limit=100, cursor=somewhere()),
        f"folder of {big:,} keys, any page of 1,000": lambda: ListQuery(BIG, limit=1000, cursor=somewhere()),
        f"folder of {big:,} keys, backwards": lambda: ListQuery(BIG, limit=100, cursor=somewhere(), descending=True),
        "folder of many folders, 100 of them": lambda: ListQuery(MANY, limit=100),
        "folder of many folders, 1,000 of them": lambda: ListQuery(MANY, limit=1000),
        "root": ListQuery,
        "recursive, any 100 keys": lambda: ListQuery("pool", recursive=True, limit=100, cursor=somewhere()),
        "by prefix": lambda: ListQuery(None, prefix=f"{MANY}/{name()}", limit=100),
        "filter that finds nothing (5,000 keys looked at)": lambda: ListQuery(
            BIG, content_type="none", cursor=somewhere()
        ),
        "search: a rare name": lambda: ListQuery(recursive=True, contains=f"/{name()}_1.", limit=100),
        "search: nothing": lambda: ListQuery(recursive=True, contains=f"xq{chance.randrange(10**6):06d}z"),
        "search: in every name": lambda: ListQuery(recursive=True, contains="pool/", limit=100, cursor=somewhere()),
        "search: in many names (walks)": lambda: ListQuery(recursive=True, contains="-dev_1.7", limit=100),
        "search: glob": lambda: ListQuery(recursive=True, glob=f"**/{name()}/*.deb", limit=100),
    }


async def measure(index: SqlIndex, keys: int, rounds: int) -> None:
    """Every kind of page, then writes."""
    chance = random.Random(1)
    for what, query in pages(keys, chance).items():
        await timed(what, rounds, lambda query=query: index.keys.listing(BUCKET, query()))  # type: ignore[misc]
    await timed("du of a folder, with 1,000 sub-folders", rounds, lambda: index.keys.usage(BUCKET, MANY, 1000, None))
    await writes(index, rounds)


async def writes(index: SqlIndex, rounds: int) -> None:
    """Creations of many keys, then publishing and deleting one."""
    for what, work in (("create from URLs, 1,000 a request", created), ("records taken in, 1,000 at once", adopted)):
        began = time.perf_counter()
        amount = await work(index)
        print(f"{what:<58} {amount / (time.perf_counter() - began):8.0f} keys/s", flush=True)
    numbers = iter(range(10**9))
    # `land` publishes in a bucket of its own; the tree of folders and the index of names grow with it.
    names = [f"new/{number % 50}/file-{number}" for number in range(rounds + 5)]
    await index.buckets.create(BucketName("bench", "database"), 0.0)
    await timed("create, claim, plan, publish one key", rounds, lambda: land(index, names[next(numbers)]))
    gone = iter(names)
    home = BucketName("bench", "database")
    await timed("delete one key", rounds, lambda: index.keys.delete(home, next(gone), 1.0))


async def created(index: SqlIndex) -> int:
    """Transfers in one durable insert each thousand."""
    for turn in range(10):
        await index.transfers.create(
            [
                NewTransfer(
                    f"{turn}-{number}",
                    f"token-{turn}-{number}",
                    TransferRequest(Kind.FETCH, BUCKET, f"later/{turn}/{number}", f"http://origin.example/{number}"),
                    fingerprint=f"{turn}-{number}",
                )
                for number in range(1000)
            ],
            _LATER,
        )
    return 10_000


async def adopted(index: SqlIndex) -> int:
    """New records."""
    for turn in range(20):
        await index.adoption.adopt(
            BUCKET, [record(f"taken-in/{turn}/{number // 10}/file-{number}.txt") for number in range(1000)]
        )
    return 20_000


def record(key: str) -> Record:
    """A record like those that the bucket is filled with."""
    values = listing._row(key)  # noqa: SLF001
    fields = {name: value for name, value in values.items() if name not in {"bucket", "vfolder", "origin"}}
    return Record(bucket=BUCKET, **fields)  # type: ignore[arg-type]


def on_sqlite(keys: int, rounds: int) -> None:
    """One file."""
    with tempfile.TemporaryDirectory(prefix="cephstorage-bench-") as folder:
        path = Path(folder) / "cephstorage.db"
        began = time.perf_counter()
        listing.build(path, keys)
        size = path.stat().st_size
        print(f"\nSQLite, {keys:,} keys built in {time.perf_counter() - began:.0f} s, {size / keys:.0f} bytes a key")
        asyncio.run(opened("", path, keys, rounds))


async def opened(url: str, path: Path, keys: int, rounds: int) -> None:
    """Open an index and measure it, with the memory as ``serve`` leaves it after its start."""
    index = index_at(url, path)
    await index.open()
    gc.collect()
    gc.freeze()
    await measure(index, keys, rounds)
    await index.close()


def lines(keys: int) -> Iterator[bytes]:
    """Rows as COPY takes them, in the order of keys."""
    md5 = "%032x"
    for number, key in enumerate(listing.key_names(keys)):
        folder = folder_sort_key(vfolder_of(key)).hex()
        digest = md5 % (number * 0x9E3779B97F4A7C15F39CC0605CEDC834 % 2**128)
        yield (
            f"{BUCKET}\t{key}\t\\\\x{folder}\t{1.7e9 + number}\t{digest}\tapplication/octet-stream\t4096\t1\t"
            f'"{digest}"\tTue, 14 Nov 2023 22:13:20 GMT\t{number:032x}.1\thttp://archive.example\t1.7e9\t\\N\t\\N\n'
        ).encode()


_COLUMNS = (
    "bucket, key, vfolder, ts, md5, content_type, size, generation, etag, last_modified, store_version, source, "
    "validated_at, origin, invalidated_at"
)


async def load(index: SqlIndex, url: str, keys: int) -> None:
    """Fill the bucket by COPY, then make the index of names."""
    await index.open()
    await index.buckets.create(BUCKET, 0.0)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute('DROP INDEX IF EXISTS "CephStorageIndex".keys_by_name')
        rows = lines(keys)
        with (
            connection.cursor() as cursor,
            cursor.copy(f'COPY "CephStorageIndex".keys ({_COLUMNS}) FROM STDIN') as sink,
        ):
            while batch := b"".join(islice(rows, _BATCH)):
                sink.write(batch)
        told(f"{keys:,} rows copied")
        connection.execute('UPDATE "CephStorageGeneral".buckets SET size = %s, keyamount = %s', [4096 * keys, keys])
        await index.database.alone(lambda conn: unlimited(conn, create_names))  # type: ignore[attr-defined]
        told("index of names made")
        await index.database.alone(lambda conn: unlimited(conn, index._folder_statements.rebuild))  # type: ignore[attr-defined] # noqa: SLF001
        told("tree of folders made")
        connection.execute("VACUUM (ANALYZE) ")
        told("vacuumed and analysed")
        connection.execute("CHECKPOINT")
        told("on the disk, so that nothing of this is still being written while requests are measured")
    await index.close()


def unlimited(conn: Any, work: Callable[[Any], Any]) -> None:
    conn.exec_driver_sql("SET LOCAL statement_timeout = 0")
    work(conn)


_BEGAN = time.perf_counter()


def told(what: str) -> None:
    print(f"  {time.perf_counter() - _BEGAN:6.0f} s  {what}", flush=True)


_SIZES = """
SELECT p.relname, sum(pg_table_size(c.oid)) FROM pg_class p JOIN pg_inherits i ON i.inhparent = p.oid
  JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = p.relnamespace
 WHERE n.nspname = 'CephStorageIndex' GROUP BY p.relname ORDER BY p.relname
"""


async def on_postgres(keys: int, rounds: int) -> None:
    """A server on this machine, its commits durable."""
    with closing(Postgres(durable=True, settings=SERVER)) as server:
        url = server.fresh()
        print(f"\nPostgreSQL, {keys:,} keys:")
        await load(index_at(url, Path()), url, keys)
        with psycopg.connect(url) as connection:
            folders = connection.execute('SELECT count(*) FROM "CephStorageIndex".folders').fetchone()
            assert folders is not None
            print(f"  {folders[0]:,} folders; bytes a key: ", end="")
            print(", ".join(f"{name} {size / keys:.1f}" for name, size in connection.execute(_SIZES)), flush=True)
        await opened(url, Path(), keys, rounds)


def http_time(port: int, target: str, headers: dict[str, str]) -> float:
    """Seconds of a GET on a connection of its own."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", target, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status == 200, body[:300]
    return time.perf_counter() - began


def beside_ceph(keys: int, rounds: int) -> None:
    """The same folders listed by the service and by the gateway, both over HTTP."""
    print(f"\nBeside ListObjectsV2 with a delimiter, {keys:,} keys on a one-node Ceph (bluestore), over HTTP:")
    with tempfile.TemporaryDirectory(prefix="cephstorage-bench-") as base:
        folder = Path(base) / "service"
        folder.mkdir()
        listing.build(folder / "cephstorage.db", keys)
        ours = Service(folder, log_level="error").start()
        with Ceph(Path(base) / "ceph", "bluestore").start() as node:
            seen = Bystander(node, str(BUCKET))
            seen.client.create_bucket(Bucket=str(BUCKET))
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda key: seen.client.put_object(Bucket=str(BUCKET), Key=key), listing.key_names(keys)))
            told(f"{keys:,} objects stored")
            port = urlsplit(node.gateway).port or 0
            after = f"{BIG}/snapshot-{keys // 20:09d}.tar.gz"
            for what, prefix, start in (
                (f"folder of {keys // 10:,} keys, first 100", BIG, ""),
                (f"folder of {keys // 10:,} keys, 100 from its middle", BIG, after),
                ("folder of many folders, 100 of them", MANY, ""),
                ("root", "", ""),
            ):
                asked = {"Bucket": str(BUCKET), "Delimiter": "/", "MaxKeys": 100}
                asked |= {"Prefix": f"{prefix}/"} if prefix else {}
                asked |= {"StartAfter": start} if start else {}
                url = urlsplit(seen.client.generate_presigned_url("list_objects_v2", Params=asked))
                cursor = f"&cursor={write_place(KEY, start)}" if start else ""
                target = f"/ceph/{BUCKET.username}/{BUCKET.bucketname}/keys?limit=100&vfolder={quote(prefix)}{cursor}"
                token = {"Authorization": f"Bearer {ours.admin_token}"}
                pairs = [
                    (http_time(ours.port, target, token), http_time(port, f"{url.path}?{url.query}", {}))
                    for _ in range(rounds)
                ]
                mine, theirs = (statistics.median(pair[side] for pair in pairs) * 1000 for side in (0, 1))
                print(f"{what:<46} {mine:8.2f} ms   Ceph {theirs:8.2f} ms   ratio {mine / theirs:5.3f}", flush=True)
        ours.stop()


def main() -> None:
    """Run what was asked for."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sqlite-keys", type=int, default=1_000_000)
    options.add_argument("--postgres-keys", type=int, default=10_000_000)
    options.add_argument("--ceph-keys", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=300)
    options.add_argument("--only", choices=["sqlite", "postgresql", "ceph"])
    chosen = options.parse_args()
    if chosen.only in {None, "sqlite"}:
        on_sqlite(chosen.sqlite_keys, chosen.rounds)
    if chosen.only in {None, "postgresql"}:
        asyncio.run(on_postgres(chosen.postgres_keys, chosen.rounds))
    if chosen.only in {None, "ceph"}:
        beside_ceph(chosen.ceph_keys, min(chosen.rounds, 50))


if __name__ == "__main__":
    main()
