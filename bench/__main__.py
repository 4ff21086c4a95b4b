"""Runs every measurement and prints one table. Each line is the median of interleaved rounds."""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.harness.service import Service

from bench import client, listing

MIRROR = "mirror.bench"
MIB = 1 << 20


@contextmanager
def origin(size: int) -> Iterator[int]:
    """An origin in a process of its own, with one file of ``size`` bytes under every ``/file?...``; its port."""
    command = [sys.executable, "-m", "tests.harness.origin", "--port", "0", "--file-size", str(size)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def service(folder: Path, port: int) -> Iterator[Service]:
    """A service that mirrors the origin at ``port``."""
    running = Service(folder, origin_allowed_ports=str(port), log_level="error").start()
    try:
        order = {"mirror": MIRROR, "origin": f"http://127.0.0.1:{port}", "bucket": "bench___mirror"}
        running.json("POST", "/mirrors/host", order)
        running.json("PUT", "/ceph/bench/jobs")
        yield running
    finally:
        running.stop()


def settled(ours: Service, target: str) -> None:
    """Wait until the fill of a target has landed, so that one measurement does not disturb the next."""
    while ours.json("GET", f"/explain?url=http://{MIRROR}{quote(target, safe='/')}")["decision"] != "StoreHit":
        pass


def cold(ours: Service, target: str, byte_range: str | None = None) -> client.Read:
    """Read something that is not stored, then let it land."""
    measured = client.read(ours.port, target, MIRROR, byte_range)
    settled(ours, target)
    return measured


def paired(rounds: int, ours: Callable[[int], float], peer: Callable[[int], float]) -> tuple[float, float]:
    """Medians of both, measured in turn, so that a drift of the machine meets both."""
    pairs = [(ours(number), peer(number)) for number in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def show(what: str, ours: str, peer: str = "", ratio: float | None = None) -> None:
    """One line of the table."""
    print(f"{what:<46} {ours:>16} {peer:>16} {'' if ratio is None else f'{ratio:.2f}':>8}", flush=True)


def streams(folder: Path, rounds: int) -> None:
    """Large objects: cold, warm, and the end of a cold one first."""
    with origin(256 * MIB) as port, service(folder, port) as ours:
        client.read(port, "/file")
        streamed, direct = paired(
            rounds,
            lambda n: cold(ours, f"/file?cold={n}").rate,
            lambda _: client.read(port, "/file").rate,
        )
        show("cold 256 MiB through the mirror, MiB/s", f"{streamed:.0f}", f"{direct:.0f}", streamed / direct)
        warm, direct = paired(
            rounds,
            lambda _: client.read(ours.port, "/file?cold=0", MIRROR).rate,
            lambda _: client.read(port, "/file").rate,
        )
        show("warm 256 MiB, one client, MiB/s", f"{warm:.0f}", f"{direct:.0f}", warm / direct)
        tail, direct = paired(
            rounds,
            lambda n: cold(ours, f"/file?tail={n}", "-1048576").total * 1e3,
            lambda _: client.read(port, "/file", byte_range="-1048576").total * 1e3,
        )
        show("last 1 MiB of a cold 256 MiB object, ms", f"{tail:.1f}", f"{direct:.1f}", tail / direct)


def requests(folder: Path) -> None:
    """Small and middling objects from the store, many clients."""
    for size, name in ((4096, "4 KiB"), (MIB, "1 MiB")):
        with origin(size) as port, service(folder / name.replace(" ", ""), port) as ours:
            client.read(ours.port, "/file", MIRROR)
            ours_rate, ours_bytes = client.wrk(ours.port, "/file", MIRROR)
            direct_rate, direct_bytes = client.wrk(port, "/file", "bench")
            ratio = ours_rate / direct_rate
            show(f"warm {name}, 32 connections, requests/s", f"{ours_rate:.0f}", f"{direct_rate:.0f}", ratio)
            show(f"warm {name}, 32 connections, MiB/s", f"{ours_bytes:.0f}", f"{direct_bytes:.0f}", ratio)
            first, direct = paired(
                9,
                lambda n, to=ours: cold(to, f"/file?first={n}").first * 1e3,
                lambda _, to=port: client.read(to, "/file").first * 1e3,
            )
            show(f"first byte of a cold {name} object, ms", f"{first:.2f}", f"{direct:.2f}", first / direct)


def jobs(folder: Path, count: int) -> None:
    """Creations from URLs: small objects, from the request to the last success."""
    with origin(4096) as port, service(folder, port) as ours:
        items = [{"key_url": f"http://127.0.0.1:{port}/file?{n}", "key_name": f"job/{n}"} for n in range(count)]
        started = time.perf_counter()
        tokens = [item["token"] for item in ours.json("POST", "/ceph/bench/jobs/keys", items)]
        states = {ours.json("GET", f"/ceph/progress/{token}")["state"] for token in tokens[-1:]}
        while ours.json("GET", "/ceph/bench/jobs")["keyamount"] < count:
            pass
        elapsed = time.perf_counter() - started
        states = {ours.json("GET", f"/ceph/progress/{token}")["state"] for token in tokens[:: max(1, count // 50)]}
        assert states == {"success"}, states
        show(f"create from URL, 4 KiB objects, jobs/s ({count})", f"{count / elapsed:.0f}")


def folders(folder: Path, keys: int) -> None:
    """Folder listings over HTTP in a bucket with many keys."""
    folder.mkdir(parents=True, exist_ok=True)
    listing.build(folder / "cephstorage.db", keys)
    ours = Service(folder, log_level="error").start()
    try:
        pages = f"/ceph/{listing.BUCKET.username}/{listing.BUCKET.bucketname}/keys?limit=100&vfolder="
        big = pages + listing.BIG_FOLDER
        for name, target in (
            (f"folder of {keys // 10} keys, page 1", big),
            ("the same, page 1,000", f"{big}&cursor={_cursor(ours, big, 999)}"),
            ("folder of many folders, page 1", pages + listing.MANY_FOLDERS),
            ("root folder", pages),
        ):
            times = sorted(_milliseconds(ours, target) for _ in range(300))
            show(f"list {name}, ms p50 / p99", f"{times[150]:.1f} / {times[297]:.1f}")
    finally:
        ours.stop()


def _cursor(ours: Service, target: str, pages: int) -> str:
    """Where the page after so many pages begins, or the last one that there is."""
    cursor = ""
    for _ in range(pages):
        following = ours.json("GET", f"{target}&cursor={cursor}" if cursor else target)["cursor"]
        if following is None:
            break
        cursor = following
    return cursor


def _milliseconds(ours: Service, target: str) -> float:
    started = time.perf_counter()
    ours.json("GET", target)
    return (time.perf_counter() - started) * 1e3


def main() -> None:
    """Run the measurements that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["streams", "requests", "jobs", "listing"])
    chosen = parser.parse_args()
    print(f"{'':<46} {'ours':>16} {'origin direct':>16} {'ratio':>8}")
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base)
        if chosen.only in {None, "streams"}:
            streams(folder / "streams", chosen.rounds)
        if chosen.only in {None, "requests"}:
            requests(folder / "requests")
        if chosen.only in {None, "jobs"}:
            jobs(folder / "jobs", chosen.jobs)
        if chosen.only in {None, "listing"}:
            folders(folder / "listing", chosen.keys)


if __name__ == "__main__":
    main()
