"""What a gateway can do, tried at the real one, and at one that lies."""

from collections.abc import Callable

import pytest

from cephstorage.domain.errors import StoreFull, StoreMisconfigured, StoreUnavailable
from cephstorage.domain.sigv4 import path_of
from cephstorage.store.ceph import CephConfig, CephStore
from cephstorage.store.ceph.failures import of_refusal
from cephstorage.store.ceph.gateway import Gateway
from cephstorage.store.ceph.probe import _KEY, Probe
from cephstorage.store.ceph.s3 import S3
from tests.harness.ceph import Ceph
from tests.harness.fault_proxy import Fault, FaultProxy, s3_error
from tests.unit.store.ceph.conftest import config

Make = Callable[[CephConfig], CephStore]


async def test_this_release_can_do_what_is_needed_and_nothing_is_left(store: CephStore, ceph: Ceph) -> None:
    before = sorted(ceph.admin("bucket", "list"))
    found = await store.abilities()
    assert [ability.name for ability in found if ability.needed and not ability.able] == []
    assert sum(ability.needed for ability in found) == 5
    assert sorted(ceph.admin("bucket", "list")) == before


async def test_over_https(make: Make, ceph: Ceph) -> None:
    assert ceph.certificate is not None
    secure = make(config(ceph, gateway=ceph.secure_gateway, ca_file=ceph.certificate.cert))
    assert all(ability.able for ability in await secure.abilities() if ability.needed)


class _Deaf(Gateway):
    """As if something between us and RGW dropped a request header."""

    dropped = ""

    async def ask(self, method, path, query=(), headers=None, body=b"", **more):  # type: ignore[no-untyped-def, override]
        kept = {name: value for name, value in (headers or {}).items() if name != self.dropped}
        return await super().ask(method, path, query, kept, body, **more)


@pytest.mark.parametrize(
    ("dropped", "lacking"),
    [
        ("content-md5", "Content-MD5 is verified"),
        ("x-amz-meta-word", "user metadata"),
    ],
)
async def test_what_does_not_work_is_found(ceph: Ceph, dropped: str, lacking: str) -> None:
    gateway = _Deaf(config(ceph))
    gateway.dropped = dropped
    try:
        found = await Probe(gateway).run()
    finally:
        await gateway.close()
    assert [ability.name for ability in found if ability.needed and not ability.able] == [lacking]


async def test_a_gateway_that_refuses_everything_says_why(make: Make, ceph: Ceph, proxy: FaultProxy) -> None:
    through = make(config(ceph, gateway=proxy.address))
    for answer, error in (
        (s3_error(403, "InvalidAccessKeyId"), StoreMisconfigured),
        (s3_error(403, "QuotaExceeded"), StoreFull),
        (s3_error(503, "SlowDown"), StoreUnavailable),
    ):
        proxy.fault(Fault(answer=answer))
        with pytest.raises(error):
            await through.abilities()


class _Refusing(Gateway):
    """As a gateway of another make, which answers one kind of question with an error."""

    def __init__(self, settings: CephConfig, word: str, status: int, code: str) -> None:
        super().__init__(settings)
        self._word, self._status, self._code = word, status, code

    async def ask(self, method, path, query=(), headers=None, body=b"", **more):  # type: ignore[no-untyped-def, override]
        if any(name == self._word for name, _ in query):
            raise of_refusal(self._status, self._code, f"{method} {path}", "there")
        return await super().ask(method, path, query, headers, body, **more)


@pytest.mark.parametrize(
    ("word", "lacking"), [("versioning", "versions"), ("uploads", "uploads in parts"), ("allow-unordered", None)]
)
async def test_what_is_refused_is_lacking(ceph: Ceph, word: str, lacking: str | None) -> None:
    gateway = _Refusing(config(ceph), word, 501, "NotImplemented")
    probe = Probe(gateway)
    probe._remove = _nothing  # type: ignore[method-assign] - it lists uploads, too
    try:
        found = await probe.run()
    finally:
        await gateway.close()
        gateway = Gateway(config(ceph))
        await Probe(gateway, -1e9).run()
        await gateway.close()
    assert [ability.name for ability in found if ability.needed and not ability.able] == ([lacking] if lacking else [])
    assert all(ability.without for ability in found)
    assert not [name for name in ceph.admin("bucket", "list") if name.startswith("cephstorage___probe")]


async def _nothing(bucket: str) -> None:
    return


async def test_a_moment_of_trouble_is_no_lack(ceph: Ceph) -> None:
    gateway = _Refusing(config(ceph), "partNumber", 503, "SlowDown")
    try:
        with pytest.raises(StoreUnavailable):
            await Probe(gateway).run()
    finally:
        await gateway.close()


async def test_what_a_dead_prober_left_is_removed_by_the_next_and_nothing_else(make: Make, ceph: Ceph) -> None:
    gateway = Gateway(config(ceph))
    s3 = S3(gateway)
    left, young, other, alien = (
        f"cephstorage___probe{end}" for end in (".0123abcd", ".89abcdef", "-0123abcd", ".aaaabbbb")
    )
    try:
        for bucket, key in ((left, _KEY), (young, _KEY), (other, _KEY), (alien, "somebody's")):
            await s3.create_bucket(bucket)
            await gateway.ask("PUT", path_of(bucket, key), body=b"left")
        await s3.begin_upload(left, _KEY, {})
        await Probe(gateway).run()
        assert {left, young, other, alien} <= set(ceph.admin("bucket", "list"))
        await Probe(gateway, leftover_age=-1e9).run()
        assert {left, young, other, alien} & set(ceph.admin("bucket", "list")) == {other, alien}
        assert [version.key async for version in s3.versions(alien)] == ["somebody's"]
        for bucket in (other, alien):
            async for version in s3.versions(bucket):
                await s3.delete_version(bucket, version.key, version.version_id)
            await s3.delete_bucket(bucket)
    finally:
        await gateway.close()
