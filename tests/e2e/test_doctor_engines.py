"""What ``doctor`` finds on Ceph, PostgreSQL and the secret key: each fault is named with the setting to change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cephstorage.bootstrap.doctor import Finding, examine
from cephstorage.bootstrap.edge import folders
from cephstorage.bootstrap.settings import Settings
from cephstorage.edge.nginx import write_config
from cephstorage.index import index_at
from tests.e2e.test_real_engines import access, change
from tests.harness.bucket import Bucket
from tests.harness.ceph import Ceph
from tests.harness.content import MIB
from tests.harness.postgres import Postgres
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # they examine machines of their own

Launch = Callable[..., Service]
KEY, OTHER_KEY = "k" * 32, "o" * 32


def machine(folder: Path, **settings: Any) -> Settings:
    folder.mkdir(mode=0o700, exist_ok=True)
    return Settings(data_dir=folder, transfer={"spool_quota": MIB}, **settings)


async def wrong(settings: Settings) -> dict[str, Finding]:
    return {finding.name: finding for finding in await examine(settings) if not finding.ok}


def ceph_options(node: Ceph, **other: str) -> dict[str, str]:
    return {"gateway": node.gateway, "access_key": node.access_key, "secret_key": node.secret_key, **other}


async def test_real_engines_are_well_and_show_no_secret(ceph: Ceph, postgres: Postgres, tmp_path: Path) -> None:
    settings = machine(tmp_path / "data", store="ceph", ceph=ceph_options(ceph), database_url=postgres.fresh())
    before = set(ceph.admin("bucket", "list"))
    found = {finding.name: finding for finding in await examine(settings)}
    assert [name for name, finding in found.items() if not finding.ok] == []
    assert ceph.gateway in found["store"].detail
    assert {
        "store clock",
        "store bucket names",
        "store abilities",
        "database clock",
        "secret key",
        "options",
        "edge",
    } <= found.keys()
    assert "SQLite" not in found
    after = set(ceph.admin("bucket", "list"))
    assert after <= before, "its own scratch bucket stays"
    assert {name for name in before - after if "cephstorage___probe." not in name} == set(), "a bucket is gone"
    shown = repr(found)
    assert ceph.secret_key not in shown
    assert postgres.password not in shown


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"access_key": "NOBODY"}, "ceph_access_key"),
        ({"secret_key": "wrong"}, "ceph_secret_key"),
        ({"gateway": "http://127.0.0.1:1"}, "ceph_gateway"),
    ],
)
async def test_a_store_that_refuses_us(broken: dict[str, str], said: str, ceph: Ceph, tmp_path: Path) -> None:
    settings = machine(tmp_path / "data", store="ceph", ceph=ceph_options(ceph, **broken))
    finding = (await wrong(settings))["store"]
    assert said in finding.detail + finding.advice


async def test_a_store_that_is_not_configured(tmp_path: Path) -> None:
    finding = (await wrong(machine(tmp_path / "data", store="ceph")))["store"]
    assert finding.advice == "cephstorage config set ceph_gateway ceph_access_key ceph_secret_key"


async def test_a_gateway_that_refuses_our_bucket_names(
    ceph_programs: None, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    strict = {"rgw_relaxed_s3_bucket_names": "false"}
    with Ceph(tmp_path_factory.mktemp("strict") / "node", rgw_options=strict).start() as node:
        found = await wrong(machine(tmp_path / "data", store="ceph", ceph=ceph_options(node)))
    assert found.keys() == {"store bucket names"}
    assert "rgw_relaxed_s3_bucket_names" in found["store bucket names"].detail


async def test_a_database_that_does_not_answer(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url("nothing", password="guessed-password")
    found = await wrong(machine(tmp_path / "data", database_url=url))
    assert "CEPHSTORAGE_DATABASE_URL" in found["database"].advice
    assert "guessed-password" not in repr(found)


async def test_options_of_the_database_are_looked_at(launch: Launch, ceph: Ceph, tmp_path: Path) -> None:
    service = launch(store="ceph", secret_key=KEY)
    assert change(service, **access(ceph), download_path=str(tmp_path / "spool")).status == 200
    service.stop()
    (tmp_path / "spool").rmdir()
    settings = machine(service.data_dir, store="ceph", secret_key=KEY)
    found = {finding.name: finding for finding in await examine(settings)}
    assert [name for name, finding in found.items() if not finding.ok] == []
    assert found["options"].detail == "0 from the environment, 4 from the database"
    assert found["spool"].detail == str(tmp_path / "spool")
    contradicted = machine(service.data_dir, store="ceph", secret_key=KEY, publish={"by": "rgw"})
    assert "ceph_public_address" in (await wrong(contradicted))["options"].detail


async def test_a_secret_key_that_does_not_open_or_that_others_may_read(launch: Launch) -> None:
    service = launch()
    assert change(service, ceph_secret_key="hush-hush").status == 200
    service.stop()
    file = service.data_dir / "secret-key"
    assert await wrong(machine(service.data_dir)) == {}
    file.chmod(0o644)
    assert (await wrong(machine(service.data_dir)))["secret key"].advice == f"chmod 600 {file}"
    file.unlink()
    for other in ({}, {"secret_key": OTHER_KEY}):
        found = await wrong(machine(service.data_dir, **other))
        assert found.keys() == {"secret key", "options"}
        assert "CEPHSTORAGE_SECRET_KEY" in found["secret key"].advice
    assert not file.exists()


async def test_an_edge_whose_configuration_nginx_refuses(tmp_path: Path) -> None:
    settings = machine(tmp_path / "data")
    write_config(folders(settings), "nonsense;")
    finding = (await wrong(settings))["edge"]
    assert "nonsense" in finding.detail


async def test_a_service_that_is_not_ready_says_why(launch: Launch) -> None:
    service = launch(store="ceph")
    findings = await examine(machine(service.data_dir, store="ceph"), address=service.url)
    finding = next(finding for finding in findings if finding.name == "service")
    assert not finding.ok
    assert "ceph_gateway" in finding.detail


def test_a_quota_that_is_used_up_is_said_by_readiness(launch: Launch, own_ceph: Ceph) -> None:
    service = launch(store="ceph", transfer_attempts="1")
    assert change(service, **access(own_ceph)).status == 200
    bucket = Bucket(service, "alice")
    own_ceph.limit(own_ceph.user, size=4096)
    reply = bucket.upload("big", bytes(MIB))
    assert reply.status in {503, 507}
    ready = service.call("GET", "/readyz")
    assert ready.status == 503
    assert "quota" in ready.json()["checks"]["store"]
    own_ceph.limit(own_ceph.user, size=None)
    bucket.put("big", bytes(MIB))
    assert service.call("GET", "/readyz").status == 200


async def test_a_database_without_an_index_of_names_is_well_and_told_how_to_get_one(
    postgres: Postgres, tmp_path: Path
) -> None:
    settings = machine(tmp_path / "data", database_url=postgres.fresh())
    index = index_at(settings.database_url.get_secret_value(), Path())
    await index.open()
    await index.close()
    with_index = {finding.name: finding for finding in await examine(settings)}["search"]
    assert (with_index.ok, with_index.advice) == (True, "")
    with psycopg.connect(settings.database_url.get_secret_value(), autocommit=True) as connection:
        connection.execute("DROP EXTENSION pg_trgm CASCADE")
    without = {finding.name: finding for finding in await examine(settings)}["search"]
    assert without.ok
    assert "cephstorage db upgrade" in without.advice


async def test_the_gateways_own_quotas_need_a_capability_and_stand_a_margin_above_ours(
    launch: Launch, own_ceph: Ceph
) -> None:
    service = launch(store="ceph", ceph_quota_margin="10")
    assert change(service, **access(own_ceph)).status == 200
    Bucket(service, "alice")
    settings = machine(service.data_dir, store="ceph", ceph={"quota_margin": 10})

    def set_quota(place: str, **limits: int | None) -> str:
        return str(service.json("PUT", f"/quotas/{place}", limits)["backstop"])

    assert "caps add --uid=cephstorage --caps=buckets=write" in set_quota("alice/photos", size=2**30)
    assert "caps add" in (await wrong(settings))["store quotas"].detail
    own_ceph.admin("caps", "add", "--uid=cephstorage", "--caps=buckets=write")
    assert "store quotas" not in await wrong(settings)
    assert set_quota("alice/photos", size=2**30) == "set"
    assert set_quota("alice", size=2**40, keyamount=10_000) == "set"
    quota = own_ceph.admin("bucket", "stats", "--bucket=alice___photos")["bucket_quota"]
    assert (quota["enabled"], quota["max_size"], quota["max_objects"]) == (
        True,
        -(-(2**30 + 2**30 // 10) // 1024) * 1024,
        11_000,
    )
    Bucket(service, "alice", "drafts")
    made = own_ceph.admin("bucket", "stats", "--bucket=alice___drafts")["bucket_quota"]
    assert (made["enabled"], made["max_objects"]) == (True, 11_000)
    assert set_quota("alice", keyamount=10_000) == "set"
    assert own_ceph.admin("bucket", "stats", "--bucket=alice___drafts")["bucket_quota"]["max_size"] < 0
    Bucket(service, "alice", "drafts").put("k", b"within the keys")
    assert set_quota("alice") == set_quota("alice/photos") == "set"
    assert not own_ceph.admin("bucket", "stats", "--bucket=alice___photos")["bucket_quota"]["enabled"]
