"""``cephstorage edge``: nginx is kept running and up to date, reloads lose no request, nothing stays behind."""

import contextlib
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.nginx.wire import MIRROR, Wire
from tests.harness.content import MIB, Content
from tests.harness.edge import Edge
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.programs import find, require
from tests.harness.service import Service
from tests.harness.stack import Stack

BODY = Content(11, 2 * MIB + 9)


def cli(edge: Edge, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """``cephstorage edge ...`` as the edge's operator types it."""
    env = edge.env | {f"CEPHSTORAGE_EDGE_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "cephstorage", "edge", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def load(wire: Wire, path: str) -> Iterator[list[object]]:
    """Ask again and again from four threads meanwhile; yields what was not the right answer."""
    wrong: list[object] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answer = wire.ask(path)
            except OSError as error:
                wrong.append(error)
                continue
            if answer.status != 200 or answer.body != BODY.read():
                wrong.append((answer.status, len(answer.body)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _homes(pair: Wire, paths: list[str], *proxies: FaultOrigin) -> dict[str, tuple[bool, ...]]:
    """Which of the proxies is asked for each path."""
    for proxy in proxies:
        proxy.reset_counters()
    for path in paths:
        assert pair.ask(path).body == BODY.read()
    return {path: tuple(proxy.count(path) > 0 for proxy in proxies) for path in paths}


@pytest.mark.parametrize("keep", [0, 600])
def test_a_reload_under_load_loses_no_request(own: Wire, keep: int) -> None:
    own.put("/load", BODY, keep=keep)
    with load(own, "/load") as wrong:
        for _ in range(3):
            own.edge.reload()
    assert wrong == []


@pytest.mark.parametrize("victim", ["master", "all"])
def test_a_killed_nginx_is_brought_back(own: Wire, victim: str) -> None:
    own.put("/x", BODY, keep=600)
    before = own.edge.nginx_pids
    if victim == "master":
        os.kill(own.edge.nginx_pid, signal.SIGKILL)
    else:
        own.edge.kill_nginx()
    until(lambda: "nginx_died" in own.edge.log())
    until(lambda: own.edge.nginx_pids - before and not own.edge.nginx_pids & before and own.edge.healthy())
    assert own.ask("/x").body == BODY.read()


def test_a_killed_worker_is_replaced_by_nginx_itself(own: Wire) -> None:
    own.put("/x", BODY, keep=600)
    workers = until(lambda: own.edge.nginx_pids - {own.edge.nginx_pid})
    os.kill(min(workers), signal.SIGKILL)
    until(lambda: own.edge.nginx_pids - workers - {own.edge.nginx_pid})
    assert own.ask("/x").body == BODY.read()


def test_a_killed_supervisor_leaves_nothing_behind_and_starts_again(own: Wire) -> None:
    own.put("/x", BODY, keep=600)
    own.edge.kill()
    own.edge.start()
    assert own.ask("/x").body == BODY.read()


def test_a_stop_lets_requests_finish(own: Wire) -> None:
    large = Content(12, 64 * MIB)
    own.put("/large", large, keep=0, rate=40 * MIB)
    pids = own.edge.nginx_pids
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(own.ask("/large").body))
    reader.start()
    until(lambda: own.proxy.body_bytes("/large") > MIB)
    assert own.edge._end(signal.SIGTERM) == 0
    reader.join()
    assert len(received[0]) == large.size
    assert received[0] == large.read()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_changed_gateway_in_the_database_reaches_nginx(tmp_path: Path) -> None:
    require("nginx")
    service = Stack(tmp_path / "data", public_address="").start()
    try:
        text = (service.edge.run_dir / "nginx.conf").read_text
        assert "files.example.org" not in text()
        service.json("PUT", "/config", {"public_address": "https://files.example.org"})
        until(lambda: "server_name files.example.org " in text())
        until(lambda: "edge_reloaded" in service.edge.log())
        assert service.call("GET", "/healthz", headers={"Host": "files.example.org"}).status == 200
    finally:
        service.stop()


def test_what_nginx_refuses_is_not_put_in_place(own: Wire) -> None:
    before = (own.edge.run_dir / "nginx.conf").read_text()
    refused = cli(own.edge, "reload", purge_module="/nowhere.so")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "nowhere.so" in refused.stderr
    assert cli(own.edge, "check", purge_module="/nowhere.so").returncode == 1
    assert (own.edge.run_dir / "nginx.conf").read_text() == before
    own.put("/x", BODY)
    assert own.ask("/x").body == BODY.read()


def test_a_full_disk_stops_no_edge(own: Wire) -> None:
    """The supervisor can write no byte; nginx, which runs, can."""
    assert own.edge._process is not None
    supervisor = own.edge._process.pid
    until(lambda: "edge_runs" in own.edge.log())
    before = own.edge.nginx_pids
    _, most = resource.prlimit(supervisor, resource.RLIMIT_FSIZE)
    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (0, most))
    os.kill(supervisor, signal.SIGHUP)
    until(lambda: "edge_files_unusable" in own.edge.log())
    own.put("/x", BODY)
    assert own.ask("/x").body == BODY.read()
    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (most, most))
    own.edge.reload()
    resource.prlimit(supervisor, resource.RLIMIT_FSIZE, (0, most))
    assert own.edge._end(signal.SIGTERM) == 0
    assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]


