"""Settings from the environment: sections, options that are fixed by it, secrets that do not show."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from cephstorage.bootstrap.adapters import instance_name, make_adapters, via_name
from cephstorage.bootstrap.edge import edge_config
from cephstorage.bootstrap.main import work
from cephstorage.bootstrap.sections import CephSettings, OriginSettings
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.configuration import OPTIONS
from cephstorage.domain.errors import InvalidSetting
from cephstorage.edge.render import render

SECRET = "rgw-secret-0123456789"


def test_options_are_read_from_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {name: option.example for name, option in OPTIONS.items()}
    for name, text in given.items():
        monkeypatch.setenv(OPTIONS[name].variable, text)
    assert Settings().given_options() == given


def test_nothing_is_fixed_by_an_empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEPHSTORAGE_CEPH_GATEWAY", "")
    monkeypatch.setenv("CEPHSTORAGE_DOWNLOAD_PATH", "")
    monkeypatch.setenv("CEPHSTORAGE_PUBLISH_BY", "")
    settings = Settings()
    assert settings.given_options() == {}
    assert (settings.ceph, settings.publish.by, settings.spool_dir) == (
        CephSettings(),
        "edge",
        settings.data_dir / "spool",
    )


def test_values_are_checked_as_in_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEPHSTORAGE_CEPH_GATEWAY", "rgw:7480")
    with pytest.raises(ValidationError, match="write http://HOST"):
        Settings()


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEPHSTORAGE_CEPH_SECRET_KEY", SECRET)
    monkeypatch.setenv("CEPHSTORAGE_SECRET_KEY", SECRET * 2)
    monkeypatch.setenv("CEPHSTORAGE_DATABASE_URL", f"postgresql://u:{SECRET}@h/n")
    settings = Settings()
    assert settings.ceph.secret_key.get_secret_value() == SECRET
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert SECRET not in shown


@pytest.mark.parametrize(
    ("host", "advertise", "expected"),
    [
        ("127.0.0.1", "", ""),
        ("0.0.0.0", "", ""),
        ("::", "", ""),
        ("::1", "", ""),
        ("localhost", "", ""),
        ("10.0.0.7", "", "10.0.0.7:81"),
        ("fd00::7", "", "[fd00::7]:81"),
        ("node-7", "", "node-7:81"),
        ("127.0.0.1", "127.0.0.1:0", "127.0.0.1:81"),
        ("0.0.0.0", "node-7.example:8080", "node-7.example:8080"),
        ("10.0.0.7", "[fd00::7]:8080", "[fd00::7]:8080"),
    ],
)
def test_what_is_advertised_is_what_other_machines_reach(host: str, advertise: str, expected: str) -> None:
    assert Settings(host=host, advertise=advertise).advertised(81) == expected


@pytest.mark.parametrize("wrong", ["node-7", ":8080", "node-7:http", "node-7:65536", "name@node-7:80"])
def test_an_address_to_advertise_is_host_and_port(wrong: str) -> None:
    with pytest.raises(ValidationError, match="HOST:PORT"):
        Settings(advertise=wrong)


def test_the_edges_to_be_told_are_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CEPHSTORAGE_EDGE_PURGE", "http://127.0.0.1:8089, http://[::1]:8089/")
    assert Settings().edge.purge == ("http://127.0.0.1:8089", "http://[::1]:8089")
    monkeypatch.setenv("CEPHSTORAGE_EDGE_PURGE", "http://[::1:8089")
    with pytest.raises(ValidationError, match="write http://HOST"):
        Settings()


def test_machines_of_one_installation_have_one_name_for_loops_and_folders_have_their_own(tmp_path: Path) -> None:
    key, other = "k" * 32, "o" * 32
    first, second = (Settings(data_dir=tmp_path / name, secret_key=key) for name in ("first", "second"))
    assert via_name(first) == via_name(second)
    assert key[:8] not in via_name(first)
    assert via_name(Settings(data_dir=tmp_path / "first", secret_key=other)) != via_name(first)
    assert instance_name(first) == instance_name(first) != instance_name(second)
    assert via_name(Settings(data_dir=tmp_path / "first")) == instance_name(first)


@pytest.mark.parametrize(
    ("address", "name"),
    [("https://Files.example.org/", "files.example.org"), ("http://[2001:DB8::1]:8080", "[2001:db8::1]")],
)
def test_the_host_of_the_public_address_is_a_name_of_the_edges(address: str, name: str, tmp_path: Path) -> None:
    config = edge_config(Settings(data_dir=tmp_path), "s" * 32, {"public_address": address})
    assert f"server_name {name} localhost" in render(config)


def test_a_worker_that_can_not_start_does_not_blame_its_address() -> None:
    with pytest.raises(OSError, match="/proc/nowhere"):
        work(Settings(data_dir=Path("/proc/nowhere"), worker_listen="127.0.0.1:0"))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_can_not_be_read_are_named(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    settings = Settings(data_dir=tmp_path, origin=OriginSettings(ca_file=file))
    with pytest.raises(InvalidSetting, match=f"origin_ca_file: {file} "):
        make_adapters(settings, 1, "via")
