"""Names: what is legal, what survives the way through a URL, and folders that lose no key."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cephstorage.domain.errors import InvalidKey, InvalidName
from cephstorage.domain.names import (
    BucketName,
    child_folder,
    decode_target,
    encode_key,
    host_name,
    key_name,
    prefix_end,
    tenant_name,
    vfolder_of,
)
from tests.harness.names import NASTY_KEYS, REFUSED_TARGETS

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
PATHS = st.lists(st.sampled_from(["/", "a", "b", ".", "..", "é", "%"]), min_size=1, max_size=8).map("".join)
KEYS = TEXT | PATHS

STRICT = ["a", "0", "a-b", "a--b", "0-9", "x" * 63]
NOT_STRICT = ["", "-", "-a", "a-", "A", "a_b", "a___b", "a.b", "a b", "a\n", "é", "x" * 64, "a/b", "١"]


@pytest.mark.parametrize("name", STRICT)
def test_strict_names_are_legal(name: str) -> None:
    assert tenant_name(name) == name
    assert str(BucketName(name, name)) == f"{name}___{name}"


@pytest.mark.parametrize("name", NOT_STRICT)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        tenant_name(name)
    with pytest.raises(InvalidName):
        BucketName(name, "b")
    with pytest.raises(InvalidName):
        BucketName("a", name)


def test_a_tenant_may_not_be_called_like_a_route() -> None:
    with pytest.raises(InvalidName, match="reserved"):
        tenant_name("progress")
    with pytest.raises(InvalidName, match="reserved"):
        BucketName("progress", "b")
    assert BucketName("a", "progress").bucketname == "progress"


@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True))
def test_full_names_round_trip(name: str) -> None:
    bucket = BucketName("alice", name)
    assert BucketName.parse(str(bucket)) == bucket


@pytest.mark.parametrize(
    "full", ["", "alice", "alice__photos", "alice____photos", "a___b___c", "___b", "a___", "A___b"]
)
def test_bad_full_names(full: str) -> None:
    with pytest.raises(InvalidName):
        BucketName.parse(full)


@pytest.mark.parametrize("key", NASTY_KEYS.values(), ids=NASTY_KEYS)
def test_nasty_keys_are_legal_and_survive_the_url(key: str) -> None:
    assert key_name(key) == key
    encoded = encode_key(key)
    assert decode_target(encoded.encode("ascii")) == key


def test_nasty_keys_stay_distinct() -> None:
    assert len({encode_key(key) for key in NASTY_KEYS.values()}) == len(NASTY_KEYS)


@pytest.mark.parametrize("key", ["", "\0", "a\0b", "x" * 1025, "é" * 513, "\ud800", "a\udcff"])
def test_illegal_keys(key: str) -> None:
    with pytest.raises(InvalidKey):
        key_name(key)


@pytest.mark.parametrize("raw", REFUSED_TARGETS.values(), ids=REFUSED_TARGETS)
def test_refused_targets(raw: bytes) -> None:
    with pytest.raises(InvalidKey):
        key_name(decode_target(raw))


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (b"a%2Fb", "a/b"),
        (b"a%252Fb", "a%2Fb"),
        (b"a+b", "a+b"),
        (b"a%20b", "a b"),
        (b"%7E%7e~", "~~~"),
        (b"%2E%2E", ".."),
        (b"caf%C3%A9", "café"),
        ("café".encode(), "café"),
    ],
)
def test_targets_are_decoded_exactly_once(raw: bytes, key: str) -> None:
    assert decode_target(raw) == key


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        ("a/b/c.txt", "a/b/c.txt"),
        ("a/", "a/"),
        ("a//b", "a%2F%2Fb"),
        ("a//", "a%2F%2F"),
        ("/a", "%2Fa"),
        ("/", "%2F"),
        ("a/../b", "a%2F%2E%2E%2Fb"),
        ("x/y/../z/w", "x/y%2F%2E%2E%2Fz/w"),
        ("./a", "%2E%2Fa"),
        ("a/..", "a%2F%2E%2E"),
        ("a%2Fb", "a%252Fb"),
        ("a b+c?d#e", "a%20b%2Bc%3Fd%23e"),
    ],
)
def test_encoding_table(key: str, encoded: str) -> None:
    assert encode_key(key) == encoded


@given(KEYS)
def test_encoding_round_trips(key: str) -> None:
    assert decode_target(encode_key(key).encode("ascii")) == key


@given(KEYS.filter(lambda key: key not in {".", ".."}))
@example("a/../b")
@example("//")
def test_no_client_finds_anything_to_normalise(key: str) -> None:
    """What browsers remove (dot segments, escaped too) and what servers merge (//) never shows in the path."""
    segments = ("objects/bucket/" + encode_key(key)).lower().replace("%2e", ".").split("/")
    assert not {".", ".."} & set(segments)
    assert "" not in segments[:-1]


@pytest.mark.parametrize(
    ("key", "vfolder"),
    [("a/b/c.txt", "a/b"), ("c.txt", ""), ("a/", "a"), ("a//b", "a/"), ("/a", ""), ("//a", "/"), ("/", "")],
)
def test_vfolder(key: str, vfolder: str) -> None:
    assert vfolder_of(key) == vfolder


EDGE = st.text(st.sampled_from("ab\ud7ff\ue000\U0010fffe\U0010ffff"), max_size=5)
PREFIXES = EDGE | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(PREFIXES, PREFIXES)
@example("\ud7ff", "a")
@example("a\U0010ffff", "b")
def test_prefix_end_holds_whatever_begins_with_the_prefix(prefix: str, rest: str) -> None:
    end = prefix_end(prefix)
    assert end is None or (prefix + rest).encode() < end.encode()


@given(PREFIXES, PREFIXES)
@example("a", "b")
@example("\ud7ff", "\ue000")
def test_prefix_end_holds_nothing_else(prefix: str, other: str) -> None:
    end = prefix_end(prefix)
    inside = other.encode() >= prefix.encode() and (end is None or other.encode() < end.encode())
    assert inside == other.startswith(prefix)


@pytest.mark.parametrize("prefix", ["", "\U0010ffff", "\U0010ffff" * 3])
def test_prefixes_without_an_end(prefix: str) -> None:
    assert prefix_end(prefix) is None


@pytest.mark.parametrize(
    ("parent", "vfolder", "child"),
    [
        ("", "", None),
        ("", "a", "a"),
        ("", "a/b/c", "a"),
        ("", "/", "/"),
        ("", "/a/b", "/a"),
        ("", "//a", "/"),
        ("/", "//a/b", "//a"),
        ("/", "/a", None),
        ("a", "a", None),
        ("a", "a/b", "a/b"),
        ("a", "a/b/c", "a/b"),
        ("a", "ab", None),
        ("a", "a//c", "a/"),
        ("a/", "a//c", "a//c"),
        ("a/b", "a", None),
    ],
)
def test_child_folder_table(parent: str, vfolder: str, child: str | None) -> None:
    assert child_folder(parent, vfolder) == child


def walk(keys: set[str], folder: str = "") -> list[str]:
    """Every key as a console finds it: the folder's own keys, then each sub-folder."""
    found = [key for key in keys if vfolder_of(key) == folder]
    children = {child_folder(folder, vfolder_of(key)) for key in keys} - {None}
    return found + list(itertools.chain.from_iterable(walk(keys, child) for child in children if child is not None))


@given(st.sets(PATHS, max_size=12))
@example({"/", "//", "///", "a", "/a", "a/", "//a/b", "a//b", "/a/b"})
def test_walking_folders_reaches_every_key_exactly_once(keys: set[str]) -> None:
    assert sorted(walk(keys)) == sorted(keys)


@given(PATHS, PATHS)
def test_a_child_lies_below_its_parent_and_above_what_it_holds(parent: str, vfolder: str) -> None:
    child = child_folder(parent, vfolder)
    if child is not None:
        assert child.startswith(f"{parent}/" if parent else "")
        assert child != parent
        assert vfolder == child or vfolder.startswith(f"{child}/")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("Mirror.Example", "mirror.example"),
        ("mirror.example:8080", "mirror.example"),
        ("mirror.example:", "mirror.example"),
        ("mirror.example.", "mirror.example"),
        ("mirror.example.:80", "mirror.example"),
        (" mirror ", "mirror"),
        ("my_mirror", "my_mirror"),
        ("127.0.0.1:8080", "127.0.0.1"),
        (".".join(["x" * 63, "y" * 63, "z" * 63, "w" * 61]), ".".join(["x" * 63, "y" * 63, "z" * 63, "w" * 61])),
    ],
)
def test_hosts(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    "host",
    ["", ":80", ".", "a..b", "a...", ".a", "-a", "a-", "[::1]:80", "::1", "a:b", "a:80:90", "a b", "a/b", "a@b", "x" * 64,
     "é.example", "\u212a.example", "\u017f.example", "a\n.b", ".".join(["x" * 63] * 4)],
)  # fmt: skip
def test_bad_hosts(host: str) -> None:
    with pytest.raises(InvalidName):
        host_name(host)
