"""Downloads through a published URL that breaks: resumed, verified, and only then given their name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from cephstorage_client import DownloadInterrupted, Record, VerificationFailed
from cephstorage_client.downloads import Download, download_to_file
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin

BODY = Content(7, 4 * MIB)
OTHER = Content(8, 3 * MIB)


def record_of(body: Content, url: str, generation: int = 1, **changes: Any) -> Record:
    etag = f'"v{generation}"'
    fields: dict[str, Any] = {"key": "k", "md5": body.md5, "size": body.size, "etag": etag, "generation": generation}
    return {**fields, "url": url, **changes}  # type: ignore[typeddict-item]


@pytest.fixture
def fetch(tmp_path: Path) -> Callable[..., Record]:
    """Download to ``tmp_path/target``, reading these records in turn; the last one stays."""

    def run(*records: Record) -> Record:
        waiting = list(records)
        with httpx.Client(trust_env=False) as http:
            return download_to_file(
                http, lambda: waiting.pop(0) if len(waiting) > 1 else waiting[0], tmp_path / "target"
            )

    return run


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_broken_download_goes_on_where_it_stopped(
    how: str, origin: FaultOrigin, fetch: Callable[..., Record], tmp_path: Path
) -> None:
    origin.put("/k", BODY, etag='"v1"', die_after=MIB, die_times=2, how=how)
    fetch(record_of(BODY, origin.url + "/k"))
    assert (tmp_path / "target").read_bytes() == BODY.read()
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    first, *others = origin.logged("/k")
    assert "range" not in first.headers
    assert len(others) == 2
    for request in others:
        assert request.status == 206
        assert request.headers["if-range"] == '"v1"'
        assert request.headers["range"].startswith("bytes=")
    # Nothing that had arrived was asked for again; what a reset threw away on the way may be.
    if how == "fin":
        assert origin.body_bytes("/k") == BODY.size


def test_a_server_without_ranges_is_read_again_from_the_start(
    origin: FaultOrigin, fetch: Callable[..., Record], tmp_path: Path
) -> None:
    origin.put("/k", BODY, etag='"v1"', ranges=False, die_after=MIB, die_times=1)
    fetch(record_of(BODY, origin.url + "/k"))
    assert (tmp_path / "target").read_bytes() == BODY.read()


def test_a_key_that_is_overwritten_on_the_way_is_read_again(
    origin: FaultOrigin, fetch: Callable[..., Record], tmp_path: Path
) -> None:
    origin.put(
        "/k",
        BODY,
        etag='"v1"',
        die_after=MIB,
        die_times=1,
        change_after_requests=1,
        changed_body=OTHER,
        changed_etag='"v2"',
    )
    url = origin.url + "/k"
    record = fetch(record_of(BODY, url), record_of(OTHER, url, 2))
    assert record["generation"] == 2
    assert (tmp_path / "target").read_bytes() == OTHER.read()


def test_an_overwrite_seen_only_in_the_answer_is_noticed(
    origin: FaultOrigin, fetch: Callable[..., Record], tmp_path: Path
) -> None:
    origin.put("/k", OTHER, etag='"v2"')
    url = origin.url + "/k"
    fetch(record_of(BODY, url), record_of(OTHER, url, 2))
    assert (tmp_path / "target").read_bytes() == OTHER.read()


def test_a_stream_that_can_not_be_taken_back_is_not_mixed(origin: FaultOrigin, tmp_path: Path) -> None:
    origin.put(
        "/k",
        BODY,
        etag='"v1"',
        die_after=MIB,
        die_times=1,
        change_after_requests=1,
        changed_body=OTHER,
        changed_etag='"v2"',
    )
    records = [record_of(BODY, origin.url + "/k"), record_of(OTHER, origin.url + "/k", 2)]
    with httpx.Client(trust_env=False) as http, (tmp_path / "sink").open("wb") as sink:
        download = Download(http, lambda: records.pop(0), sink, rewindable=False)
        with pytest.raises(VerificationFailed):
            download.run()
    assert BODY.read().startswith((tmp_path / "sink").read_bytes())


@pytest.mark.parametrize("changes", [{"md5": "0" * 32}, {"size": BODY.size - 1}])
def test_wrong_bytes_never_get_the_name(
    changes: dict[str, Any], origin: FaultOrigin, fetch: Callable[..., Record], tmp_path: Path
) -> None:
    (tmp_path / "target").write_bytes(b"old")
    origin.put("/k", BODY, etag='"v1"')
    with pytest.raises(VerificationFailed):
        fetch(record_of(BODY, origin.url + "/k", **changes))
    assert (tmp_path / "target").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_server_that_never_delivers_is_given_up(origin: FaultOrigin, tmp_path: Path) -> None:
    origin.put("/k", BODY, hang_up_times=99)
    with httpx.Client(trust_env=False) as http, (tmp_path / "sink").open("wb") as sink:
        record = record_of(BODY, origin.url + "/k")
        with pytest.raises(DownloadInterrupted):
            Download(http, lambda: record, sink, rewindable=True, attempts=2).run()
    assert origin.count("/k") == 2


def test_an_empty_key(origin: FaultOrigin, fetch: Callable[..., Record], tmp_path: Path) -> None:
    empty = Content(1, 0)
    origin.put("/k", empty, etag='"v1"')
    fetch(record_of(empty, origin.url + "/k"))
    assert (tmp_path / "target").read_bytes() == b""
