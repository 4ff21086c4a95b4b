"""nginx.conf as golden files, each of which nginx itself takes.

A golden file is rewritten by hand: ``python -m tests.unit.edge.test_render``, and read before it is committed.
"""

import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from cephstorage.domain.errors import InvalidSetting
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import OriginFacts
from cephstorage.domain.transfers import Kind, Lease, Plan, TransferRequest
from cephstorage.domain.validators import Validators
from cephstorage.edge.config import Certificate, EdgeConfig, Gateway, Limits
from cephstorage.edge.nginx import Folders
from cephstorage.edge.render import render
from cephstorage.edge.space import ENOUGH, LEAST, keeps
from cephstorage.store.ceph.naming import headers_of
from cephstorage.transfer.description import planned_object
from tests.harness.programs import find, require
from tests.harness.tls import make_certificate

GOLDEN = Path(__file__).parent / "golden"
BASE = Path("/srv/edge")
SECRET = "0123456789abcdef" * 4
DISK = EdgeConfig(
    secret=SECRET,
    proxies=("127.0.0.1:8080",),
    run_dir=BASE / "run",
    cache_dir=BASE / "cache",
    purge_listen="127.0.0.1:8089",
    health_listen="127.0.0.1:8090",
    objects_dir=BASE / "objects",
)
CEPH = replace(
    DISK,
    proxies=("127.0.0.1:8081", "127.0.0.1:8082", "unix:/srv/edge/proxy.sock"),
    objects_dir=None,
    gateways=(Gateway("http", "127.0.0.1", 7480),),
    api_hosts=("Files.Example.org",),
)
FULL = replace(
    CEPH,
    gateways=(Gateway("https", "127.0.0.1", 7443), Gateway("https", "127.0.0.2", 7443)),
    listen=("127.0.0.1:80", "[::1]:80"),
    listen_tls=("127.0.0.1:443",),
    certificates=tuple(Certificate(BASE / "tls", name) for name in ("_.example.org", "default", "files.example.org")),
    trusted_proxies=("10.0.0.0/8", "fd00::/8"),
    user="cephstorage",
    workers="4",
    limits=Limits(header_timeout=5, connections_per_client=64),
    s3_listen=("127.0.0.1:7481",),
    s3_listen_tls=("127.0.0.1:7444",),
)
BARE = EdgeConfig(secret=SECRET, proxies=("127.0.0.1:8080",), run_dir=BASE / "run", cache_dir=BASE / "cache")
SETTINGS = {"disk": DISK, "ceph": CEPH, "full": FULL, "bare": BARE}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_configuration_is_the_golden_one(name: str) -> None:
    assert render(SETTINGS[name]) == (GOLDEN / f"{name}.conf").read_text()


def test_nothing_that_we_write_on_objects_is_shown_to_clients() -> None:
    """What the store's user metadata says of us and of origins is nobody's business."""
    lease, request = (
        Lease("id", "owner", 1),
        TransferRequest(Kind.FILL, BucketName("a", "b"), "k", "http://o.example/k"),
    )
    public = Validators('"e"', "Thu, 01 Jan 1970 00:00:05 GMT")
    plan = Plan(
        1, "0" * 32, "text/plain", 5.0, public, f"{lease.transfer_id}.1", "http://o.example/k", OriginFacts("/k")
    )
    written = headers_of(planned_object(request, plan, 7)).keys()
    assert "x-amz-meta-attempt" in written
    hidden = {line.split()[1].rstrip(";").lower() for line in render(CEPH).splitlines() if "proxy_hide_header" in line}
    assert {name for name in written if name.startswith("x-amz-meta-")} <= hidden


