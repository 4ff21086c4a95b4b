"""The configuration over HTTP: changed without a restart, in every process, sealed where it is secret, refused whole."""

import json
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pysqlite3.dbapi2 as sqlite
import pytest

from cephstorage.domain.configuration import OPTIONS
from tests.harness.behaviour import Gate
from tests.harness.bucket import Bucket, spooled
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Reply, Service

pytestmark = pytest.mark.stacks(
    "direct"
)  # they change what other stacks fix by the environment, and look into the data folder

Launch = Callable[..., Service]
SECRET = "rgw-secret-0123456789"
KEY, NEW_KEY = "k" * 32, "n" * 32
JSON = {"Content-Type": "application/json"}


def change(service: Service, query: str = "", **wishes: Any) -> Reply:
    return service.call("PUT", f"/config{query}", json.dumps(wishes).encode(), JSON)


def options(service: Service) -> dict[str, Any]:
    return dict(service.json("GET", "/config")["settings"])


def kept(data_dir: Path) -> dict[str, str]:
    """What lies in the database's table of settings."""
    database = sqlite.connect(str(data_dir / "cephstorage.db"))
    rows = database.execute("SELECT name, value FROM CephStorageConfiguration_settings").fetchall()
    database.close()
    return dict(rows)


def test_every_option_is_shown_with_its_source(launch: Launch) -> None:
    service = launch(ceph_region="here", public_address="https://files.example.org")
    assert change(service, ceph_gateway="http://127.0.0.1:7480/").status == 200
    shown = options(service)
    assert shown.keys() == OPTIONS.keys()
    assert {name: (shown[name]["value"], shown[name]["source"], shown[name]["fixed"]) for name in shown} == {
        **{name: (option.default or None, "default", False) for name, option in OPTIONS.items()},
        "ceph_region": ("here", "environment", True),
        "public_address": ("https://files.example.org", "environment", True),
        "ceph_gateway": ("http://127.0.0.1:7480", "database", False),
    }
    state = service.json("GET", "/config")
    assert (state["port"], state["public_address"]) == (service.port, "https://files.example.org")
    assert (state["ceph"]["gateway"], state["ceph"]["region"]) == ("http://127.0.0.1:7480", "here")


def test_put_answers_the_new_state_and_null_takes_back(shared: Service) -> None:
    answer = change(shared, public_address="https://files.example.org/x/")
    assert answer.status == 200
    assert answer.json()["settings"] == options(shared)
    assert answer.json()["public_address"] == "https://files.example.org/x"
    assert change(shared, public_address=None).json()["settings"]["public_address"]["source"] == "default"
    assert change(shared).status == 200


@pytest.mark.parametrize(
    ("wishes", "status", "code", "said"),
    [
        ({"ceph_port": "1"}, 400, "invalid_request", "ceph_port"),
        ({"ceph_gateway": 7}, 400, "invalid_request", "ceph_gateway"),
        ({"ceph_gateway": ["http://rgw"]}, 400, "invalid_request", "ceph_gateway"),
        ({"ceph_gateway": "rgw"}, 400, "invalid_setting", "ceph_gateway"),
        ({"ceph_gateway": ""}, 400, "invalid_setting", "ceph_gateway"),
        ({"ceph_gateway": "http://\x00"}, 400, "invalid_setting", "ceph_gateway"),
        ({"public_address": "http://user:hush@files"}, 400, "invalid_setting", "public_address"),
        ({"publish_by": "rgw"}, 400, "invalid_setting", "publish_by"),
        ({"download_path": "relative"}, 400, "invalid_setting", "download_path"),
        ({"download_path": "/proc/none/spool"}, 409, "setting_untenable", "download_path"),
        ({"ceph_ca_file": "/nowhere/ca.pem"}, 409, "setting_untenable", "ceph_ca_file"),
        ({"ceph_ca_file": "/proc/self/status"}, 409, "setting_untenable", "ceph_ca_file"),
    ],
)
def test_bad_values_are_refused_by_name(
    wishes: dict[str, Any], status: int, code: str, said: str, shared: Service
) -> None:
    before = options(shared)
    reply = change(shared, **{"ceph_access_key": "never-stored", **wishes})
    assert (reply.status, reply.json()["code"]) == (status, code)
    assert reply.json()["msg"].startswith(said)
    assert "hush" not in reply.json()["msg"] or code != "invalid_request"
    assert options(shared) == before


