"""Who takes part: nginx (plain and with slices), Varnish, Squid, Traffic Server, and ours behind its edge and without.

Each mirrors every host of ``origins`` and is configured as its manual asks for a cache of large files:
one fetch for many clients, enough room, a fill that goes on without its client where the program can.
"""

import contextlib
import http.client
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.harness.leash import Leash
from tests.harness.patience import until
from tests.harness.ports import free_port
from tests.harness.programs import find
from tests.harness.service import Service
from tests.harness.stack import Stack

from bench.peers.nginx import nginx_conf
from bench.peers.origins import PLAIN

_STARTS = 30.0


@dataclass(slots=True)
class Contestant:
    """Somebody who mirrors the origins; the origins themselves are one, too.

    ``port`` tells where a host is asked for. ``settle`` waits until what a request began is over. ``pids`` are all of
    its processes.
    """

    name: str
    port: Callable[[str], int]
    pids: Callable[[], list[int]]
    settle: Callable[[str, str], None]
    service: Service | None = None


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(inner for child in children for inner in descendants(int(child)))]


@contextmanager
def program(name: str, folder: Path, command: list[str], port: int, **env: str) -> Iterator[Contestant]:
    """Run a peer in the foreground until the block ends; it is there when it answers."""
    leash = Leash()
    with (folder / "said.log").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env={**os.environ, **env}, start_new_session=True)
    leash.hold(process.pid)
    try:
        until(lambda: _answers(port) or _has_ended(process, folder), seconds=_STARTS)
        yield Contestant(name, lambda _host: port, lambda: descendants(process.pid), lambda _host, _target: None)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        leash.close()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        with contextlib.closing(connection):
            connection.request("GET", "/4k", headers={"Host": PLAIN})
            return connection.getresponse().status == 200
    return False


def _has_ended(process: subprocess.Popen[bytes], folder: Path) -> bool:
    assert process.poll() is None, f"{process.args} did not start:\n{(folder / 'said.log').read_text()[-2000:]}"
    return False


def _path(name: str) -> str:
    path = find(name)
    assert path is not None, f"{name} is missing: make bench-peers installs it"
    return path


@contextmanager
def nginx(folder: Path, ports: Mapping[str, int], *, sliced: bool = False) -> Iterator[Contestant]:
    """nginx's proxy_cache; ``sliced``: in slices of 1 MiB."""
    port = free_port()
    conf = folder / "nginx.conf"
    conf.write_text(nginx_conf(folder, port, ports, sliced=sliced))
    command = [_path("nginx"), "-c", str(conf), "-e", str(folder / "error.log")]
    with program("nginx slice" if sliced else "nginx", folder, command, port) as running:
        yield running


@contextmanager
def varnish(folder: Path, ports: Mapping[str, int]) -> Iterator[Contestant]:
    """Varnish with 3 GB of memory; it streams while it fetches, by default."""
    names = {host: host.replace(".", "_") for host in ports}
    backends = "".join(
        f'backend {names[host]} {{ .host = "127.0.0.1"; .port = "{port}"; }}\n' for host, port in ports.items()
    )
    choices = "".join(
        f'    if (req.http.host == "{host}") {{ set req.backend_hint = {name}; }}\n' for host, name in names.items()
    )
    vcl = f"vcl 4.1;\n{backends}sub vcl_recv {{\n{choices}}}\n"
    vcl += "sub vcl_backend_response { if (beresp.status == 200) { set beresp.ttl = 1d; } }\n"
    (folder / "mirror.vcl").write_text(vcl)
    port = free_port()
    work = folder / "work"
    command = [_path("varnishd"), "-F", "-j", "none", "-n", str(work), "-f", str(folder / "mirror.vcl")]
    command += ["-a", f"127.0.0.1:{port}", "-s", "malloc,3g", "-p", "listen_depth=4096", "-T", "none"]
    with program("Varnish", folder, command, port) as running:
        yield running


