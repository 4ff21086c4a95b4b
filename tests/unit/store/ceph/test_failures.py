"""What can be wrong with a gateway, provoked at a real one: each has a type, a sentence and a setting to change."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cephstorage.domain.errors import (
    CephStorageError,
    StoredBytesMissing,
    StoreFull,
    StoreMisconfigured,
    StoreUnavailable,
)
from cephstorage.domain.names import BucketName
from cephstorage.domain.transfers import RetryPolicy
from cephstorage.store.ceph import CephConfig, CephStore
from cephstorage.store.ceph.gateway import Gateway
from cephstorage.store.ceph.s3 import S3
from cephstorage.store.patient import PatientStore
from tests.harness.ceph import Ceph
from tests.harness.content import MIB, Content
from tests.harness.fault_proxy import Fault, FaultProxy, s3_error
from tests.harness.ports import free_port
from tests.harness.tls import make_certificate
from tests.unit.store.ceph.conftest import BIG, config, planned, read, spooled, versions

Make = Callable[[CephConfig], CephStore]
SMALL = Content(2, 3 * MIB)


async def failing(store: CephStore) -> CephStorageError:
    with pytest.raises(CephStorageError) as caught:
        await store.check()
    return caught.value


async def test_a_healthy_gateway_over_http_and_https(
    make: Make, ceph: Ceph, bucket: BucketName, tmp_path: Path
) -> None:
    assert ceph.certificate is not None
    secure = make(config(ceph, gateway=ceph.secure_gateway, ca_file=ceph.certificate.cert))
    assert await make(config(ceph)).check() == f"Ceph gateway {ceph.gateway}"
    assert await secure.check() == f"Ceph gateway {ceph.secure_gateway}"
    await secure.create_bucket(bucket)
    for body in (SMALL, BIG):
        version = planned(secure, bucket, body)
        version = replace(version, store_version=await secure.commit(spooled(tmp_path, body), version))
        assert await read(secure, version) == body.read()


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"access_key": "NOBODY"}, "ceph_access_key"),
        ({"secret_key": "wrong"}, "ceph_secret_key"),
        ({"ca_file": Path("/nonexistent.pem"), "gateway": "https://127.0.0.1:1"}, "ceph_ca_file"),
    ],
)
async def test_wrong_settings_are_named_and_no_secret_is(
    make: Make, ceph: Ceph, wrong: dict[str, object], word: str
) -> None:
    settings = config(ceph, **wrong)
    error = await failing(make(settings))
    assert isinstance(error, StoreMisconfigured)
    assert word in error.msg
    assert settings.secret_key not in error.msg + repr(settings)


async def test_a_certificate_of_an_unknown_ca(make: Make, ceph: Ceph, tmp_path: Path) -> None:
    other = make_certificate(tmp_path)
    for ca_file in (None, other.cert):
        error = await failing(make(config(ceph, gateway=ceph.secure_gateway, ca_file=ca_file)))
        assert isinstance(error, StoreMisconfigured)
        assert "ceph_ca_file" in error.msg


async def test_a_clock_that_is_wrong(ceph: Ceph) -> None:
    gateway = Gateway(config(ceph), clock=lambda: time.time() - 3600)
    try:
        with pytest.raises(StoreMisconfigured, match="clock"):
            await S3(gateway).answers(5.0)
    finally:
        await gateway.close()


async def test_nobody_listens_and_nobody_answers(make: Make, ceph: Ceph, proxy: FaultProxy) -> None:
    error = await failing(make(config(ceph, gateway=f"http://127.0.0.1:{free_port()}")))
    assert type(error) is StoreUnavailable
    assert "can't be reached" in error.msg
    proxy.fault(Fault(hang_after=0))
    hanging = S3(gateway := Gateway(config(ceph, gateway=proxy.address, timeout=0.2)))
    try:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            await hanging.answers(0.2)
    finally:
        await gateway.close()


async def test_another_server_is_no_gateway(make: Make, ceph: Ceph, proxy: FaultProxy) -> None:
    for answer in (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b""):
        proxy.fault(Fault(answer=answer))
        assert isinstance(await failing(make(config(ceph, gateway=proxy.address))), StoreUnavailable)


@pytest.fixture(scope="module")
def strict_ceph(ceph_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ceph]:
    """A gateway that keeps to the names of DNS."""
    folder = tmp_path_factory.mktemp("strict")
    options = {"rgw_relaxed_s3_bucket_names": "false"}
    with Ceph(folder / "node", rgw_options=options).start() as node:
        yield node


async def test_strict_names_are_explained(make: Make, strict_ceph: Ceph, bucket: BucketName) -> None:
    with pytest.raises(StoreMisconfigured, match="rgw_relaxed_s3_bucket_names = true"):
        await make(config(strict_ceph)).create_bucket(bucket)


async def test_a_bucket_of_another_user(make: Make, ceph: Ceph, store: CephStore, bucket: BucketName) -> None:
    stranger = ceph.add_user(f"stranger-{bucket.username}")
    other = make(CephConfig(ceph.gateway, stranger.access_key, stranger.secret_key))
    with pytest.raises(StoreMisconfigured, match="another user"):
        await other.create_bucket(bucket)
    with pytest.raises(StoreMisconfigured, match="denies access"):
        await other.holds(planned(other, bucket, SMALL))


@pytest.mark.parametrize("body", [SMALL, BIG], ids=["whole", "parts"])
async def test_a_quota_is_reached_and_lifted(
    make: Make, ceph: Ceph, bucket: BucketName, tmp_path: Path, body: Content
) -> None:
    user = ceph.add_user(f"poor-{bucket.username}")
    store = make(CephConfig(ceph.gateway, user.access_key, user.secret_key))
    await store.create_bucket(bucket)
    version, part = planned(store, bucket, body), spooled(tmp_path, body)
    ceph.limit(user, size=MIB)
    with pytest.raises(StoreFull, match="quota") as caught:
        await store.commit(part, version)
    assert caught.value.retry_after
    assert await versions(store, bucket) == []
    ceph.limit(user, size=None)
    name = await store.commit(part, version)
    assert await versions(store, bucket) == [name]


async def test_a_missing_bucket_is_named(store: CephStore, tmp_path: Path) -> None:
    nowhere = BucketName("nobody", "nothing")
    with pytest.raises(StoreUnavailable, match="no such bucket"):
        await store.commit(spooled(tmp_path, SMALL), planned(store, nowhere, SMALL))


async def test_versioning_that_was_switched_off_is_switched_on_again(
    store: CephStore, bucket: BucketName, tmp_path: Path
) -> None:
    suspended = b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
    await store._gateway.ask("PUT", f"/{bucket}", [("versioning", "")], body=suspended)
    version, part = planned(store, bucket, SMALL), spooled(tmp_path, SMALL)
    with pytest.raises(StoreUnavailable, match="versioning"):
        await store.commit(part, version)
    assert await versions(store, bucket) == []
    name = await store.commit(part, version)
    assert await versions(store, bucket) == [name]


async def test_a_spool_of_another_size_is_not_stored(store: CephStore, bucket: BucketName, tmp_path: Path) -> None:
    version = planned(store, bucket, SMALL)
    for size in (0, SMALL.size - 1, SMALL.size + 1):
        with pytest.raises(StoreUnavailable):
            await store.commit(spooled(tmp_path, Content(2, size)), version)
    assert await versions(store, bucket) == []


async def test_a_spool_with_other_bytes_is_refused_by_the_gateway(
    store: CephStore, bucket: BucketName, tmp_path: Path
) -> None:
    with pytest.raises(StoreUnavailable, match="BadDigest"):
        await store.commit(spooled(tmp_path, Content(9, SMALL.size)), planned(store, bucket, SMALL))
    assert await versions(store, bucket) == []


async def test_after_a_failed_put_no_connection_is_used_again(
    store: CephStore, bucket: BucketName, tmp_path: Path
) -> None:
    """The next answer on it could be that to the rest of the body."""
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await store.commit(spooled(tmp_path, Content(9, SMALL.size)), planned(store, bucket, SMALL))
        version = planned(store, bucket, SMALL)
        assert await store.commit(spooled(tmp_path, SMALL), version)


# -- patience


async def test_patience_bridges_moments_and_ends(
    make: Make, ceph: Ceph, proxy: FaultProxy, store: CephStore, bucket: BucketName, tmp_path: Path
) -> None:
    quick = RetryPolicy(attempts=3, base=0.001, cap=0.01)
    patient = PatientStore(make(config(ceph, gateway=proxy.address)), quick)
    version = planned(store, bucket, SMALL)
    version = replace(version, store_version=await store.commit(spooled(tmp_path, SMALL), version))
    proxy.fault(Fault(answer=s3_error(503, "SlowDown"), times=2))
    assert await patient.holds(version) == version.store_version
    assert proxy.met == 2
    proxy.fault(Fault(answer=s3_error(503, "SlowDown"), times=3))
    with pytest.raises(StoreUnavailable):
        await patient.holds(version)
    assert await patient.holds(version) == version.store_version
    proxy.fault(Fault(answer=s3_error(403, "InvalidAccessKeyId")))
    with pytest.raises(StoreMisconfigured):
        await patient.holds(version)
    assert proxy.met == 6


async def test_a_patient_reader_goes_on_where_the_connection_was_cut(
    make: Make, ceph: Ceph, proxy: FaultProxy, store: CephStore, bucket: BucketName, tmp_path: Path
) -> None:
    version = planned(store, bucket, BIG)
    version = replace(version, store_version=await store.commit(spooled(tmp_path, BIG), version))
    quick = RetryPolicy(attempts=9, base=0.001, cap=0.01)
    patient = PatientStore(make(config(ceph, gateway=proxy.address)), quick, quick)
    reader = await patient.open(bucket, "k", version.store_version)
    proxy.fault(Fault(cut_after=5 * MIB, direction="down", times=6))
    body = b""
    while piece := await reader.read(len(body), MIB):
        body += piece
    await reader.close()
    assert proxy.met == 6
    assert body == BIG.read()


# -- readers


async def test_a_long_get_survives_the_versions_removal(store: CephStore, bucket: BucketName, tmp_path: Path) -> None:
    version = planned(store, bucket, BIG)
    version = replace(version, store_version=await store.commit(spooled(tmp_path, BIG), version))
    reader = await store.open(bucket, "k", version.store_version)
    body = await reader.read(0, 1000)
    await store.delete(bucket, "k", version.store_version)
    while piece := await reader.read(len(body), MIB):
        body += piece
    assert body == BIG.read()
    with pytest.raises(StoredBytesMissing):
        await reader.read(5, 10)
    await reader.close()


async def test_sequential_reads_are_one_request(
    make: Make, ceph: Ceph, proxy: FaultProxy, store: CephStore, bucket: BucketName, tmp_path: Path
) -> None:
    version = planned(store, bucket, BIG)
    version = replace(version, store_version=await store.commit(spooled(tmp_path, BIG), version))
    through = make(config(ceph, gateway=proxy.address))
    reader = await through.open(bucket, "k", version.store_version)
    before = proxy.sent_up
    position = 0
    while piece := await reader.read(position, 100_000):
        position += len(piece)
    await reader.close()
    assert position == BIG.size
    assert proxy.sent_up - before < 2000


async def test_a_gateway_that_stops_sending_is_noticed(
    make: Make, ceph: Ceph, proxy: FaultProxy, store: CephStore, bucket: BucketName, tmp_path: Path
) -> None:
    version = planned(store, bucket, BIG)
    version = replace(version, store_version=await store.commit(spooled(tmp_path, BIG), version))
    through = make(config(ceph, gateway=proxy.address, timeout=0.3))
    reader = await through.open(bucket, "k", version.store_version)
    proxy.fault(Fault(hang_after=3 * MIB, direction="down"))
    with pytest.raises(StoreUnavailable, match="does not answer"):
        await reader.read(0, BIG.size)
    proxy.fault(None)
    assert await reader.read(0, 100) == BIG.read(0, 100)
    await reader.close()


async def test_a_cancelled_commit_has_stopped_when_it_says_so(
    make: Make, ceph: Ceph, proxy: FaultProxy, store: CephStore, bucket: BucketName, tmp_path: Path
) -> None:
    through = make(config(ceph, gateway=proxy.address))
    proxy.fault(Fault(hang_after=9 * MIB))
    version = planned(through, bucket, BIG)
    committing = asyncio.create_task(through.commit(spooled(tmp_path, BIG), version))
    while proxy.sent_up < 9 * MIB:  # noqa: ASYNC110 - counted in another thread
        await asyncio.sleep(0.001)
    committing.cancel()
    await asyncio.gather(committing, return_exceptions=True)
    assert committing.cancelled()
    await store.delete(bucket, "k", version.store_version)
    assert await versions(store, bucket) == []
