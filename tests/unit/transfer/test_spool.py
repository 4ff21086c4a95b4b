"""The spool: what it holds survives its process and nothing else, and nobody's files are touched by another."""

import asyncio
import os
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from cephstorage.domain.errors import SpoolUnavailable, StoreFull
from cephstorage.domain.ranges import Span
from cephstorage.transfer.spool import Spool
from cephstorage.transfer.spools import SpoolDirectory
from tests.harness.content import MIB, Content
from tests.harness.patience import until

ROOT = Path(__file__).parents[3]
BODY = Content(1, 8 * MIB)
PLENTY = 1 << 50
HOLDER = """
import asyncio, sys
from pathlib import Path
from cephstorage.transfer.spools import SpoolDirectory
async def main():
    spool = SpoolDirectory(Path(sys.argv[1]), 1 << 50).open(sys.argv[2])
    await spool.put(0, bytes(3 << 20))
    print("held", flush=True)
    sys.stdin.readline()
asyncio.run(main())
"""


@pytest.fixture
def spools(tmp_path: Path) -> SpoolDirectory:
    return SpoolDirectory(tmp_path / "spool", PLENTY)


@contextmanager
def another_process(folder: Path, transfer_id: str) -> Iterator["subprocess.Popen[str]"]:
    """A living process that holds 3 MiB in a spool."""
    command = [sys.executable, "-c", HOLDER, str(folder), transfer_id]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


async def write(spool: Spool, start: int, end: int, body: Content = BODY) -> None:
    await spool.put(start, body.read(start, end))
    spool.publish(start, end - start)


def spans(spool: Spool) -> list[tuple[int, int]]:
    return [(span.start, span.end) for span in spool.spans]


def part(tmp_path: Path, transfer_id: str = "a") -> Path:
    return tmp_path / "spool" / f"{transfer_id}.part"


def journal(tmp_path: Path, transfer_id: str = "a") -> Path:
    return tmp_path / "spool" / f"{transfer_id}.spans"


# -- writing and reading


async def test_bytes_lie_at_their_places_and_the_rest_takes_no_disk(spools: SpoolDirectory) -> None:
    spool = spools.open("a")
    await write(spool, 7 * MIB, 8 * MIB)
    await write(spool, 0, MIB)
    assert spans(spool) == [(0, MIB), (7 * MIB, 8 * MIB)]
    assert spool.read(7 * MIB + 5, 10) == BODY.read(7 * MIB + 5, 7 * MIB + 15)
    assert spool.read_now(5, 10) in (None, BODY.read(5, 15))
    assert spool.size() < 3 * MIB
    assert os.fstat(spool.file()).st_size == 8 * MIB
    spool.close()


async def test_readers_see_what_was_published_only(spools: SpoolDirectory) -> None:
    spool = spools.open("a")
    await spool.put(0, b"written")
    assert spans(spool) == []
    spool.publish(0, 7)
    assert list(spool.spans) == [Span(0, 7)]
    spool.close()


async def test_files_are_their_owners_alone(spools: SpoolDirectory, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        spool = spools.open("a")
        await write(spool, 0, 2 * MIB)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (part(tmp_path), journal(tmp_path))] == [0o600, 0o600]
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    spool.close()


async def test_a_disk_that_refuses_bytes_is_full(spools: SpoolDirectory, tmp_path: Path) -> None:
    spool = spools.open("a")
    with pytest.raises(StoreFull) as caught:
        await spool.put(1 << 62, b"no file system has this place")
    assert caught.value.retry_after
    assert spans(spool) == []
    spool.close()


# -- of a transfer that has just begun


async def test_the_part_file_is_made_when_it_is_needed(spools: SpoolDirectory, tmp_path: Path) -> None:
    spool = spools.begin("a")
    assert not part(tmp_path).exists()
    await write(spool, 0, 2 * MIB)
    assert spool.read(0, 2 * MIB) == BODY.read(0, 2 * MIB)
    spool.close()
    again = spools.open("a")
    assert spans(again) == [(0, 2 * MIB)]
    again.close()


