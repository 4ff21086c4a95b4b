"""Every start finds out what the gateway can do: beside the work, once for all processes, and says what is missing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cephstorage.bootstrap.doctor import Finding, examine
from cephstorage.bootstrap.settings import Settings
from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph
from tests.harness.content import MIB
from tests.harness.patience import until
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # they bring their own engines

Launch = Callable[..., Service]
Limited = Callable[..., Ceph]


def launch_on(launch: Launch, node: Ceph, **settings: str) -> Service:
    return launch(
        store="ceph",
        ceph_gateway=node.gateway,
        ceph_access_key=node.access_key,
        ceph_secret_key=node.secret_key,
        log_format="json",
        **settings,
    )


@pytest.fixture
def limited(ceph_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Limited]:
    """Clusters whose gateway has other options."""
    nodes: list[Ceph] = []

    def make(**options: str) -> Ceph:
        nodes.append(Ceph(tmp_path_factory.mktemp("limited") / "node", rgw_options=options).start())
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy()


def lines(service: Service, event: str) -> list[str]:
    return [line for line in service.lines if f'"{event}"' in line]


def readiness(service: Service) -> tuple[int, str]:
    reply = service.call("GET", "/readyz")
    return reply.status, reply.json()["checks"]["store abilities"]


async def found(service: Service, **settings: Any) -> dict[str, Finding]:
    options = {name.removeprefix("ceph_"): text for name, text in service.settings.items() if name.startswith("ceph_")}
    chosen = Settings(data_dir=service.data_dir, store="ceph", ceph=options, transfer={"spool_quota": MIB}, **settings)
    return {finding.name: finding for finding in await examine(chosen)}


async def test_several_processes_try_once_and_the_next_start_remembers(launch: Launch, own_ceph: Ceph) -> None:
    service = launch_on(launch, own_ceph, workers="3")
    until(lambda: lines(service, "store_abilities"), lambda seen: len(seen) == 3)
    service.stop()
    service.start()
    seen = until(lambda: lines(service, "store_abilities"), lambda seen: len(seen) == 6)
    assert len({json.loads(tried)["tried_at"] for tried in seen}) == 1
    assert own_ceph.admin("bucket", "list") == []
    status, said = readiness(service)
    assert status == 200
    assert "versions, user metadata, Content-MD5 is verified, uploads in parts, presigned addresses" in said
    assert "store_ability_missing" not in service.log()
    at_work = (await found(service))["store abilities at work"]
    assert at_work.ok
    assert "tried by the service 0.0 h ago" in at_work.detail


async def test_what_is_missing_is_named_with_the_setting_until_it_is_there(launch: Launch, limited: Limited) -> None:
    node = limited(rgw_multipart_part_upload_limit="0")
    service = launch_on(launch, node)
    [line] = until(lambda: lines(service, "store_ability_missing"))
    assert '"level": "error"' in line
    assert "uploads in parts" in line
    assert "rgw_multipart_part_upload_limit" in line
    status, said = readiness(service)
    assert (status, "rgw_multipart_part_upload_limit" in said) == (503, True)
    examined = await found(service)
    for name in ("store abilities", "store abilities at work"):
        assert (examined[name].ok, "rgw_multipart_part_upload_limit" in examined[name].advice) == (False, True)
    assert node.admin("bucket", "list") == []


def test_a_gateway_that_refuses_our_names_is_named_at_the_start(launch: Launch, limited: Limited) -> None:
    service = launch_on(launch, limited(rgw_relaxed_s3_bucket_names="false"))
    [line] = until(lambda: lines(service, "store_abilities_untried"))
    assert '"level": "error"' in line
    assert "rgw_relaxed_s3_bucket_names" in line
    assert readiness(service)[0] == 503


def test_a_gateway_that_is_not_there_holds_up_nothing_and_is_tried_when_it_comes(
    launch: Launch, own_ceph: Ceph, tmp_path: Path
) -> None:
    own_ceph.kill("rgw")
    service = launch_on(launch, own_ceph)
    assert service.call("GET", "/healthz").status == 200
    until(lambda: lines(service, "store_abilities_untried"))
    assert readiness(service)[1] == "not tried yet"
    own_ceph.launch("rgw")
    until(lambda: lines(service, "store_abilities"))
    Bucket(service, "alice").put("k", b"stored")
    assert readiness(service)[0] == 200
