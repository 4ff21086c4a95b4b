"""The access log is counted line by line, once, across rotations and restarts."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from cephstorage.domain.errors import DatabaseUnavailable
from cephstorage.edge import access_log
from cephstorage.edge.access_log import AccessLog, sums_of
from cephstorage.edge.counting import UsageCounting


def line(
    host: str = "a.test",
    status: int = 200,
    size: int = 10,
    cache: str = "",
    time: str = "1970-01-01T00:01:30+00:00",
    client: str = "127.0.0.1",
) -> bytes:
    entry = {"time": time, "client": client, "host": host, "status": status, "bytes": size, "cache": cache}
    return json.dumps(entry).encode()


def write(path: Path, *lines: bytes, end: bytes = b"\n") -> None:
    with path.open("ab") as file:
        file.write(b"\n".join(lines) + end)


def test_lines_add_up_by_mirror_and_minute() -> None:
    lines = [
        line(), line(cache="HIT", size=5), line(status=404), line(host="b.test"), line(client="unix:"), line(host="api.test"),
        line(time="1970-01-01T01:01:30+01:00"), line(time="1970-01-01T00:02:00+00:00"), b"{broken", b"[]", b'{"host": 1}',
        b'{"host": "a.test"}', b"\xff",
    ]  # fmt: skip
    assert sums_of(lines, {"a.test", "b.test"}) == {
        ("a.test", 1): {"edge.requests": 4, "edge.bytes": 35, "edge.hits": 1, "edge.hit_bytes": 5, "errors.404": 1},
        ("a.test", 2): {"edge.requests": 1, "edge.bytes": 10},
        ("b.test", 1): {"edge.requests": 1, "edge.bytes": 10},
    }


def test_what_a_client_writes_need_not_be_text() -> None:
    lines = [line().replace(b"}", b', "agent": "M\xfcller"}'), line()]
    assert sums_of(lines, {"a.test"}) == {("a.test", 1): {"edge.requests": 2, "edge.bytes": 20}}


def test_only_whole_lines_are_given_out_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(path)
    assert log.lines() == []
    write(path, b"one", b"tw", end=b"")
    assert log.lines() == [b"one"]
    assert log.lines() == []
    write(path, b"o", b"three")
    assert log.lines() == [b"two", b"three"]
    log.back()
    assert log.lines() == [b"two", b"three"]
    log.close()


def test_a_restart_goes_on_where_counting_was_noted(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    write(path, b"one")
    log = AccessLog(path)
    assert log.lines() == [b"one"]
    log.note()
    write(path, b"two")
    assert log.lines() == [b"two"]
    log.close()
    again = AccessLog(path)
    assert again.lines() == [b"two"]
    again.note()
    again.close()
    path.unlink()
    write(path, b"of another file")
    other = AccessLog(path)
    assert other.lines() == [b"of another file"]
    other.close()


def test_a_rotated_log_is_read_to_its_end_first(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    write(path, b"one")
    log = AccessLog(path)
    assert log.lines() == [b"one"]
    path.rename(tmp_path / "access.log.1")
    write(tmp_path / "access.log.1", b"two")
    assert log.lines() == [b"two"]
    assert log.lines() == []
    write(path, b"three")
    assert log.lines() == []  # it notices that another file has the name
    assert log.lines() == [b"three"]
    path.write_bytes(b"")
    assert log.lines() == []
    write(path, b"four")
    assert log.lines() == [b"four"]
    log.close()


def test_lines_that_come_late_to_a_rotated_log_are_read(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    write(path, b"one")
    log = AccessLog(path)
    assert log.lines() == [b"one"]
    path.rename(tmp_path / "access.log.1")
    write(path, b"new")
    assert log.lines() == []
    write(tmp_path / "access.log.1", b"late")
    assert log.lines() == [b"late"]
    assert log.lines() == []
    assert log.lines() == [b"new"]
    log.close()


def test_a_broken_note_and_a_line_without_end_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "_LONGEST_LINE", 100)
    path = tmp_path / "access.log"
    (tmp_path / "access.counted").write_text("{nothing")
    write(path, b"x" * 200, end=b"")
    log = AccessLog(path)
    assert len(log.lines()) == 1
    write(path, b"", b"one")
    assert log.lines() == [b"", b"one"]
    log.close()


async def test_what_could_not_be_written_is_counted_later(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    write(path, line(), line(host="other.test"))
    kept: dict[tuple[str, int], float] = {}
    away = True

    async def mirrors() -> frozenset[str]:
        return frozenset({"a.test"})

    async def add(sums: Mapping[tuple[str, int], float]) -> None:
        if away:
            raise DatabaseUnavailable("It is away.")
        kept.update(sums)

    log = AccessLog(path)
    counting = UsageCounting(log, mirrors, add)
    with pytest.raises(DatabaseUnavailable):
        await counting.round()
    assert not (tmp_path / "access.counted").exists()
    away = False
    assert await counting.round()
    assert not await counting.round()
    assert kept == {("mirror/a.test/edge.requests", 1): 1, ("mirror/a.test/edge.bytes", 1): 10}
    assert json.loads((tmp_path / "access.counted").read_text())["offset"] == path.stat().st_size
    log.close()


async def test_what_was_written_at_last_is_counted_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    kept: dict[tuple[str, int], float] = {}
    looked = asyncio.Event()

    async def mirrors() -> frozenset[str]:
        looked.set()
        return frozenset({"a.test"})

    async def add(sums: Mapping[tuple[str, int], float]) -> None:
        kept.update(sums)

    counting = UsageCounting(AccessLog(path), mirrors, add)
    counts = asyncio.create_task(counting.for_ever())
    await looked.wait()
    write(path, line())
    counting.end()
    await counts
    assert kept == {("mirror/a.test/edge.requests", 1): 1, ("mirror/a.test/edge.bytes", 1): 10}