@pytest.mark.parametrize("name", SETTINGS)
def test_nginx_takes_it(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    require("nginx")
    base = tmp_path_factory.mktemp("e")
    made = make_certificate(base)
    (base / "tls").mkdir()
    text = (GOLDEN / f"{name}.conf").read_text().replace(str(BASE), str(base)).replace("user cephstorage;", "")
    text = text.replace("/etc/ssl/certs/ca-certificates.crt", str(made.cert))
    Folders(base / "run", base / "cache").make()
    (base / "nginx.conf").write_text(text)
    nginx = find("nginx")
    assert nginx is not None
    told = subprocess.run([nginx, "-t", "-q", "-c", base / "nginx.conf"], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize(
    "change",
    [
        {"proxies": ()},
        {"proxies": ("127.0.0.1:8080; } http {",)},
        {"proxies": ("127.0.0.1",)},
        {"proxies": ("unix:/a b",)},
        {"listen": (), "listen_tls": ()},
        {"listen": ("0.0.0.0:80; include /etc/passwd",)},
        {"listen_tls": ("443",)},
        {"api_hosts": ("a b",)},
        {"api_hosts": ("$host",)},
        {"api_hosts": ("~^.*$",)},
        {"cache_size": "10 g"},
        {"purge_listen": "x"},
        {"trusted_proxies": ("10.0.0.0/8; }",)},
        {"secret": "short"},
        {"secret": 'x" 1; default "'},
        {"run_dir": Path("/srv/$host")},
        {"run_dir": Path("/srv/" + "x" * 100)},
        {"cache_dir": Path('/srv/"')},
        {"certificates": (Certificate(BASE, "a b"),)},
        {"gateways": (Gateway("http", "a", 1), Gateway("https", "b", 1))},
    ],
    ids=str,
)
def test_what_could_break_out_of_its_place_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidSetting):
        render(replace(DISK, **change))  # type: ignore[arg-type]


def test_the_secret_is_in_no_repr_and_in_no_complaint() -> None:
    assert SECRET not in repr(DISK)
    with pytest.raises(InvalidSetting) as caught:
        render(replace(DISK, secret=f"{SECRET};"))
    assert SECRET not in caught.value.msg


@pytest.mark.parametrize("url", ["ftp://a:1", "http://", "http://a:1/path", "http://a:1;", "a:1"])
def test_a_gateway_is_an_address(url: str) -> None:
    with pytest.raises(InvalidSetting):
        Gateway.parse(url)


def test_a_gateway_has_its_usual_port() -> None:
    assert Gateway.parse("https://rgw.example.org") == Gateway("https", "rgw.example.org", 443)
    assert Gateway.parse("http://[::1]:7480") == Gateway("http", "[::1]", 7480)


def test_on_a_full_disk_nothing_is_kept_and_all_else_stays() -> None:
    usual, full = (Counter(render(replace(FULL, keeps=keeps)).splitlines()) for keeps in (True, False))
    assert {line.strip() for line in usual - full} == {
        '"GET||||" "";',
        '"~^GET\\|\\|\\|\\|(bytes=[0-9]{1,18}-[0-9]{0,18})?$" "";',
        '"~^GET\\|\\|\\|[^|]+\\|$" "";',
        "default http;",
        "default edge_store;",
        "default $edge_store_target;",
    }
    assert {line.strip() for line in full - usual} == {"default https;", "default ceph_gateway;", 'default "";'}


def test_a_disk_that_is_nearly_full_changes_nothing_back_and_forth() -> None:
    frees = [ENOUGH, LEAST, LEAST - 1, LEAST, ENOUGH - 1, ENOUGH, LEAST]
    kept, seen = True, []
    for free in frees:
        kept = keeps(free, kept=kept)
        seen.append(kept)
    assert seen == [True, True, False, False, False, True, True]


def test_every_line_between_the_braces_is_a_directive_or_a_comment() -> None:
    for config in SETTINGS.values():
        for line in render(config).splitlines():
            words = line.strip()
            assert words == "" or words.startswith("#") or words.endswith((";", "{", "}")), line
            assert len(line) < 700


if __name__ == "__main__":
    for _name, _config in SETTINGS.items():
        (GOLDEN / f"{_name}.conf").write_text(render(_config))
