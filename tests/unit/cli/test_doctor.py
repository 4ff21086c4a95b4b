"""The doctor's findings on folders, files and databases that are not as they should be."""

import asyncio
import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from cephstorage.bootstrap.doctor import Finding, examine
from cephstorage.bootstrap.doctor.machine import file_system, nearest_existing, spooled_bytes
from cephstorage.bootstrap.doctor.service import examine_service
from cephstorage.bootstrap.sections import MIB, TransferSettings
from cephstorage.bootstrap.settings import Settings
from cephstorage.domain.names import BucketName
from cephstorage.index import SqliteIndex


def settings_for(data_dir: Path, quota: int = MIB) -> Settings:
    return Settings(data_dir=data_dir, transfer=TransferSettings(spool_quota=quota))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder


async def make_database(data_dir: Path) -> None:
    index = SqliteIndex(data_dir / "cephstorage.db")
    await index.open()
    await index.buckets.create(BucketName("alice", "photos"), 0.0)
    await index.close()
    token = data_dir / "admin-token"
    token.write_text("secret")
    token.chmod(0o600)


async def findings(settings: Settings) -> dict[str, Finding]:
    return {finding.name: finding for finding in await examine(settings)}


async def wrong(settings: Settings) -> set[str]:
    return {name for name, finding in (await findings(settings)).items() if not finding.ok}


async def test_a_machine_before_the_first_start_is_well_and_stays_untouched(tmp_path: Path) -> None:
    assert await wrong(settings_for(tmp_path / "none")) == set()
    assert list(tmp_path.iterdir()) == []


async def test_a_machine_with_a_database_is_well(data_dir: Path) -> None:
    await make_database(data_dir)
    found = await findings(settings_for(data_dir))
    assert {name for name, finding in found.items() if not finding.ok} == set()
    assert "SQLite" in found["database"].detail
    assert found["usage"].ok


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
async def test_a_data_folder_that_others_may_enter(mode: int, data_dir: Path) -> None:
    data_dir.chmod(mode)
    found = await findings(settings_for(data_dir))
    assert not found["data folder"].ok
    assert found["data folder"].advice.startswith("chmod 700")


async def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    assert "data folder" in await wrong(settings_for(tmp_path / "data"))


async def test_a_token_that_others_may_read_or_that_is_gone(data_dir: Path) -> None:
    await make_database(data_dir)
    (data_dir / "admin-token").chmod(0o640)
    assert await wrong(settings_for(data_dir)) == {"admin token"}
    (data_dir / "admin-token").unlink()
    assert await wrong(settings_for(data_dir)) == {"admin token"}


async def test_a_spool_quota_beyond_the_disk(data_dir: Path) -> None:
    assert await wrong(settings_for(data_dir, quota=2**60)) == {"disk space"}


async def test_a_clock_before_the_newest_file(data_dir: Path) -> None:
    await make_database(data_dir)
    future = time.time() + 3600
    os.utime(data_dir / "admin-token", (future, future))
    assert await wrong(settings_for(data_dir)) == {"clock"}


async def test_a_database_that_is_none(data_dir: Path) -> None:
    await make_database(data_dir)
    (data_dir / "cephstorage.db").write_bytes(b"this is no database at all" * 1000)
    assert await wrong(settings_for(data_dir)) == {"database"}


def test_the_file_system_is_found_by_its_device(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "20 1 999:999 / / rw - wrongfs none rw\n"
        f"21 1 {os.major(device)}:{os.minor(device)} / /x rw,relatime shared:1 - rightfs /dev/x rw\n"
    )
    assert file_system(tmp_path, mounts) == "rightfs"
    assert file_system(tmp_path, tmp_path / "none") == "unknown"


def test_sparse_part_files_count_as_what_they_hold(tmp_path: Path) -> None:
    with (tmp_path / "a.part").open("wb") as file:
        file.truncate(100 * MIB)
    assert spooled_bytes(tmp_path) < MIB
    assert spooled_bytes(tmp_path / "none") == 0


def test_the_nearest_folder(tmp_path: Path) -> None:
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path


async def test_a_service_that_hangs_up_is_not_one_that_does_not_run() -> None:
    with closing(await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1")) as server:
        port = server.sockets[0].getsockname()[1]
        (finding,) = await examine_service(f"http://127.0.0.1:{port}")
        assert (finding.ok, "not running" in finding.detail) == (False, False)
    await server.wait_closed()
    (finding,) = await examine_service(f"http://127.0.0.1:{port}")
    assert (finding.ok, "not running" in finding.detail) == (True, True)
    (finding,) = await examine_service("ftp://127.0.0.1")
    assert (finding.ok, finding.advice) == (False, "Write http://HOST:PORT.")
