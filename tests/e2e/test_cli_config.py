"""``cephstorage config``: settings from the command line, secrets never in it."""

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cephstorage_client import ApiError, Client
from tests.e2e.test_cli import COMMAND, Cli, Result, run
from tests.harness.bucket import Bucket
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # they change what other stacks fix by the environment

SECRET = "rgw-secret-0123456789"


@pytest.fixture
def cli(service: Service) -> Cli:
    def call(*arguments: str, stdin: bytes = b"", **settings: str) -> Result:
        return run({**service.env, **settings}, "config", *arguments, stdin=stdin)

    return call


def test_settings_are_set_shown_and_taken_back(cli: Cli, service: Service) -> None:
    done = cli("set", "public_address=https://files.example.org", "ceph_region=eu")
    assert (done.code, done.out) == (0, b"")
    assert "public_address  https://files.example.org" in done.err
    assert cli("get", "public_address").text == "https://files.example.org\n"
    rows = {row["name"]: row for row in cli("ls", "--json").lines}
    assert (rows["ceph_region"]["value"], rows["ceph_region"]["source"]) == ("eu", "database")
    assert "ceph_region" in cli("ls").text
    assert cli("unset", "public_address", "ceph_region").code == 0
    assert cli("get", "public_address").text == "-\n"
    assert Bucket(service, "alice").put("k", b"x")["url"].startswith(service.url)


def test_a_secret_comes_from_standard_input(cli: Cli, service: Service) -> None:
    done = cli("set", "ceph_secret_key", "ceph_access_key=AK", "--json", stdin=f"{SECRET}\n".encode())
    assert done.code == 0
    assert done.json["settings"]["ceph_secret_key"]["set"]
    shown = [cli("get", "ceph_secret_key"), cli("ls"), cli("get", "ceph_secret_key", "--json"), done]
    assert shown[0].text == "(set)\n"
    assert not any(SECRET in result.text + result.err for result in shown)
    assert service.json("GET", "/config")["settings"]["ceph_access_key"]["value"] == "AK"


def test_a_secret_is_asked_for_at_the_terminal_and_not_echoed(service: Service) -> None:
    leader, follower = pty.openpty()
    command = [*COMMAND, "config", "set", "ceph_secret_key"]
    process = subprocess.Popen(
        command, env=service.env, stdin=follower, stdout=follower, stderr=follower, start_new_session=True
    )
    os.close(follower)
    seen = b""
    while b"ceph_secret_key: " not in seen:
        seen += os.read(leader, 1000)
    os.write(leader, f"{SECRET}\n".encode())
    assert process.wait(60) == 0
    seen += os.read(leader, 1000)
    os.close(leader)
    assert SECRET.encode() not in seen
    assert service.json("GET", "/config")["settings"]["ceph_secret_key"]["set"]


def test_a_secret_in_the_command_is_refused(cli: Cli, service: Service) -> None:
    done = cli("set", f"ceph_secret_key={SECRET}")
    assert done.code == 2
    assert SECRET not in done.err
    assert not service.json("GET", "/config")["settings"]["ceph_secret_key"]["set"]


def test_mistakes_have_their_exit_codes(cli: Cli) -> None:
    for arguments, code, said in (
        (("set", "nothing=1"), 2, "nothing"),
        (("set", "ceph_gateway=x"), 2, "ceph_gateway"),
        (("set", "ceph_region"), 2, "ceph_region"),
        (("set", "download_path=/proc/none"), 6, "download_path"),
        (("unset", "nothing"), 2, "nothing"),
        (("get", "nothing"), 3, "ceph_gateway"),
        (("forget-sealed",), 2, "--yes"),
    ):
        done = cli(*arguments)
        assert (done.code, said in done.err) == (code, True), (arguments, done)
        assert done.err.startswith("cephstorage: ")


def test_what_the_environment_fixes_is_a_conflict(launch: Callable[..., Service]) -> None:
    service = launch(ceph_region="fixed")
    done = run(service.env, "config", "set", "ceph_region=else")
    assert (done.code, "CEPHSTORAGE_CEPH_REGION" in done.err) == (6, True)
    assert "CEPHSTORAGE_CEPH_REGION" in run(service.env, "config", "ls").text


def test_lost_keys_are_given_up_without_the_service(cli: Cli, service: Service) -> None:
    assert cli("set", "ceph_secret_key", stdin=SECRET.encode()).code == 0
    service.stop()
    nothing = cli("forget-sealed", "--yes", "--json")
    assert (nothing.code, nothing.json) == (0, {"forgotten": []})
    (service.data_dir / "secret-key").unlink()
    lost = cli("forget-sealed", "--yes")
    assert lost.text.split() == ["ceph_secret_key", "edge_secret", "signing_key"]
    service.start()
    assert not service.json("GET", "/config")["settings"]["ceph_secret_key"]["set"]


def test_the_client_changes_settings(service: Service, tmp_path: Path) -> None:
    with Client(service.url, service.admin_token) as client:
        state = client.change_config({"download_path": str(tmp_path / "spool"), "ceph_region": "eu"})
        assert state["settings"]["download_path"]["value"] == str(tmp_path / "spool")
        assert client.change_config({"ceph_region": None}, probe=False)["ceph"]["region"] == "default"
        with pytest.raises(ApiError) as refused:
            client.change_config({"ceph_gateway": "x"})
    assert (refused.value.status, refused.value.code) == (400, "invalid_setting")
