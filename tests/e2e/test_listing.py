"""Listings: folders, prefixes, filters, and cursors that meet every key exactly once."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.bucket import Bucket
from tests.harness.names import NASTY_KEYS
from tests.harness.service import Service

KEYS = ["readme", "a", "a/b", "a/b/c", "a/b/d", "a/e/f", "ab", "z/y/x/w", "z.txt", "ü/ä"]


@pytest.fixture(scope="module")
def folders(shared: Service) -> Bucket:
    """A bucket with a few keys; tests only read it."""
    bucket = Bucket(shared, "folders")
    for number, key in enumerate(KEYS):
        bucket.put(key, b"x" * number, {"Content-Type": "text/plain" if number % 2 else "image/png"})
    return bucket


@pytest.fixture(scope="module")
def nasty(shared: Service) -> Bucket:
    """A bucket with every nasty key; tests only read it."""
    bucket = Bucket(shared, "nasty")
    for key in NASTY_KEYS.values():
        bucket.put(key, b"")
    return bucket


def names(page: Any) -> list[str]:
    return [record["key"] for record in page["keys"]]


def pages(bucket: Bucket, **query: Any) -> Iterator[Any]:
    """Every page of a listing."""
    page = bucket.listing(**query)
    yield page
    while page["cursor"] is not None:
        page = bucket.listing(**query, cursor=page["cursor"])
        yield page


def test_root_is_the_default(folders: Bucket) -> None:
    page = folders.listing()
    assert names(page) == ["a", "ab", "readme", "z.txt"]
    assert page["vfolders"] == ["a", "z", "ü"]
    assert page["cursor"] is None
    assert page == folders.listing(vfolder="")


@pytest.mark.parametrize(
    ("vfolder", "keys", "vfolders"),
    [
        ("a", ["a/b"], ["a/b", "a/e"]),
        ("a/b", ["a/b/c", "a/b/d"], []),
        ("z", [], ["z/y"]),
        ("ü", ["ü/ä"], []),
        ("ab", [], []),
        ("nowhere", [], []),
    ],
)
def test_folders(vfolder: str, keys: list[str], vfolders: list[str], folders: Bucket) -> None:
    page = folders.listing(vfolder=vfolder)
    assert (names(page), page["vfolders"]) == (keys, vfolders)


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/b", "a/b/", "ab", "z", "Ü", "ü", "nothing", "%", "_"])
def test_prefix(prefix: str, folders: Bucket) -> None:
    wanted = sorted(key for key in KEYS if key.startswith(prefix))
    page = folders.listing(prefix=prefix, recursive="true")
    assert (names(page), page["vfolders"]) == (wanted, [])
    if prefix:
        assert names(folders.listing(prefix=prefix)) == wanted


@pytest.mark.parametrize("vfolder", ["", "a", "a/b", "z", "z/y", "nowhere"])
def test_recursive(vfolder: str, folders: Bucket) -> None:
    wanted = sorted(key for key in KEYS if not vfolder or key.startswith(vfolder + "/"))
    assert names(folders.listing(vfolder=vfolder, recursive="true")) == wanted


@pytest.mark.parametrize("text", ["a", "b/", "/", "E", "%", "_", "*", "ä", ".txt"])
def test_containing(text: str, folders: Bucket) -> None:
    assert names(folders.listing(q=text, recursive="true")) == sorted(key for key in KEYS if text in key)


@pytest.mark.parametrize("content_type", ["text/plain", "image/png", "text", "TEXT/PLAIN"])
def test_content_type(content_type: str, folders: Bucket) -> None:
    types = {key: "text/plain" if number % 2 else "image/png" for number, key in enumerate(KEYS)}
    found = names(folders.listing(content_type=content_type, recursive="true"))
    assert found == sorted(key for key in KEYS if types[key] == content_type)


def test_records_are_complete(folders: Bucket) -> None:
    (listed,) = folders.listing(prefix="readme")["keys"]
    record = folders.record("readme")
    assert listed == {name: value for name, value in record.items() if name != "url"}
    assert {"key", "ts", "vfolder", "md5", "content_type", "size"} <= listed.keys()


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
def test_cursors_meet_every_entry_once(limit: int, folders: Bucket) -> None:
    for query in ({}, {"vfolder": "a"}, {"recursive": "true"}, {"prefix": "a"}, {"q": "a", "recursive": "true"}):
        whole = folders.listing(**query)
        found = list(pages(folders, **query, limit=limit))
        assert [key for page in found for key in names(page)] == names(whole)
        assert [folder for page in found for folder in page["vfolders"]] == whole["vfolders"]
        assert max(len(page["keys"]) + len(page["vfolders"]) for page in found) <= limit


@pytest.mark.parametrize("limit", [1, 5, 1000])
def test_every_nasty_key_once_by_pages(limit: int, nasty: Bucket) -> None:
    found = [key for page in pages(nasty, recursive="true", limit=limit) for key in names(page)]
    assert found == sorted(NASTY_KEYS.values(), key=str.encode)


def test_every_nasty_key_once_by_folders(nasty: Bucket) -> None:
    waiting, keys, folders = [""], Counter[str](), Counter[str]()
    while waiting:
        for page in pages(nasty, vfolder=waiting.pop(), limit=2):
            keys.update(names(page))
            folders.update(page["vfolders"])
            waiting += page["vfolders"]
    assert keys == Counter(NASTY_KEYS.values())
    assert set(folders.values()) == {1}


def test_every_nasty_key_by_itself(nasty: Bucket) -> None:
    for key in NASTY_KEYS.values():
        assert names(nasty.listing(prefix=key, limit=1)) == [key]


@pytest.mark.parametrize("cursor", ["x", "", "AAAA", "bnVsbA==", "WyJrIl0=", "WyJrIiwgMV0=", "[", "ü", "k" * 5000])
def test_bad_cursors(cursor: str, folders: Bucket) -> None:
    reply = folders.service.call("GET", f"{folders.path}/keys?cursor={cursor.replace('ü', '%C3%BC')}")
    assert (reply.status, reply.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=x", "recursive=maybe", "limit=1e3"])
def test_bad_queries(query: str, folders: Bucket) -> None:
    reply = folders.service.call("GET", f"{folders.path}/keys?{query}")
    assert (reply.status, reply.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("order=up", "invalid_request"),
        ("size_min=-1", "invalid_request"),
        ("size_max=9223372036854775808", "invalid_request"),
        ("size_min=x", "invalid_request"),
        ("size_min=2&size_max=1", "invalid_request"),
        ("ts_min=yesterday", "invalid_timetag"),
        ("ts_max=1e400", "invalid_timetag"),
        ("ts_min=nan", "invalid_timetag"),
        ("ts_min=2&ts_max=1", "invalid_request"),
        ("md5=abc", "invalid_digest"),
        ("q=" + "x" * 1025, "invalid_request"),
        ("glob=" + "%C3%BC" * 513, "invalid_request"),
        ("q=a%00b", "invalid_request"),
        ("glob=%00", "invalid_request"),
        ("prefix=%00", "invalid_request"),
        ("vfolder=%00", "invalid_request"),
        ("content_type=%00", "invalid_request"),
    ],
)
def test_bad_filters(query: str, code: str, folders: Bucket) -> None:
    reply = folders.service.call("GET", f"{folders.path}/keys?{query}")
    assert (reply.status, reply.json()["code"]) == (400, code)


def test_filters(folders: Bucket) -> None:
    def found(**query: Any) -> list[str]:
        return names(folders.listing(recursive="true", **query))

    assert found(size_min=3, size_max=5) == ["a/b/c", "a/b/d", "a/e/f"]
    assert found(md5=folders.record("z.txt")["md5"]) == ["z.txt"]
    assert found(glob="*.txt") == ["z.txt"]
    assert found(glob="/a/*") == ["a/b"]
    assert found(glob="/a/**") == ["a/b", "a/b/c", "a/b/d", "a/e/f"]
    assert found(glob="/?", q="a") == ["a"]
    assert found(ts_max="2000-01-01") == []
    assert found(ts_min="2000-01-01T00:00:00Z", content_type="text/plain") == ["a", "a/b/c", "a/e/f", "z/y/x/w", "ü/ä"]


@pytest.mark.parametrize("query", [{}, {"vfolder": "a"}, {"recursive": "true"}, {"prefix": "a"}])
@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_descending_is_ascending_backwards(query: dict[str, str], limit: int, folders: Bucket) -> None:
    whole = folders.listing(**query)
    found = list(pages(folders, **query, limit=limit, order="desc"))
    assert [key for page in found for key in names(page)] == names(whole)[::-1]
    assert [folder for page in found for folder in page["vfolders"]] == whole["vfolders"][::-1]


def test_what_folders_hold(folders: Bucket) -> None:
    sizes = {key: number for number, key in enumerate(KEYS)}
    root = folders.service.json("GET", f"{folders.path}/folders")
    assert (root["size"], root["keyamount"]) == (sum(sizes.values()), len(KEYS))
    assert [(each["vfolder"], each["keyamount"]) for each in root["vfolders"]] == [("a", 4), ("z", 1), ("ü", 1)]
    inner = folders.service.json("GET", f"{folders.path}/folders?vfolder=a&limit=1")
    assert inner["size"] == sum(size for key, size in sizes.items() if key.startswith("a/"))
    assert [each["vfolder"] for each in inner["vfolders"]] == ["a/b"]
    rest = folders.service.json("GET", f"{folders.path}/folders?vfolder=a&cursor={inner['cursor']}")
    assert ([each["vfolder"] for each in rest["vfolders"]], rest["cursor"]) == (["a/e"], None)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("vfolder=nowhere", 404, "folder_not_found"),
        ("vfolder=%00", 400, "invalid_request"),
        ("limit=0", 400, "invalid_request"),
        ("cursor=x", 400, "invalid_cursor"),
        ("cursor=WyJrIiwgImEiXQ==", 400, "invalid_cursor"),
    ],
)
def test_folders_that_are_not_there(query: str, status: int, code: str, folders: Bucket) -> None:
    reply = folders.service.call("GET", f"{folders.path}/folders?{query}")
    assert (reply.status, reply.json()["code"]) == (status, code)


def test_unknown_bucket(shared: Service) -> None:
    reply = shared.call("GET", "/ceph/nobody/photos/keys")
    assert (reply.status, reply.json()["code"]) == (404, "bucket_not_found")


def test_what_is_deleted_is_not_listed(bucket: Bucket) -> None:
    bucket.put("a/b", b"x")
    bucket.put("c", b"x")
    bucket.delete("a/b")
    assert bucket.listing()["vfolders"] == []
    assert names(bucket.listing(recursive="true")) == ["c"]