async def test_it_is_locked_from_the_first(spools: SpoolDirectory, tmp_path: Path) -> None:
    spool = spools.begin("a")
    spool.prepare()
    assert part(tmp_path).exists()
    assert spools.sweep(keep=set()) == []
    spool.close()
    assert spools.sweep(keep=set()) == ["a"]


async def test_what_is_over_before_it_was_needed_leaves_nothing(spools: SpoolDirectory, tmp_path: Path) -> None:
    spool = spools.begin("a")
    spool.close()
    spool.prepare()
    assert not part(tmp_path).exists()


async def test_what_can_not_be_made_is_told_to_who_needs_it(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.write_text("no folder")
    spool = SpoolDirectory(folder, PLENTY).begin("a")
    spool.prepare()
    with pytest.raises(StoreFull):
        await spool.put(0, b"bytes")
    spool.close()


def test_a_folder_that_takes_no_files_is_told_as_what_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.write_text("no folder")
    spools = SpoolDirectory(folder, PLENTY)
    with pytest.raises(SpoolUnavailable, match="download_path"):
        spools.admit("a", 1)
    with pytest.raises(SpoolUnavailable, match="download_path"):
        spools.open("a")


# -- the journal


async def test_a_killed_process_leaves_what_it_wrote(spools: SpoolDirectory, tmp_path: Path) -> None:
    with another_process(tmp_path / "spool", "a") as process:
        process.kill()
        process.wait()
        spool = spools.open("a")
    assert spans(spool) == [(0, 3 * MIB)]
    assert spool.read(0, 3 * MIB) == bytes(3 * MIB)
    spool.close()


async def test_the_journal_is_replayed_and_continued(spools: SpoolDirectory) -> None:
    for start, end in [(0, 2 * MIB), (6 * MIB, 7 * MIB), (2 * MIB, 3 * MIB)]:
        spool = spools.open("a")
        await write(spool, start, end)
        spool.close()
    spool = spools.open("a")
    assert spans(spool) == [(0, 3 * MIB), (6 * MIB, 7 * MIB)]
    assert spool.read(0, 3 * MIB) == BODY.read(0, 3 * MIB)
    assert spool.read(6 * MIB, MIB) == BODY.read(6 * MIB, 7 * MIB)
    spool.close()


async def test_small_objects_have_no_journal_and_begin_anew(spools: SpoolDirectory, tmp_path: Path) -> None:
    spool = spools.open("a")
    await write(spool, 0, MIB)
    spool.close()
    assert not journal(tmp_path).exists()
    again = spools.open("a")
    assert spans(again) == []
    assert part(tmp_path).stat().st_size == 0
    again.close()


async def test_the_journal_that_begins_late_holds_what_came_before(spools: SpoolDirectory) -> None:
    spool = spools.open("a")
    for start in range(0, 2 * MIB, MIB // 4):
        await write(spool, start, start + MIB // 4)
    spool.close()
    again = spools.open("a")
    assert spans(again) == [(0, 2 * MIB)]
    again.close()


async def torn(spools: SpoolDirectory) -> None:
    """Two journalled writes by a process that is gone."""
    spool = spools.open("a")
    await write(spool, 0, 2 * MIB)
    await write(spool, 4 * MIB, 5 * MIB)
    spool.close()


async def test_a_torn_last_entry_is_dropped_and_what_follows_is_read_right(
    spools: SpoolDirectory, tmp_path: Path
) -> None:
    await torn(spools)
    os.truncate(journal(tmp_path), journal(tmp_path).stat().st_size - 5)
    spool = spools.open("a")
    assert spans(spool) == [(0, 2 * MIB)]
    await write(spool, 6 * MIB, 7 * MIB)
    spool.close()
    again = spools.open("a")
    assert spans(again) == [(0, 2 * MIB), (6 * MIB, 7 * MIB)]
    again.close()


@pytest.mark.parametrize("left", [0, 1, 20])
async def test_a_journal_whose_head_is_cut_is_not_trusted(spools: SpoolDirectory, tmp_path: Path, left: int) -> None:
    await torn(spools)
    os.truncate(journal(tmp_path), left)
    await assert_forgotten(spools, tmp_path)


async def test_a_journal_of_another_boot_is_not_trusted(spools: SpoolDirectory, tmp_path: Path) -> None:
    await torn(spools)
    content = journal(tmp_path).read_bytes()
    other = bytes([content[0] ^ 1])
    journal(tmp_path).write_bytes(other + content[1:])
    await assert_forgotten(spools, tmp_path)


async def test_a_journal_that_claims_more_than_the_file_is_not_trusted(spools: SpoolDirectory, tmp_path: Path) -> None:
    await torn(spools)
    os.truncate(part(tmp_path), 5 * MIB - 1)
    await assert_forgotten(spools, tmp_path)


async def test_a_journal_without_its_part_file_is_not_trusted(spools: SpoolDirectory, tmp_path: Path) -> None:
    await torn(spools)
    part(tmp_path).unlink()
    await assert_forgotten(spools, tmp_path)


async def assert_forgotten(spools: SpoolDirectory, tmp_path: Path) -> None:
    """Everything is, for good: a small write that makes the file long enough brings no old claim back."""
    spool = spools.open("a")
    assert spans(spool) == []
    await spool.put(0, b"x")
    os.pwrite(spool.file(), b"y", 5 * MIB)  # the process dies before it notes this
    spool.close()
    again = spools.open("a")
    assert spans(again) == []
    again.close()


async def test_nonsense_in_a_journal_is_bounded_by_the_file(spools: SpoolDirectory, tmp_path: Path) -> None:
    await torn(spools)
    with journal(tmp_path).open("ab") as file:
        file.write(struct.pack("<QQ", (1 << 64) - 1, (1 << 64) - 1))
    await assert_forgotten(spools, tmp_path)


async def test_reset_forgets_every_byte_and_the_spool_goes_on(spools: SpoolDirectory, tmp_path: Path) -> None:
    await torn(spools)
    spool = spools.open("a")
    spool.reset()
    assert spans(spool) == []
    assert part(tmp_path).stat().st_size == 0
    assert not journal(tmp_path).exists()
    other = Content(9, 2 * MIB)
    await write(spool, 0, 2 * MIB, other)
    spool.close()
    again = spools.open("a")
    assert spans(again) == [(0, 2 * MIB)]
    assert again.read(0, 2 * MIB) == other.read()
    again.close()


async def test_a_stalled_owner_writes_nothing_into_its_successors_spool(spools: SpoolDirectory, tmp_path: Path) -> None:
    stalled = spools.open("a")
    await write(stalled, 0, MIB)
    successor = spools.open("a")
    assert spans(successor) == []
    await write(successor, 5 * MIB, 6 * MIB)
    await write(stalled, MIB, 6 * MIB)
    stalled.close()
    await write(successor, 6 * MIB, 7 * MIB)
    successor.close()
    again = spools.open("a")
    assert (0, 6 * MIB) not in spans(again)
    assert all(again.read(start, end - start) == BODY.read(start, end) for start, end in spans(again))
    again.close()


# -- the file stays open as long as somebody needs it


async def test_a_borrower_keeps_reading_after_the_owner_closed_and_removed(spools: SpoolDirectory) -> None:
    spool = spools.open("a")
    await write(spool, 0, MIB)
    spool.borrow()
    spool.close()
    spools.remove("a")
    assert not spools.exists("a")
    assert spool.read(0, MIB) == BODY.read(0, MIB)
    fd = spool.file()
    spool.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


class HeldSpool(Spool):
    """A spool whose write waits until the test lets it go on."""

    def __init__(self, spool: Spool) -> None:
        self.__dict__ = spool.__dict__
        self.entered, self.go_on, self.done = threading.Event(), threading.Event(), threading.Event()

    def _write(self, position: int, data: bytes) -> None:
        self.entered.set()
        assert self.go_on.wait(30)
        super()._write(position, data)

    def close(self) -> None:
        super().close()
        if self.go_on.is_set():  # the thread's own, after its work
            self.done.set()


async def test_a_cancelled_put_does_not_write_into_a_reused_descriptor(spools: SpoolDirectory, tmp_path: Path) -> None:
    spool = HeldSpool(spools.open("a"))
    putting = asyncio.create_task(spool.put(0, b"late bytes"))
    assert await asyncio.to_thread(spool.entered.wait, 30)
    putting.cancel()
    await asyncio.wait({putting})
    spool.close()
    innocents = [(tmp_path / f"innocent {number}").open("wb") for number in range(20)]
    spool.go_on.set()
    assert await asyncio.to_thread(spool.done.wait, 30)
    for file in innocents:
        file.close()
    assert [Path(file.name).stat().st_size for file in innocents] == [0] * 20
    assert part(tmp_path).read_bytes() == b"late bytes"


# -- the quota


def test_promises_are_counted_until_the_spool_is_removed(tmp_path: Path) -> None:
    spools = SpoolDirectory(tmp_path / "spool", 10 * MIB)
    spools.admit("a", 6 * MIB)
    with pytest.raises(StoreFull) as caught:
        spools.admit("b", 5 * MIB)
    assert caught.value.retry_after
    spools.admit("b", 4 * MIB)
    spools.remove("a")
    spools.admit("b", 10 * MIB)


def test_a_promise_is_replaced_and_not_added(tmp_path: Path) -> None:
    spools = SpoolDirectory(tmp_path / "spool", 10 * MIB)
    for size in (4 * MIB, 8 * MIB, 10 * MIB, 2 * MIB):
        spools.admit("a", size)
    spools.admit("b", 8 * MIB)
    with pytest.raises(StoreFull):
        spools.admit("a", 3 * MIB)


async def test_a_transfers_own_bytes_do_not_count_against_it(tmp_path: Path) -> None:
    spools = SpoolDirectory(tmp_path / "spool", 5 * MIB)
    spools.admit("a", 4 * MIB)
    spool = spools.open("a")
    await write(spool, 0, 4 * MIB)
    spools.admit("a", 5 * MIB)
    spool.close()


def test_files_of_other_processes_are_counted(tmp_path: Path) -> None:
    with another_process(tmp_path / "spool", "theirs"):
        spools = SpoolDirectory(tmp_path / "spool", 10 * MIB)
        with pytest.raises(StoreFull):
            spools.admit("mine", 8 * MIB)
        spools.admit("mine", 6 * MIB)


def test_more_than_the_disk_has_is_refused(spools: SpoolDirectory) -> None:
    with pytest.raises(StoreFull):
        spools.admit("a", 1 << 49)


# -- the sweep


async def test_the_sweep_removes_orphans_and_keeps_what_is_needed(spools: SpoolDirectory, tmp_path: Path) -> None:
    for name in ("orphan", "wanted"):
        spool = spools.open(name)
        await write(spool, 0, 2 * MIB)
        spool.close()
    mine = spools.open("mine")
    journal(tmp_path, "journal-only").write_bytes(b"whatever")
    assert spools.sweep({"wanted"}) == ["journal-only", "orphan"]
    left = {path.name for path in (tmp_path / "spool").iterdir()}
    assert left == {"wanted.part", "wanted.spans", "mine.part"}
    mine.close()
    assert spools.sweep(set()) == ["mine", "wanted"]
    assert list((tmp_path / "spool").iterdir()) == []


def test_the_sweep_of_a_folder_that_does_not_exist(spools: SpoolDirectory) -> None:
    assert spools.sweep(set()) == []


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_the_sweep_leaves_living_processes_alone_and_buries_dead_ones(
    spools: SpoolDirectory, tmp_path: Path, death: signal.Signals
) -> None:
    with another_process(tmp_path / "spool", "theirs") as process:
        assert spools.sweep(set()) == []
        assert journal(tmp_path, "theirs").exists()
        process.send_signal(death)
        process.wait()
        assert spools.sweep(set()) == ["theirs"]
    assert list((tmp_path / "spool").iterdir()) == []


async def test_a_spool_opened_while_others_sweep_is_never_taken_away(tmp_path: Path) -> None:
    ours, sweeper = SpoolDirectory(tmp_path / "spool", PLENTY), SpoolDirectory(tmp_path / "spool", PLENTY)
    stop = threading.Event()

    def sweep_for_ever() -> None:
        while not stop.is_set():
            sweeper.sweep(set())

    sweeping = asyncio.create_task(asyncio.to_thread(sweep_for_ever))
    try:
        for number in range(60):
            spool = await asyncio.to_thread(ours.open, str(number))
            assert ours.exists(str(number))
            await asyncio.to_thread(sweeper.sweep, set())
            assert os.fstat(spool.file()).st_nlink == 1
            ours.remove(str(number))
            spool.close()
    finally:
        stop.set()
        await sweeping


def test_a_spool_that_replaces_one_being_swept_is_not_swept_with_it(tmp_path: Path) -> None:
    ours, sweeper = SpoolDirectory(tmp_path / "spool", PLENTY), Halting(tmp_path / "spool", PLENTY)
    ours.open("a").close()
    with ThreadPoolExecutor(2) as pool:
        sweeping = pool.submit(sweeper.sweep, set())
        assert sweeper.reached.wait(60)
        opening = pool.submit(ours.open, "a")
        until(lambda: opening.done() or waits_for(tmp_path / "spool"))
        sweeper.goes_on.set()
        assert sweeping.result() == ["a"]
        spool = opening.result()
    assert ours.exists("a")
    assert os.fstat(spool.file()).st_nlink == 1
    spool.close()


class Halting(SpoolDirectory):
    """Halts where a spool's lock is taken and its files are about to go."""

    def __init__(self, folder: Path, quota: int) -> None:
        super().__init__(folder, quota)
        self.reached, self.goes_on = threading.Event(), threading.Event()

    def remove(self, transfer_id: str) -> None:
        self.reached.set()
        self.goes_on.wait(60)
        super().remove(transfer_id)


def waits_for(folder: Path) -> bool:
    """Whether somebody waits for the lock of a folder (proc_locks(5))."""
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if "->" in line]
    return any(line.split()[6].endswith(f":{folder.stat().st_ino}") for line in waiting)


# -- several folders


async def test_a_spool_ends_in_the_folder_where_it_began(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    spools = SpoolDirectory(first, PLENTY)
    old = spools.open("old")
    await write(old, 0, 3 * MIB)
    spools.use(second)
    new = spools.open("new")
    assert (old.path.parent, new.path.parent) == (first, second)
    old.close()
    again = spools.open("old")
    assert (again.path.parent, spans(again)) == (first, [(0, 3 * MIB)])
    assert spools.exists("old")
    again.close()
    spools.remove("old")
    assert not spools.exists("old")
    assert spools.open("old").path.parent == second
    new.close()


async def test_the_quota_counts_every_folder(tmp_path: Path) -> None:
    quota = 8 * MIB
    spools = SpoolDirectory(tmp_path / "first", quota)
    spool = spools.open("old")
    await write(spool, 0, 4 * MIB)
    other = SpoolDirectory(tmp_path / "second", quota, [tmp_path / "first", tmp_path / "none"])
    with pytest.raises(StoreFull):
        other.admit("new", 5 * MIB)
    other.admit("new", 3 * MIB)
    spool.close()


async def test_the_sweep_looks_in_every_folder(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders:
        folder.mkdir()
        for name in (f"orphan-{folder.name}.part", f"kept-{folder.name}.part"):
            (folder / name).write_bytes(b"x")
    spools = SpoolDirectory(folders[2], PLENTY, folders)
    kept = {f"kept-{folder.name}" for folder in folders}
    assert spools.sweep(kept) == ["orphan-first", "orphan-second", "orphan-third"]
    assert {path.stem for folder in folders for path in folder.iterdir()} == kept


async def test_readiness_says_where_and_what_is_wrong(tmp_path: Path) -> None:
    assert str(tmp_path / "spool") in await SpoolDirectory(tmp_path / "spool", PLENTY).check()
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", Path("/proc/none")):
        with pytest.raises(SpoolUnavailable, match="download_path"):
            await SpoolDirectory(folder, PLENTY).check()