@contextmanager
def squid(folder: Path, ports: Mapping[str, int]) -> Iterator[Contestant]:
    """Squid as an accelerator, with a disk cache and collapsed forwarding."""
    port = free_port()
    peers = "".join(
        f"cache_peer 127.0.0.1 parent {origin} 0 no-query no-digest originserver name={host}\n"
        f"acl to_{host} dstdomain {host}\ncache_peer_access {host} allow to_{host}\ncache_peer_access {host} deny all\n"
        for host, origin in ports.items()
    )
    conf = f"""
http_port 127.0.0.1:{port} accel vhost
{peers}
acl GET method GET HEAD
http_access allow GET
http_access deny all
never_direct allow all
collapsed_forwarding on
maximum_object_size 2 GB
maximum_object_size_in_memory 64 MB
cache_mem 1 GB
cache_dir aufs {folder}/cache 8000 16 64
refresh_pattern . 1440 100% 1440
access_log none
cache_log {folder}/cache.log
cache_store_log none
pid_filename {folder}/squid.pid
coredump_dir {folder}
pinger_enable off
shutdown_lifetime 0 seconds
"""
    (folder / "squid.conf").write_text(conf)
    owner = pwd.getpwnam("proxy")
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    command = [_path("squid"), "-N", "-f", str(folder / "squid.conf")]
    subprocess.run([*command, "-z"], check=True, capture_output=True)
    with program("Squid", folder, command, port) as running:
        yield running


@contextmanager
def traffic_server(folder: Path, ports: Mapping[str, int]) -> Iterator[Contestant]:
    """Traffic Server with an 8 GB disk cache, reading while it writes, finishing without the client."""
    port = free_port()
    etc = folder / "etc"
    shutil.copytree("/etc/trafficserver", etc)
    for name in ("run", "cache", "log"):
        (folder / name).mkdir()
    settings = {
        "http.server_ports STRING": str(port),
        "http.cache.required_headers INT": "0",
        "cache.enable_read_while_writer INT": "1",
        "http.background_fill_active_timeout INT": "0",
        "http.background_fill_completed_threshold FLOAT": "0.000000",
        "cache.max_doc_size INT": "0",
        "cache.ram_cache.size INT": str(1 << 30),
        "cache.ram_cache_cutoff INT": str(1 << 26),
        "http.insert_response_via_str INT": "0",
        "log.logging_enabled INT": "0",
        "url_remap.remap_required INT": "1",
        "url_remap.pristine_host_hdr INT": "1",
        "diags.debug.enabled INT": "0",
        "admin.user_id STRING": "#-1",
    }
    (etc / "records.config").write_text("".join(f"CONFIG proxy.config.{k} {v}\n" for k, v in settings.items()))
    (etc / "storage.config").write_text(f"{folder}/cache 8G\n")
    remaps = "".join(f"map http://{host}/ http://127.0.0.1:{origin}/\n" for host, origin in ports.items())
    (etc / "remap.config").write_text(remaps)
    layout = {
        "prefix": str(folder),
        "exec_prefix": "/usr",
        "bindir": "/usr/bin",
        "sbindir": "/usr/sbin",
        "sysconfdir": str(etc),
        "datadir": "/usr/share/trafficserver",
        "libexecdir": "/usr/lib/trafficserver/modules",
        "libdir": "/usr/lib/trafficserver",
        "localstatedir": str(folder),
        "runtimedir": str(folder / "run"),
        "logdir": str(folder / "log"),
        "cachedir": str(folder / "cache"),
    }
    (folder / "runroot.yaml").write_text("".join(f"{name}: {place}\n" for name, place in layout.items()))
    command = [_path("traffic_server")]
    with program("ATS", folder, command, port, TS_RUNROOT=str(folder / "runroot.yaml")) as running:
        yield running


@contextmanager
def ours(folder: Path, ports: Mapping[str, int]) -> Iterator[tuple[Contestant, Contestant]]:
    """This service on disk and SQLite: behind its edge, and the same process without it."""
    allowed = ",".join(map(str, ports.values()))
    stack = Stack(folder / "data", origin_allowed_ports=allowed, log_level="error")
    stack.start()
    try:
        for host, port in ports.items():
            bucket = f"bench___{host.partition('.')[0]}"
            stack.json(
                "POST", "/mirrors/host", {"mirror": host, "origin": f"http://127.0.0.1:{port}", "bucket": bucket}
            )

        def landed(host: str, target: str) -> None:
            asked = f"/explain?url=http://{host}{quote(target, safe='/')}"
            until(lambda: stack.json("GET", asked)["decision"] == "StoreHit", seconds=120)

        def pids() -> list[int]:
            return [pid for member in stack.proxies for pid in descendants(member.pid)]

        def with_edge() -> list[int]:
            return [*pids(), *descendants(stack.edge.nginx_pid)]

        yield (
            Contestant("ours", lambda _host: stack.port, with_edge, landed, stack),
            Contestant("ours, no nginx", lambda _host: stack.proxies[0].port, pids, landed, stack),
        )
    finally:
        stack.stop()


def rest(seconds: float = 0.3) -> None:
    """Let what the last measurement left to the kernel be written, so that it does not count against the next."""
    os.sync()
    time.sleep(seconds)
