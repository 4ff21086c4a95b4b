"""Keys as file names: nothing leaves the folder, everything comes back."""

import os
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.cli.filenames import UnsafeName, escaped, file_key, file_path, last_name, unescaped
from tests.harness.names import NASTY_KEYS

HOSTILE = [
    "../../etc/x",
    "..",
    ".",
    "a/../b",
    "a/..",
    "/etc/x",
    "//x",
    "a//b",
    "a/",
    "/",
    "",
    "a\0b",
    "x" * 256,
    "a/" + "é" * 128,
]
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.lists(
    st.sampled_from(["/", ".", "..", "%", "%2E", "%25", "a", "\0", "é"]), max_size=10
).map("".join)


@pytest.mark.parametrize("key", HOSTILE)
def test_a_key_that_no_file_may_be_named_after_is_refused(key: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeName):
        file_path(tmp_path, key)


@given(key=KEYS, escape=st.booleans())
def test_a_file_lies_inside_the_folder_or_is_refused(
    key: str, escape: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.getbasetemp()
    try:
        path = file_path(root, key, escape=escape)
    except UnsafeName:
        return
    assert Path(os.path.normpath(path)) == path
    assert root in path.parents
    assert unescaped(str(path.relative_to(root))) == key if escape else path.relative_to(root) == PurePath(key)


@given(key=KEYS)
def test_the_escaped_form_is_read_back(key: str) -> None:
    assert unescaped(escaped(key)) == key


@given(one=KEYS, other=KEYS)
def test_two_keys_never_share_an_escaped_form(one: str, other: str) -> None:
    assert (escaped(one) == escaped(other)) == (one == other)


SHORT_NAMES = {
    name: key for name, key in NASTY_KEYS.items() if all(len(escaped(part).encode()) <= 255 for part in key.split("/"))
}


@pytest.mark.parametrize("key", SHORT_NAMES.values(), ids=SHORT_NAMES.keys())
def test_every_key_that_fits_survives_the_way_through_the_disk(key: str, tmp_path: Path) -> None:
    path = file_path(tmp_path, key, escape=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    found = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert [file_key(each.relative_to(tmp_path), unescape=True) for each in found] == [key]


def test_a_link_below_the_folder_is_not_followed_out_of_it(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(UnsafeName):
        file_path(root, "link/x")
    (root / "inner").mkdir()
    (root / "near").symlink_to(root / "inner")
    assert file_path(root, "near/x") == root / "near" / "x"


def test_a_file_name_that_is_not_utf_8_can_not_be_a_key() -> None:
    with pytest.raises(UnsafeName):
        file_key(PurePath(os.fsdecode(b"a\xff")))


@pytest.mark.parametrize(("key", "name"), [("a/b", "b"), ("b", "b"), ("a/..b", "..b")])
def test_a_single_key_takes_its_last_segment(key: str, name: str) -> None:
    assert last_name(key) == name


@pytest.mark.parametrize("key", ["a/..", "..", "a/", "a/."])
def test_a_single_key_without_a_usable_last_segment_is_refused(key: str) -> None:
    with pytest.raises(UnsafeName):
        last_name(key)
