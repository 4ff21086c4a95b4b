"""``serve`` with several processes: what becomes of them, and of the whole, when they end at awkward moments."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.harness.patience import until
from tests.harness.service import Service


class Ignoring(Service):
    """A service whose starter ignores the ends of children, which every program after it inherits (signal(7))."""

    within = (
        sys.executable,
        "-c",
        "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])",
    )


@pytest.fixture
def several(tmp_path: Path) -> Iterator[Service]:
    """A service of two processes, not started."""
    service = Service(tmp_path / "data", workers="2", log_format="json")
    yield service
    if service.running:
        service.stop()


def test_a_start_that_fails_twice_at_once_says_why_and_nothing_else(several: Service) -> None:
    several.settings["database_url"] = "postgresql://u:p@[half/db"
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(several.start)
        pids = until(lambda: children(several) if several.running else [], lambda found: len(found) == 2)
        halt(several)
        until(lambda: {state(pid) for pid in pids} == {"Z"})
        os.kill(several.pid, signal.SIGCONT)
        assert several.wait() == 1
        with pytest.raises((AssertionError, OSError)):
            starting.result()
    assert {json.loads(line)["event"] for line in several.lines} == {"cannot_start"}


def test_a_stop_after_every_process_died_is_an_orderly_one(several: Service) -> None:
    several.start()
    pids = children(several)
    halt(several)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: {state(pid) for pid in pids} == {"Z"})
    os.kill(several.pid, signal.SIGTERM)
    os.kill(several.pid, signal.SIGCONT)
    assert several.wait() == 0
    assert "No child processes" not in several.log()


@pytest.mark.parametrize("kind", [Service, Ignoring])
def test_a_process_that_dies_is_replaced(kind: type[Service], tmp_path: Path) -> None:
    service = kind(tmp_path / "data", workers="2")
    service.start()
    try:
        dead, left = children(service)
        os.kill(dead, signal.SIGKILL)
        now = until(lambda: children(service), lambda pids: len(pids) == 2 and dead not in pids)
        assert left in now
        until(lambda: "worker_died" in service.log())
        assert service.call("GET", "/healthz", token=None).status == 200
    finally:
        assert service.stop() == 0


def children(service: Service) -> list[int]:
    """The processes of the service, in the order of their starts."""
    return [int(pid) for pid in Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()]


def halt(service: Service) -> None:
    """Let the process that keeps the others do nothing until it gets a SIGCONT."""
    os.kill(service.pid, signal.SIGSTOP)
    until(lambda: state(service.pid) == "T")


def state(pid: int) -> str:
    """One letter (proc(5)): Z for a process that has ended without its parent having been told."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