def test_one_folder_has_one_edge(own: Wire) -> None:
    before = own.edge.nginx_pid
    told = cli(own.edge, "run")
    assert (told.returncode, own.edge.nginx_pid, own.edge.healthy()) == (1, before, True)
    assert "edge_runs_already" in told.stderr


def test_a_reload_signals_nobody_who_is_no_edge(own: Wire) -> None:
    """The pid of an edge that was killed may be anybody's by now."""
    own.edge.kill()
    with subprocess.Popen(["sleep", "60"]) as stranger:
        for name in ("edge.pid", "nginx.pid"):
            (own.edge.run_dir / name).write_text(str(stranger.pid))
        told = cli(own.edge, "reload")
        ended = stranger.poll()
        stranger.kill()
    assert (told.returncode, ended) == (1, None)
    assert "No edge runs here" in told.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root chooses whose workers are")
def test_workers_may_be_another_users(tmp_path: Path) -> None:
    with FaultOrigin() as proxy:
        edge = Edge(Service(tmp_path / "data"), [f"127.0.0.1:{proxy.port}"], edge_user="nobody")
        refused = cli(edge, "check")
        assert (refused.returncode, f"nobody may not enter {edge.folder}" in refused.stderr) == (1, True)
        edge.folder.chmod(0o711)
        edge.start()
        try:
            wire = Wire(edge, proxy)
            wire.put("/x", BODY, keep=600)
            for _ in range(2):
                assert wire.ask("/x").body == BODY.read()
            assert wire.ask("/x").headers["cache-status"].endswith("hit")
            owners = {Path(f"/proc/{pid}").owner() for pid in edge.nginx_pids}
            assert owners == {"root", "nobody"}
        finally:
            edge.stop()


def test_a_setting_that_makes_no_sense_is_one_clear_line(own: Wire) -> None:
    for name, value in (("proxies", "nonsense"), ("listen", "127.0.0.1:1;"), ("listen_tls", "443")):
        told = cli(own.edge, "check", **{name: value})
        assert told.returncode in {1, 2}
        assert len(told.stderr.strip().splitlines()) == 1
        assert "Traceback" not in told.stderr


def test_render_check_and_reload(own: Wire, tmp_path: Path) -> None:
    file = tmp_path / "nginx.conf"
    assert cli(own.edge, "render", "--output", str(file)).returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == (own.edge.run_dir / "nginx.conf").read_text()
    assert stat.S_IMODE((own.edge.run_dir / "nginx.conf").stat().st_mode) == 0o600
    assert cli(own.edge, "render").stdout == file.read_text()
    assert cli(own.edge, "check").returncode == 0
    before = own.edge.nginx_pids
    assert cli(own.edge, "reload").returncode == 0
    until(lambda: own.edge.nginx_pids - before)


def test_files_for_a_system_service(own: Wire, tmp_path: Path) -> None:
    folder = tmp_path / "system"
    made = cli(own.edge, "render", "--system", str(folder))
    assert made.stdout.split() == [str(folder / "nginx.conf"), str(folder / "cephstorage-edge.service")]
    assert f"unix:{folder}/inner.sock" in (folder / "nginx.conf").read_text()
    assert stat.S_IMODE((folder / "nginx.conf").stat().st_mode) == 0o600
    verify = find("systemd-analyze")
    if verify is not None:
        unit = str(folder / "cephstorage-edge.service")
        told = subprocess.run([verify, "verify", unit], capture_output=True, text=True, check=False)
        assert (told.returncode, told.stderr) == (0, "")


def test_no_edge_to_reload_is_said(tmp_path: Path) -> None:
    edge = Edge(Service(tmp_path / "data"), ["127.0.0.1:1"])
    try:
        told = cli(edge, "reload")
        assert told.returncode != 0
        assert re.search("No edge runs here", told.stderr)
    finally:
        edge.stop()


def test_two_proxies_of_which_one_is_gone(launch_edged: Callable[..., Stack], tmp_path: Path) -> None:
    """A proxy that was killed costs no client an error: what is its own goes to the other one."""
    with FaultOrigin() as first, FaultOrigin() as second:
        edge = Edge(Service(tmp_path / "two"), [f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"]).start()
        try:
            pair = Wire(edge, first)
            paths = [f"/spread/{number}" for number in range(40)]
            for proxy in (first, second):
                for path in paths:
                    proxy.put(path, BODY)
            homes = _homes(pair, paths, first, second)
            assert set(homes.values()) == {(True, False), (False, True)}
            second.stop_listening(cut=True)
            for path in paths:
                assert pair.ask(path).body == BODY.read()
            second.listen_again()
            first.stop_listening(cut=True)
            for path in paths:
                for host in (MIRROR, "localhost"):
                    assert pair.ask(path, host).status == 200
            first.listen_again()
            until(lambda: _homes(pair, paths, first, second) == homes)
        finally:
            edge.stop()
