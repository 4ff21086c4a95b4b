"""Addresses on the command line: what is tenant, bucket, key, folder and prefix."""

import pytest

from cephstorage.cli.exits import UsageMistake
from cephstorage.cli.places import Place, bucket_place, is_tenant, key_place, only_bucket
from tests.harness.names import NASTY_KEYS


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("alice/photos", Place("alice", "photos")),
        ("alice/photos/", Place("alice", "photos")),
        ("alice/photos/a/b.jpg", Place("alice", "photos", "a/b.jpg")),
        ("alice/photos//a", Place("alice", "photos", "/a")),
        ("alice/photos/a/", Place("alice", "photos", "a/")),
        ("alice/photos/../..", Place("alice", "photos", "../..")),
        ("alice___photos", Place("alice", "photos")),
        ("alice___photos/a___b/c", Place("alice", "photos", "a___b/c")),
        ("alice/photos/x___y", Place("alice", "photos", "x___y")),
    ],
)
def test_a_place_is_read_without_touching_the_key(text: str, place: Place) -> None:
    assert bucket_place(text) == place


@pytest.mark.parametrize("key", NASTY_KEYS.values(), ids=NASTY_KEYS.keys())
def test_every_key_can_be_addressed(key: str) -> None:
    assert key_place(f"alice/photos/{key}").key == key


@pytest.mark.parametrize("text", ["", "/", "alice", "alice/", "/photos/a", "___photos", "alice___"])
def test_what_names_no_bucket_is_a_usage_mistake(text: str) -> None:
    with pytest.raises(UsageMistake):
        bucket_place(text)


def test_a_key_is_asked_for_where_one_is_needed_and_refused_where_not() -> None:
    with pytest.raises(UsageMistake):
        key_place("alice/photos/")
    with pytest.raises(UsageMistake):
        only_bucket("alice/photos/a")


@pytest.mark.parametrize(
    ("key", "folder", "prefix"),
    [("", "", ""), ("a", "a", "a/"), ("a/", "a", "a/"), ("a//", "a/", "a//"), ("/", "", "/"), ("/a", "/a", "/a/")],
)
def test_a_place_as_a_folder(key: str, folder: str, prefix: str) -> None:
    place = Place("alice", "photos", key)
    assert (place.folder, place.prefix) == (folder, prefix)


@pytest.mark.parametrize(("key", "result"), [("", "n"), ("a/", "a/n"), ("a", "a"), ("a/b", "a/b")])
def test_a_name_goes_below_a_folder_and_gives_way_to_a_key(key: str, result: str) -> None:
    assert Place("alice", "photos", key).holding("n") == result


def test_a_tenant_stands_alone() -> None:
    assert is_tenant("alice")
    assert is_tenant("alice/")
    assert not any(is_tenant(text) for text in ("alice/photos", "alice___photos", "", "/"))
