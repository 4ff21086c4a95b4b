"""Hits through the edge beside nginx alone: the same file, the same presigned address, the same cache, without Python.

    edge:  client -> nginx -> (proxy decides) -> nginx -> store          peer:  client -> nginx -> store

A cold hit asks for one stored object under a query that the mirror ignores, another one each time: nginx
keeps none of them, so every request is decided by the proxy and its bytes come from the store. "Cold and kept" is
the object under its own name, which the edge keeps meanwhile.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.edge.conftest import edge_secret
from tests.harness.ceph import Ceph
from tests.harness.patience import until
from tests.harness.ports import free_port
from tests.harness.stack import Stack

from bench import client
from cephstorage.domain.edge import ACCEL_REDIRECT, DISK_LOCATION, EDGE, STORE_HOST, STORE_TARGET

MIRROR = "mirror.bench"
MIB = 1 << 20
TARGET = "/file"
_TICKS = os.sysconf("SC_CLK_TCK")
_DISTINCT = """
local number = 0
request = function()
  number = number + 1
  return wrk.format("GET", "TARGET?" .. number)
end
"""
_PEER = """
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
daemon off;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    proxy_cache_path {folder}/cache keys_zone=plain:10m max_size=4g;
    upstream store {{ server {upstream}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        location = /stored {{ {stored} }}
        location = /kept {{
            proxy_cache plain;
            proxy_cache_key kept;
            proxy_cache_valid 200 1h;
            proxy_pass http://127.0.0.1:{port}/stored;
        }}
    }}
}}
"""
_PROXIED = """set $t "{target}"; proxy_pass http://store$t; proxy_set_header Host {host};
            proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass_request_headers off;
            proxy_hide_header Cache-Control; proxy_max_temp_file_size 0;"""


@dataclass(frozen=True, slots=True)
class Paired:
    """One measurement of ours and of the peer, and what it cost them.

    ``python``: CPU seconds of the proxy per GB (10^9 bytes). ``cpu``: ours per peer, CPU time for the same work of
    nginx and proxy together, which the load of a shared machine does not change.
    """

    ours: float
    peer: float
    python: float
    cpu: float

    @property
    def ratio(self) -> float:
        """Ours per peer."""
        return self.ours / self.peer


class Pair:
    """An edge that has one object in the store, and nginx alone that reads the same version of it."""

    def __init__(self, stack: Stack, peer_port: int, peer_pid: int) -> None:
        self.stack = stack
        self.peer_port = peer_port
        self._peer_pid = peer_pid

    def cold_stream(self, number: int) -> float:
        """MiB/s of one client, decided by the proxy."""
        return client.read(self.stack.port, f"{TARGET}?stream{number}", MIRROR).rate

    def kept_stream(self, _: int) -> float:
        """MiB/s of one client, decided by the proxy, and kept by the edge from then on."""
        return client.read(self.stack.port, TARGET, MIRROR).rate

    def forget(self) -> None:
        """Have the edge keep nothing."""
        size = client.read(self.stack.port, TARGET, MIRROR).size
        self.stack.edge.purge(edge_secret(self.stack.proxies[0]), MIRROR, TARGET, size)

    def warm_stream(self) -> float:
        """MiB/s of one client, from the edge's cache."""
        return client.read(self.stack.port, TARGET, MIRROR).rate

    def peer_stream(self, *, kept: bool = False) -> float:
        """MiB/s of nginx alone, from the store or from its cache."""
        return client.read(self.peer_port, "/kept" if kept else "/stored").rate

    def seconds(self) -> "Seconds":
        """CPU time used so far."""
        return Seconds(_used([self.stack.pid]), _used(_nginx(self.stack.edge.nginx_pid)), _used(_nginx(self._peer_pid)))


@dataclass(frozen=True, slots=True)
class Seconds:
    """CPU time of the proxy, the edge's nginx, and the peer's."""

    python: float
    edge: float
    peer: float


def _nginx(master: int) -> list[int]:
    """A master and its workers."""
    return [master, *map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split())]


