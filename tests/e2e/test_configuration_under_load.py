"""Settings change under the eyes of several processes at work on the real engines: nothing fails, nothing is lost."""

import contextlib
import hashlib
import http.client
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.test_real_engines import access, change
from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.edge import Edge
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.postgres import Postgres
from tests.harness.service import Service, Worker

pytestmark = pytest.mark.stacks("direct")  # they bring their own engines and edge

Launch = Callable[..., Service]
KEY = "k" * 32
ROUNDS = 8
BIG = Content(7, 24 * MIB)
"""Larger than one part: its upload takes several requests."""


@pytest.fixture
def second_user(ceph: Ceph) -> Iterator[dict[str, str]]:
    """Other credentials of the same user."""
    options = {"ceph_access_key": "SECONDKEY", "ceph_secret_key": "second-secret"}
    keys = [f"--access-key={options['ceph_access_key']}", f"--secret-key={options['ceph_secret_key']}"]
    ceph.admin("key", "create", "--uid=cephstorage", "--key-type=s3", *keys)
    yield options
    ceph.admin("key", "rm", "--uid=cephstorage", f"--access-key={options['ceph_access_key']}")


def test_credentials_addresses_and_spools_change_under_load(
    ceph: Ceph, postgres: Postgres, launch: Launch, second_user: dict[str, str], tmp_path: Path
) -> None:
    first = launch("one", store="ceph", database_url=postgres.fresh(), secret_key=KEY)
    second = launch("two", **first.settings)
    assert change(first, **access(ceph)).status == 200
    until(lambda: second.call("GET", "/readyz").status == 200)
    buckets = [Bucket(first, "alice"), Bucket(second, "alice")]
    done, sizes, failures = threading.Event(), dict[str, int](), list[object]()

    def work(number: int) -> None:
        bucket, step = buckets[number % 2], 0
        while not done.is_set():
            step += 1
            key, body = f"{number}/{step}", hashlib.sha256(f"{number}/{step}".encode()).digest() * 1000
            if step % 10 == 0:
                body = BIG.read()
            try:
                bucket.put(key, body)
                sizes[key] = len(body)
                assert buckets[step % 2].read(key) == body
            except AssertionError as error:
                failures.append((key, error))
                return

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(work, number) for number in range(4)]
        own = access(ceph)
        for number in range(ROUNDS):
            credentials = second_user if number % 2 == 0 else own
            spool = str(tmp_path / f"spool-{number % 3}")
            reply = change(buckets[number % 2].service, **credentials, download_path=spool)
            if reply.status != 200:
                failures.append(reply.body)
            seen = len(sizes)
            until(lambda seen=seen: len(sizes) >= seen + 8 or bool(failures))
        done.set()
        for finished in workers:
            finished.result()
    assert failures == []
    assert buckets[0].usage() == (sum(sizes.values()), len(sizes))
    assert "Traceback" not in first.log() + second.log()
    left = [path for name in ("spool-0", "spool-1", "spool-2") for path in (tmp_path / name).glob("*")]
    assert left == []


def test_the_gateway_changes_behind_the_edge_without_a_wrong_byte(ceph: Ceph, launch: Launch) -> None:
    """One cluster at two addresses, with TLS and without: the proxy knows of a change before nginx does."""
    service = launch("one", store="ceph")
    assert ceph.certificate is not None
    plain = {**access(ceph), "ceph_ca_file": None}
    secure = {**access(ceph), "ceph_gateway": ceph.secure_gateway, "ceph_ca_file": str(ceph.certificate.cert)}
    assert change(service, **plain).status == 200
    bucket, edge = Bucket(service, "alice"), Edge(service).start()
    done, answers = threading.Event(), list[tuple[int, bool]]()
    bucket.put("k", BIG.read())
    expected = BIG.read()

    def read() -> None:
        while not done.is_set():
            parts = urlsplit(bucket.record("k")["url"])
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", edge.port, timeout=60)) as connection:
                connection.request("GET", f"{parts.path}?{parts.query}")
                answer = connection.getresponse()
                answers.append((answer.status, answer.read() == expected))

    try:
        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            for wanted in (secure, plain, secure, plain):
                assert change(service, **wanted).status == 200
                until(lambda wanted=wanted: urlsplit(wanted["ceph_gateway"]).netloc in nginx_conf(edge))
                seen = len(answers)
                until(lambda seen=seen: len(answers) >= seen + 4)
            done.set()
            for finished in readers:
                finished.result()
    finally:
        done.set()
        edge.stop()
    assert set(answers) == {(200, True)}


def nginx_conf(edge: Edge) -> str:
    return (edge.run_dir / "nginx.conf").read_text()


def test_a_worker_follows_the_configuration(
    ceph: Ceph, postgres: Postgres, launch: Launch, origin: FaultOrigin, tmp_path: Path
) -> None:
    service = launch("serving", store="ceph", database_url=postgres.fresh(), secret_key=KEY, background="false")
    worker = Worker(tmp_path / "working", **service.settings).start()
    try:
        assert change(service, **access(ceph)).status == 200
        bucket, body = Bucket(service, "alice"), Content(8, MIB)
        origin.put("/a", body)
        bucket.success(bucket.create("a", f"{origin.url}/a"))
        assert bucket.read("a") == body.read()
    finally:
        worker.stop()


def test_a_change_is_seen_elsewhere_soon(postgres: Postgres, launch: Launch) -> None:
    here = launch("here", database_url=postgres.fresh(), secret_key=KEY)
    there = launch("there", **here.settings)
    bucket, elsewhere = Bucket(here, "alice"), Bucket(there, "alice")
    bucket.put("k", b"x")
    times = []
    for number in range(10):
        address = f"https://files-{number}.example.org"
        assert change(here, public_address=address).status == 200
        begun = time.monotonic()
        until(lambda address=address: elsewhere.record("k")["url"].startswith(address))
        times.append(time.monotonic() - begun)
    print(f"seen elsewhere after {sorted(times)[5] * 1000:.0f} ms (median), {max(times) * 1000:.0f} ms (most)")
