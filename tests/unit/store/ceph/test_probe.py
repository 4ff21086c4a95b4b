"""What a gateway can do, tried at the real one, and at one that lies."""

from collections.abc import Callable

import pytest

from cephstorage.domain.errors import StoreFull, StoreMisconfigured, StoreUnavailable
from cephstorage.store.ceph import CephConfig, CephStore
from cephstorage.store.ceph.gateway import Gateway
from cephstorage.store.ceph.probe import Probe
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