def test_what_the_environment_fixes_is_refused(launch: Launch) -> None:
    service = launch(ceph_access_key="from-env")
    for value in ("else", None):
        reply = change(service, ceph_access_key=value)
        assert (reply.status, reply.json()["code"]) == (409, "setting_fixed")
        assert "CEPHSTORAGE_CEPH_ACCESS_KEY" in reply.json()["msg"]
    assert options(service)["ceph_access_key"]["value"] == "from-env"


def test_a_mirrors_host_is_no_public_address(shared: Service) -> None:
    order = {"mirror": "taken.example", "origin": "http://127.0.0.1", "bucket": "alice___taken"}
    shared.json("POST", "/mirrors/host", order)
    reply = change(shared, public_address="https://taken.example")
    assert (reply.status, reply.json()["code"]) == (409, "setting_untenable")
    assert change(shared, public_address="https://own.example").status == 200
    mine = shared.call("POST", "/mirrors/host", json.dumps({**order, "mirror": "own.example"}).encode(), JSON)
    assert (mine.status, mine.json()["code"]) == (400, "invalid_mirror")
    assert change(shared, public_address=None).status == 200


def test_changes_reach_another_process(launch: Launch) -> None:
    here, there = launch(), launch()
    bucket = Bucket(here, "alice")
    bucket.put("k", b"x")
    assert change(here, public_address="https://files.example.org").status == 200
    assert bucket.record("k")["url"].startswith("https://files.example.org/objects/")
    elsewhere = Bucket(there, "alice")
    until(lambda: elsewhere.record("k")["url"].startswith("https://files.example.org/objects/"))
    assert options(there) == options(here)


def test_changes_outlive_a_kill(service: Service) -> None:
    assert change(service, ceph_secret_key=SECRET, ceph_region="eu").status == 200
    before = options(service)
    service.kill()
    service.start()
    assert options(service) == before
    assert before["ceph_secret_key"]["set"]


# -- secrets