def _used(pids: list[int]) -> float:
    times = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(fields[11]) + int(fields[12]) for fields in times) / _TICKS


@contextmanager
def ceph_node(folder: Path) -> Iterator[dict[str, str]]:
    """A one-node Ceph; the settings that lead to it."""
    with Ceph(folder / "ceph").start() as node:
        yield {
            "store": "ceph",
            "ceph_gateway": node.gateway,
            "ceph_access_key": node.access_key,
            "ceph_secret_key": node.secret_key,
        }


@contextmanager
def pair(folder: Path, origin_port: int, settings: dict[str, str]) -> Iterator[Pair]:
    """Bring the origin's object into the store, and both sides up."""
    stack = Stack(folder / "data", origin_allowed_ports=str(origin_port), log_level="error", **settings)
    stack.start()
    try:
        origin = f"http://127.0.0.1:{origin_port}"
        order = {"mirror": MIRROR, "origin": origin, "bucket": "bench___mirror", "query": "ignore"}
        stack.json("POST", "/mirrors/host", order)
        client.read(stack.port, TARGET, MIRROR)
        until(lambda: stack.json("GET", f"/explain?url=http://{MIRROR}{TARGET}")["decision"] == "StoreHit")
        client.read(stack.port, TARGET, MIRROR)
        with _peer(folder / "peer", stack) as (port, pid):
            client.read(port, "/kept")
            yield Pair(stack, port, pid)
    finally:
        stack.stop()


@contextmanager
def _peer(folder: Path, stack: Stack) -> Iterator[tuple[int, int]]:
    """nginx alone, on the place that the proxy names to the edge; its port and pid."""
    folder.mkdir(parents=True)
    port, (upstream, stored) = free_port(), _place(stack)
    conf = folder / "nginx.conf"
    conf.write_text(_PEER.format(folder=folder, port=port, upstream=upstream, stored=stored))
    folder.chmod(0o755)
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert nginx is not None, "nginx is missing"
    command = [nginx, "-c", str(conf), "-e", str(folder / "error.log"), "-g", "user root;"]
    # A session of its own, as the edge's nginx has: the kernel shares a busy processor out between sessions.
    process = subprocess.Popen(command, start_new_session=True)
    try:
        until((folder / "nginx.pid").exists)
        until(lambda: _answers(port))
        yield port, process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _answers(port: int) -> bool:
    try:
        return client.read(port, "/stored").size > 0
    except OSError:
        return False


def _place(stack: Stack) -> tuple[str, str]:
    """The upstream, and what the peer's location does to send the stored version."""
    proxy = stack.proxies[0]
    said = proxy.call("GET", TARGET, None, {"Host": MIRROR, EDGE: edge_secret(proxy)}, token=None).headers
    if said[ACCEL_REDIRECT].startswith(DISK_LOCATION):
        path = stack.data_dir / "objects" / said[ACCEL_REDIRECT].removeprefix(DISK_LOCATION)
        return "127.0.0.1:1", f"alias {path}; default_type application/octet-stream;"
    gateway = stack.settings["ceph_gateway"].removeprefix("http://")
    return gateway, _PROXIED.format(target=said[STORE_TARGET], host=said[STORE_HOST])


def _streams(
    both: Pair,
    size: int,
    rounds: int,
    ours: Callable[[int], float],
    peer: Callable[[], float],
    prepare: Callable[[], None] = lambda: None,
) -> Paired:
    """Medians of interleaved rounds, MiB/s; what is done to prepare one is not counted."""
    pairs, used = [], Seconds(0, 0, 0)
    for number in range(rounds):
        prepare()
        before = both.seconds()
        pairs.append((ours(number), peer()))
        used = _sum(used, _difference(both.seconds(), before))
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    cpu = (used.python + used.edge) / max(used.peer, 1 / _TICKS)
    return Paired(mine, theirs, used.python / (rounds * size / 1e9), cpu)


