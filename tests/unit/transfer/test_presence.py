"""Who is alive, told by the kernel's locks, with processes that live and die."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cephstorage.transfer.presence import Presence

ROOT = Path(__file__).parents[3]
Other = tuple["subprocess.Popen[str]", str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def another(folder: Path) -> Iterator[Callable[[], Other]]:
    """Starts processes with a presence in the folder."""
    with ExitStack() as stack:

        def start() -> Other:
            command = [sys.executable, "-m", "tests.unit.transfer.presence_worker", str(folder)]
            process = stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            return process, process.stdout.readline().strip()

        yield start


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_living_are_not_dead_and_the_killed_are(folder: Path, another: Callable[[], Other]) -> None:
    mine = Presence(folder)
    mine.announce()
    (doomed, first), (_, second) = another(), another()
    owners = [mine.owner, first, second, "of-another-machine"]
    assert mine.dead(owners) == []
    kill(doomed)
    assert mine.dead(owners) == [first]
    assert mine.dead(owners) == [first], "asking twice changes nothing"
    mine.forget(first)
    assert mine.dead(owners) == []
    mine.withdraw()


def test_an_orderly_stop_leaves_nothing(folder: Path, another: Callable[[], Other]) -> None:
    process, owner = another()
    process.communicate()
    assert process.returncode == 0
    assert names(folder) == set()
    mine = Presence(folder)
    assert mine.dead([owner]) == []


def test_a_process_that_withdrew_may_announce_itself_again(folder: Path) -> None:
    mine, other = Presence(folder), Presence(folder)
    for _ in range(2):
        mine.announce()
        assert other.dead([mine.owner]) == []
        mine.withdraw()
        mine.withdraw()
        assert names(folder) == set()


def test_tidying_removes_the_dead_without_leases_only(folder: Path, another: Callable[[], Other]) -> None:
    mine = Presence(folder)
    mine.announce()
    (with_lease, leased), (without, unleased), (_, living) = another(), another(), another()
    kill(with_lease)
    kill(without)
    mine.tidy([leased])
    assert names(folder) == {f"{mine.owner}.lock"} | {
        f"{owner}.{kind}" for owner in (leased, living) for kind in ("lock", "sock")
    }
    assert mine.dead([unleased]) == []
    mine.tidy([])
    assert names(folder) == {f"{mine.owner}.lock", f"{living}.lock", f"{living}.sock"}
    mine.withdraw()


def test_a_socket_without_a_lock_is_of_a_dead_process(folder: Path) -> None:
    mine = Presence(folder)
    mine.announce()
    mine.socket("gone").touch()
    assert mine.dead(["gone"]) == ["gone"]
    mine.tidy([])
    assert names(folder) == {f"{mine.owner}.lock"}
    mine.withdraw()


def test_who_announces_itself_while_others_tidy_is_there_afterwards(folder: Path) -> None:
    tidier, stop = Presence(folder), threading.Event()

    def tidy_for_ever() -> None:
        while not stop.is_set():
            tidier.tidy([])

    thread = threading.Thread(target=tidy_for_ever)
    thread.start()
    try:
        for _ in range(200):
            mine = Presence(folder)
            mine.announce()
            assert f"{mine.owner}.lock" in names(folder)
            assert tidier.dead([mine.owner]) == []
            mine.withdraw()
    finally:
        stop.set()
        thread.join()


def test_who_took_its_name_between_the_look_and_the_tidying_is_left_alone(folder: Path) -> None:
    mine, tidier = Presence(folder), Presence(folder)
    folder.mkdir(mode=0o700)
    (folder / f"{mine.owner}.lock").touch(mode=0o600)
    assert tidier.dead([mine.owner]) == [mine.owner]
    mine.announce()
    tidier.forget(mine.owner)
    assert tidier.dead([mine.owner]) == []
    assert names(folder) == {f"{mine.owner}.lock"}
    mine.withdraw()


def test_files_are_their_owners_alone(folder: Path) -> None:
    mine = Presence(folder)
    mine.announce()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    mine.withdraw()


def test_a_socket_address_fits_however_long_the_folders_path_is(tmp_path: Path) -> None:
    presence = Presence(tmp_path / ("long" * 40) / "run")
    presence.announce()
    try:
        with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as calling:
            listening.bind(presence.socket_address(presence.owner))
            listening.listen()
            calling.connect(presence.socket_address(presence.owner))
            assert presence.socket(presence.owner).is_socket()
    finally:
        presence.withdraw()
    assert not presence.socket(presence.owner).exists()


def test_an_owner_with_an_address_has_the_files_of_its_name(folder: Path) -> None:
    mine, other = Presence(folder, "10.0.0.7:8080"), Presence(folder)
    mine.announce()
    other.announce()
    name, _, address = mine.owner.partition("@")
    assert address == "10.0.0.7:8080"
    assert f"{name}.lock" in names(folder)
    assert other.dead([mine.owner]) == []
    mine.tidy([])
    other.tidy([mine.owner])
    assert f"{name}.lock" in names(folder)
    mine.withdraw()
    assert names(folder) == {f"{other.owner}.lock"}


def test_an_owner_is_near_while_it_takes_requests_on_this_machine(folder: Path) -> None:
    mine, other = Presence(folder, "10.0.0.7:8080"), Presence(folder)
    mine.announce()
    other.announce()
    assert other.near(mine.owner) is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(mine.socket_address(mine.owner))
        listener.listen()
        path = other.near(mine.owner)
        assert path is not None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(path)
    assert other.near("0123456789ab@10.0.0.8:8080") is None