def test_secrets_are_never_shown_and_sealed_at_rest(launch: Launch) -> None:
    service = launch(log_level="debug", database_url="")
    answers = [change(service, ceph_secret_key=SECRET), change(service, ceph_secret_key=f"{SECRET} spaced")]
    answers += [service.call("GET", path) for path in ("/config", "/readyz", "/metrics", "/openapi.json")]
    assert [answer.status for answer in answers] == [200, 400, 200, 200, 200, 200]
    assert not any(SECRET.encode() in answer.body for answer in answers)
    assert answers[2].json()["settings"]["ceph_secret_key"] == {
        "value": None, "set": True, "source": "database", "fixed": False, "secret": True,
        "variable": "CEPHSTORAGE_CEPH_SECRET_KEY", "meaning": OPTIONS["ceph_secret_key"].meaning,
    }  # fmt: skip
    service.stop()
    assert SECRET not in service.log()
    assert not [path for path in service.data_dir.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert kept(service.data_dir).keys() == {"ceph_secret_key", "edge_secret", "signing_key"}
    assert all(value.startswith("sealed:1:") for value in kept(service.data_dir).values())
    key_file = service.data_dir / "secret-key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert len(key_file.read_text().strip()) == 64


def test_a_plain_signing_key_of_an_earlier_version_is_sealed_and_goes_on(launch: Launch) -> None:
    bucket = Bucket(launch(), "alice")
    bucket.put("k", b"x")
    bucket.service.stop()
    database = sqlite.connect(str(bucket.service.data_dir / "cephstorage.db"))
    with database:
        database.execute("UPDATE CephStorageConfiguration_settings SET value = 'plain' WHERE name = 'signing_key'")
    database.close()
    bucket.service.start()
    url = bucket.record("k")["url"]
    assert kept(bucket.service.data_dir)["signing_key"].startswith("sealed:1:")
    bucket.service.stop()
    bucket.service.start()
    assert bucket.service.call("GET", url.removeprefix(bucket.service.url), token=None).body == b"x"


def test_the_wrong_key_is_said_at_start_and_the_right_one_works_again(launch: Launch) -> None:
    service = launch(secret_key=KEY)
    assert change(service, ceph_secret_key=SECRET).status == 200
    assert not (service.data_dir / "secret-key").exists()
    service.stop()
    service.settings["secret_key"] = NEW_KEY
    with pytest.raises((AssertionError, OSError), match=r"did not start|refused"):
        service.start()
    assert service.wait() == 1
    assert "secret_key_wrong" in service.log()
    assert "CEPHSTORAGE_SECRET_KEY" in service.log()
    assert "Traceback" not in service.log()
    assert KEY not in service.log()
    service.settings["secret_key"] = KEY
    service.start()
    assert options(service)["ceph_secret_key"]["set"]


def test_the_key_is_replaced_in_three_steps_without_losing_anything(launch: Launch) -> None:
    bucket = Bucket(launch(), "alice")
    bucket.put("k", b"x")
    assert change(bucket.service, ceph_secret_key=SECRET).status == 200
    url = bucket.record("k")["url"].removeprefix(bucket.service.url)
    for keys in (KEY, f"{KEY},{NEW_KEY}", f"{NEW_KEY},{KEY}", NEW_KEY):
        bucket.service.stop()
        bucket.service.settings["secret_key"] = keys
        bucket.service.start()
        assert options(bucket.service)["ceph_secret_key"]["set"]
        assert bucket.service.call("GET", url, token=None).body == b"x"
        if keys == KEY:
            (bucket.service.data_dir / "secret-key").unlink()


# -- the spool's folder


def test_new_transfers_spool_in_the_new_folder_and_old_ones_end_where_they_are(
    launch: Launch, origin: FaultOrigin, tmp_path: Path
) -> None:
    bucket, gate, body = Bucket(launch(), "alice"), Gate(), Content(1, 4 * MIB)
    for name in ("/old", "/new"):
        origin.put(name, body, gate=gate, gate_after=2 * MIB)
    old = bucket.create("old", f"{origin.url}/old")
    until(lambda: spooled(bucket.service.data_dir))
    folder = tmp_path / "elsewhere" / "spool"
    assert change(bucket.service, download_path=str(folder)).status == 200
    new = bucket.create("new", f"{origin.url}/new")
    until(lambda: folder.is_dir() and list(folder.glob("*.part")))
    assert spooled(bucket.service.data_dir)
    gate.set()
    bucket.success(old)
    bucket.success(new)
    until(lambda: not list(folder.iterdir()) and not spooled(bucket.service.data_dir))
    assert bucket.read("old") == bucket.read("new") == body.read()


def test_spools_in_a_former_folder_are_resumed_and_swept_after_a_kill(
    launch: Launch, origin: FaultOrigin, tmp_path: Path
) -> None:
    bucket, gate, body = Bucket(launch(transfer_lease="2"), "alice"), Gate(), Content(2, 8 * MIB)
    origin.put("/a", body, gate=gate, gate_after=4 * MIB)
    first, second = tmp_path / "first", tmp_path / "second"
    assert change(bucket.service, download_path=str(first)).status == 200
    token = bucket.create("a", f"{origin.url}/a")
    until(lambda: bucket.progress(token)["bytes_done"] >= 4 * MIB)
    assert change(bucket.service, download_path=str(second)).status == 200
    bucket.service.kill()
    (first / "orphan.part").write_bytes(b"left")
    gate.set()
    bucket.service.start()
    bucket.success(token)
    assert bucket.read("a") == body.read()
    assert origin.body_bytes("/a") < 2 * len(body.read())
    until(lambda: not list(first.iterdir()))


def test_readers_of_a_fill_see_nothing_of_a_change_of_folders(
    launch: Launch, origin: FaultOrigin, tmp_path: Path
) -> None:
    service, gate, body = launch(), Gate(), Content(3, 4 * MIB)
    origin.put("/a", body, gate=gate, gate_after=2 * MIB)
    order = {"mirror": "files.example", "origin": origin.url, "bucket": "alice___files"}
    service.json("POST", "/mirrors/host", order)
    answers: list[Reply] = []
    reader = threading.Thread(
        target=lambda: answers.append(service.call("GET", "/a", None, {"Host": "files.example"}, token=None))
    )
    reader.start()
    gate.reached.wait(60)
    assert change(service, download_path=str(tmp_path / "spool")).status == 200
    gate.set()
    reader.join(60)
    assert [(answer.status, answer.body) for answer in answers] == [(200, body.read())]


# -- without a store


def test_ceph_can_be_configured_after_the_start(launch: Launch) -> None:
    service = launch(store="ceph")
    ready = service.call("GET", "/readyz")
    assert ready.status == 503
    assert "ceph_gateway, ceph_access_key, ceph_secret_key" in ready.json()["checks"]["store"]
    reply = service.call("PUT", "/ceph/alice/photos")
    assert (reply.status, reply.json()["code"]) == (503, "store_unavailable")
    assert change(service, ceph_access_key="a").status == 200
    assert "set ceph_gateway, ceph_secret_key" in service.call("GET", "/readyz").json()["checks"]["store"]