def _difference(after: Seconds, before: Seconds) -> Seconds:
    return Seconds(after.python - before.python, after.edge - before.edge, after.peer - before.peer)


def _sum(one: Seconds, other: Seconds) -> Seconds:
    return Seconds(one.python + other.python, one.edge + other.edge, one.peer + other.peer)


def cold_stream(both: Pair, size: int, rounds: int) -> Paired:
    """MiB/s of one large object, edge cache cold."""
    return _streams(both, size, rounds, both.cold_stream, both.peer_stream)


def kept_stream(both: Pair, size: int, rounds: int) -> Paired:
    """MiB/s of one large object, edge cache cold, which the edge keeps."""
    return _streams(both, size, rounds, both.kept_stream, both.peer_stream, both.forget)


def warm_stream(both: Pair, size: int, rounds: int) -> Paired:
    """MiB/s of one large object, kept by the edge, beside nginx's plain proxy_cache."""
    return _streams(both, size, rounds, lambda _: both.warm_stream(), lambda: both.peer_stream(kept=True))


def _requests(both: Pair, size: int, seconds: int, target: str, script: Path | None) -> Paired:
    """Requests/s of 32 clients, ours first."""
    before = both.seconds()
    ours, _ = client.wrk(both.stack.port, TARGET, MIRROR, seconds, script=script)
    peer, _ = client.wrk(both.peer_port, target, "peer", seconds)
    used = _difference(both.seconds(), before)
    cpu = (used.python + used.edge) / ours / (max(used.peer, 1 / _TICKS) / peer)
    return Paired(ours, peer, used.python / (ours * seconds * size / 1e9), cpu)


def cold_requests(both: Pair, size: int, seconds: int, folder: Path) -> Paired:
    """Requests/s of 32 clients, each decided by the proxy."""
    script = folder / "distinct.lua"
    script.write_text(_DISTINCT.replace("TARGET", TARGET))
    return _requests(both, size, seconds, "/stored", script)


def warm_requests(both: Pair, size: int, seconds: int) -> Paired:
    """Requests/s of 32 clients from the edge's cache, beside nginx's plain proxy_cache."""
    return _requests(both, size, seconds, "/kept", None)


def measure(folder: Path, rounds: int, seconds: int, *, on_ceph: bool) -> Iterator[tuple[str, str, Paired]]:
    """Every measurement on one store: what, unit, figures."""
    from bench.__main__ import origin

    store = "Ceph" if on_ceph else "disk"
    with ceph_node(folder) if on_ceph else nullcontext({}) as settings:
        for size, name in ((4096, "4 KiB"), (MIB, "1 MiB"), (256 * MIB, "256 MiB")):
            inner = folder / name.replace(" ", "")
            with origin(size) as port, pair(inner, port, settings) as both:
                if size > MIB:
                    yield f"{store}, {name}, cold edge", "MiB/s", cold_stream(both, size, rounds)
                    yield f"{store}, {name}, cold and kept", "MiB/s", kept_stream(both, size, rounds)
                    yield f"{store}, {name}, warm edge", "MiB/s", warm_stream(both, size, rounds)
                else:
                    yield f"{store}, {name}, cold edge", "requests/s", cold_requests(both, size, seconds, inner)
                    yield f"{store}, {name}, warm edge", "requests/s", warm_requests(both, size, seconds)


def main() -> None:
    """Measure and print: ours, the peer, the ratio, Python's CPU seconds per GB, and our CPU time per the peer's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", choices=["disk", "ceph"])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        for store in ("disk", "ceph"):
            if chosen.only in {None, store}:
                found = measure(Path(base) / store, chosen.rounds, chosen.seconds, on_ceph=store == "ceph")
                for what, unit, figures in found:
                    numbers = f"{figures.ours:>10.0f} {figures.peer:>10.0f} {figures.ratio:>6.2f} {figures.python:>8.3f} {figures.cpu:>6.1f}"
                    print(f"{what:<28} {unit:<11} {numbers}", flush=True)


if __name__ == "__main__":
    main()
