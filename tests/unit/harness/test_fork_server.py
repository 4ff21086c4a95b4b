"""A forked program is a process of its own and ends like one that was started anew."""

import os
import signal
from pathlib import Path

import pytest

from tests.harness.fork_server import Program, start_program
from tests.harness.service import Service

PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("CEPHSTORAGE_")}


def ended(program: Program) -> tuple[int, str]:
    assert program.stderr is not None
    with program.stderr as stream:
        said = stream.read()
    return program.wait(60), said


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["edge", "reload"], {}),
        (["no-such-verb"], {}),
        (["serve"], {"PORT": "a lot"}),
        (["serve"], {"DATA_DIR": "/dev/null/x"}),
    ],
    ids=str,
)
def test_status_and_stderr_are_those_of_a_program_that_is_started_anew(
    arguments: list[str], settings: dict[str, str], tmp_path: Path
) -> None:
    wanted = {"DATA_DIR": str(tmp_path), "LOG_LEVEL": "error", **settings}
    env = PLAIN | {f"CEPHSTORAGE_{name}": value for name, value in wanted.items()}
    forked, anew = (ended(start_program("cephstorage", *arguments, env=env, forked=way)) for way in (True, False))
    assert forked[0] == anew[0] > 0
    assert forked[1].splitlines()[-1].partition("{")[0] == anew[1].splitlines()[-1].partition("{")[0] != ""


def test_two_forked_services_share_nothing(tmp_path: Path) -> None:
    first, second = Service(tmp_path / "first").start(), Service(tmp_path / "second", log_level="debug").start()
    try:
        assert first.pid != second.pid
        assert Path(f"/proc/{first.pid}/stat").read_text().split()[3] not in {str(os.getpid()), str(second.pid)}
        assert first.admin_token != second.admin_token
        assert first.json("PUT", "/ceph/alice/photos")["bucket"] == "alice___photos"
        assert second.call("GET", "/ceph/alice/photos").status == 404
        first.kill()
        assert second.call("GET", "/healthz", token=None).status == 200
    finally:
        statuses = first.stop(), second.stop()
    assert statuses == (0, 0)


def test_the_end_of_a_killed_program_is_told(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.start()
    os.kill(service.pid, signal.SIGKILL)
    assert service.wait() == -signal.SIGKILL
    assert service.start().call("GET", "/healthz", token=None).status == 200
    assert service.stop() == 0
