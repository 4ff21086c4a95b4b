"""What the edge keeps, for how long, and how it is made to forget: the proxy's word alone counts."""

import re
import subprocess
from pathlib import Path

import pytest

from cephstorage.domain import edge
from tests.e2e.nginx.wire import MIRROR, Wire
from tests.harness.content import MIB, Content
from tests.harness.edge import Edge
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.service import Service

BODY = Content(9, 3 * MIB + 5)


def secret(wire: Wire) -> str:
    """The secret that the edge's configuration holds."""
    found = re.search(r'X-Cephstorage-Edge "([0-9a-f]+)"', (wire.edge.run_dir / "nginx.conf").read_text())
    assert found is not None
    return found[1]


def count(wire: Wire, path: str) -> int:
    return wire.proxy.count(path)


@pytest.mark.parametrize(
    ("headers", "times"),
    [
        ([], 2),
        ([(edge.ACCEL_EXPIRES, "0")], 2),
        ([(edge.ACCEL_EXPIRES, "60")], 1),
        ([("Cache-Control", "max-age=60")], 2),
        ([("Expires", "Thu, 01 Jan 2099 00:00:00 GMT")], 2),
        ([(edge.ACCEL_EXPIRES, "60"), ("Cache-Control", "no-store")], 1),
        ([(edge.ACCEL_EXPIRES, "60"), ("Vary", "Accept")], 1),
        ([(edge.ACCEL_EXPIRES, "60"), ("Set-Cookie", "a=b")], 2),
    ],
    ids=str,
)
def test_the_proxy_says_how_long(wire: Wire, headers: list[tuple[str, str]], times: int) -> None:
    path = f"/lifetime-{abs(hash(str(headers)))}"
    wire.put(path, b"content", headers=headers)
    for accept in ("a/a", "b/b"):
        assert wire.ask(path, headers=[("Accept", accept)]).body == b"content"
    assert count(wire, path) == times


@pytest.mark.parametrize("status", [201, 301, 302, 400, 403, 404, 410, 416, 500, 502, 503])
def test_only_content_is_kept_whatever_lifetime_an_answer_has(wire: Wire, status: int) -> None:
    path = f"/status-{status}"
    wire.put(path, b"sorry", keep=60, status=status)
    for _ in range(2):
        assert wire.ask(path).status == status
    assert count(wire, path) == 2


def test_a_target_without_a_path_is_not_kept_where_no_purge_would_find_it(wire: Wire) -> None:
    wire.put("/?without-path", b"content", keep=60)
    for _ in range(2):
        assert wire.ask(f"http://{MIRROR}?without-path").body == b"content"
    assert count(wire, "/?without-path") == 2


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
def test_only_get_is_kept(wire: Wire, method: str) -> None:
    path = f"/method-{method.lower()}"
    wire.put(path, b"content", keep=60)
    for _ in range(2):
        wire.ask(path, method=method)
    assert count(wire, path) == 2


def test_hosts_and_spellings_are_apart(wire: Wire) -> None:
    wire.put("/apart", b"content", keep=60)
    wire.put("/%61part", b"content", keep=60)
    for host, path in ((MIRROR, "/apart"), ("other.test", "/apart"), (MIRROR, "/%61part"), (MIRROR, "/apart?x")):
        wire.proxy.reset_counters()
        wire.ask(path, host)
        assert len(wire.proxy.logged()) == 1
        wire.ask(path, host.upper() + ":80")
        assert len(wire.proxy.logged()) == 1


@pytest.mark.parametrize("keys", ["/plain", "/a%2Fb//c?x=1&y=%20", "/caf%C3%A9/" + "y" * 3000])
def test_a_purge_drops_every_slice_of_one_target(wire: Wire, keys: str) -> None:
    for path in (keys, keys + "0"):
        wire.put(path, BODY, keep=600)
        for _ in range(2):
            assert wire.ask(path).body == BODY.read()
        assert count(wire, path) == 4
    assert wire.edge.purge(secret(wire), MIRROR, keys, BODY.size) == [200] * 4
    changed = Content(10, BODY.size)
    for path in (keys, keys + "0"):
        wire.put(path, changed, keep=600)
    assert wire.ask(keys).body == changed.read()
    assert wire.ask(keys + "0").body == BODY.read()


def test_a_purge_of_what_is_not_there_is_well(wire: Wire) -> None:
    assert set(wire.edge.purge(secret(wire), MIRROR, "/never", 3 * MIB)) == {412}
    assert {200, 412} == edge.PURGED


def test_a_purge_reaches_a_slice_that_was_read_alone(wire: Wire) -> None:
    wire.put("/alone", BODY, keep=600)
    wire.ask("/alone", headers=[("Range", f"bytes={2 * MIB}-{2 * MIB + 1}")])
    assert wire.edge.purge(secret(wire), MIRROR, "/alone", BODY.size) == [412, 412, 200, 412]


@pytest.mark.parametrize("shown", ["", "0" * 64, "upper"])
def test_a_purge_without_the_secret_is_refused(wire: Wire, shown: str) -> None:
    wire.put("/guarded", b"content", keep=600)
    wire.ask("/guarded")
    given = secret(wire).upper() if shown == "upper" else shown
    assert wire.edge.purge(given, MIRROR, "/guarded", 7) == [403]
    wire.proxy.reset_counters()
    assert wire.ask("/guarded").body == b"content"
    assert wire.proxy.logged() == []


def test_purges_are_not_for_the_public(wire: Wire) -> None:
    wire.put("/public", b"content", keep=600)
    wire.ask("/public")
    words = edge.purge_headers(secret(wire), MIRROR, "/public", "bytes=0-1048575")
    wire.proxy.reset_counters()
    for method in ("GET", "PURGE"):
        wire.ask("/purge", headers=words, method=method)
        wire.ask("/public", method="PURGE", headers=words)
    assert edge.PURGE_TARGET not in wire.last().headers
    wire.proxy.reset_counters()
    wire.ask("/public")
    assert wire.proxy.logged() == []


def test_the_cache_survives_a_restart_of_nginx(wire: Wire) -> None:
    wire.put("/survives", BODY, keep=600)
    wire.ask("/survives")
    restart(wire.edge)
    wire.proxy.reset_counters()
    assert wire.ask("/survives").body == BODY.read()
    assert wire.proxy.logged() == []


def restart(edge_: Edge) -> None:
    """Kill all of nginx; return when the supervisor has brought it back."""
    before = edge_.nginx_pids
    edge_.kill_nginx()
    until(lambda: edge_.nginx_pids - before and edge_.healthy())


def test_a_full_disk_cuts_no_answer(tmp_path: Path) -> None:
    """nginx cuts an answer that it can't write to its cache, so the edge keeps none where there is no room."""
    (cache := tmp_path / "cache").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", cache], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"needs a small file system: {mounted.stderr.decode().strip()}")
    with FaultOrigin() as proxy:
        edge_ = Edge(Service(tmp_path / "data"), [f"127.0.0.1:{proxy.port}"], edge_cache_dir=str(cache)).start()
        try:
            wire = Wire(edge_, proxy)
            for number in range(4):
                wire.put(f"/{number}", BODY, keep=600)
                for _ in range(2):
                    assert wire.ask(f"/{number}").body == BODY.read()
            part = wire.ask("/3", headers=[("Range", "bytes=2000000-2100000")])
            assert (part.status, part.body) == (206, BODY.read(2000000, 2100001))
            assert "edge_keeps_nothing" in edge_.log()
        finally:
            edge_.stop()
            subprocess.run(["umount", cache], check=True)
