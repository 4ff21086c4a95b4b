"""Small readings of arguments: durations, mirror rules, media types, URL names, loopback, sizes."""

import json
from pathlib import Path
from typing import Any

import pytest

from cephstorage.cli.buckets import lifecycle
from cephstorage.cli.exits import UsageMistake
from cephstorage.cli.metadata import parse_metadata
from cephstorage.cli.output import printable, readable_size, shown
from cephstorage.cli.quotas import number_of_keys
from cephstorage.cli.rules import parse_rule, read_policy
from cephstorage.cli.session import Session, is_loopback
from cephstorage.cli.tokens import duration
from cephstorage.cli.transfers import url_name
from cephstorage.cli.uploads import guessed_type


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("2m", 120), ("12h", 43200), ("30d", 2592000), ("1w", 604800), (" 1D ", 86400)],
)
def test_durations(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1", "1y", "1 d", "1.5h"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageMistake):
        duration(text)


@pytest.mark.parametrize(
    "given",
    ["p", "=v", "p_q=v", "p= v", "p=\u65e5", "p=" + "v" * 2048],
    ids=["no value", "no name", "_", "space", "ja", "long"],
)
def test_metadata_that_no_header_could_carry_is_refused_before_anything_is_sent(given: str) -> None:
    with pytest.raises(UsageMistake):
        parse_metadata([given])


def test_metadata_is_given_as_names_and_values() -> None:
    assert parse_metadata(["B=x=y", "a="]) == {"a": "", "b": "x=y"}
    assert parse_metadata([]) is None


@pytest.mark.parametrize(("text", "limit"), [("12", 12), (" None ", None)])
def test_numbers_of_keys(text: str, limit: int | None) -> None:
    assert number_of_keys(text) == limit


@pytest.mark.parametrize("text", ["", "1k", "5B", "-1", "1.5", "\u0665"])
def test_no_numbers_of_keys(text: str) -> None:
    with pytest.raises(UsageMistake):
        number_of_keys(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("*.deb=immutable", {"path": "*.deb", "mode": "immutable"}),
        ("/a/**=revalidate:60", {"path": "/a/**", "mode": "revalidate", "ttl": 60.0}),
        ("/a=b/*=deny", {"path": "/a=b/*", "mode": "deny"}),
        ("prefix:/a/=deny", {"prefix": "/a/", "mode": "deny"}),
        ("suffix:.iso=immutable", {"suffix": ".iso", "mode": "immutable"}),
        ("regex:/v[0-9]+/.*=revalidate:5", {"regex": "/v[0-9]+/.*", "mode": "revalidate", "ttl": 5.0}),
        ("type:text/html=revalidate:9", {"content_type": "text/html", "mode": "revalidate", "ttl": 9.0}),
        ("status:404,5xx=bypass", {"status": ["404", "5xx"], "mode": "bypass"}),
    ],
)
def test_mirror_rules(text: str, rule: dict[str, object]) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize("text", ["", "=", "a", "a=", "=deny", "a=revalidate:", "a=revalidate:x", "prefix:=deny"])
def test_no_mirror_rules(text: str) -> None:
    with pytest.raises(UsageMistake):
        parse_rule(text)


@pytest.mark.parametrize(
    "options",
    [
        {"expire": ["=1"], "none": True},
        {"trash_overwritten": True},
        {"no_trash": True, "trash_overwritten": True},
        {"no_trash": True, "trash_days": 1.0},
    ],
)
def test_a_lifecycle_that_contradicts_itself_is_no_change_in_silence(options: dict[str, Any]) -> None:
    with pytest.raises(UsageMistake):
        lifecycle(Session(url="http://127.0.0.1:9"), "alice/photos", **options)


RULE = {"suffix": ".iso", "digest": ".sha256", "response_headers": {"set": {"X-A": "b"}}}
FILES: dict[str, tuple[str, dict[str, object]]] = {
    "a list": ("r.json", {"rules": [RULE]}),
    "a table": ("r.json", {"negative_ttl": 5, "rules": [RULE]}),
    "no rules": ("r.json", {"negative_ttl": 5}),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_rules(tmp_path: Path, name: str) -> None:
    file, policy = FILES[name]
    written = json.dumps(policy["rules"] if name == "a list" else policy)
    (tmp_path / file).write_text(written)
    assert read_policy(tmp_path / file) == policy


def test_rules_in_toml(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        "negative_ttl = 5\n[[rules]]\nsuffix = '.iso'\ndigest = '.sha256'\n[rules.response_headers]\nset = { X-A = 'b' }\n"
    )
    assert read_policy(tmp_path / "r.toml") == {"negative_ttl": 5, "rules": [RULE]}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("r.json", "{"),
        ("r.json", "[1]"),
        ("r.json", '"x"'),
        ("r.json", '{"rules": 1}'),
        ("r.toml", "a ="),
        ("r.toml", "rules = [1]"),
    ],
)
def test_files_that_hold_no_rules(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageMistake):
        read_policy(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.txt", "text/plain"),
        ("a.json", "application/json"),
        ("a.tar.gz", "application/gzip"),
        ("a.txt.bz2", "application/x-bzip2"),
        ("a.unheard-of", None),
        ("a", None),
    ],
)
def test_media_types(name: str, media_type: str | None) -> None:
    assert guessed_type(name) == media_type


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://h/a/b.iso?x=y/z", "b.iso"),
        ("http://h/a%20b", "a b"),
        ("http://h/a/", ""),
        ("http://h", ""),
        ("http://h/a#f/g", "a"),
    ],
)
def test_names_of_urls(url: str, name: str) -> None:
    assert url_name(url) == name


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://127.1.2.3", "http://[::1]:8080/", "http://localhost:1"])
def test_loopback(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1", "http://localhost.example", "http://127.0.0.1@example.com", "http://127.0.0.1.example"]
)
def test_elsewhere(url: str) -> None:
    assert not is_loopback(url)


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (2**40, "1.0 TiB")]
)
def test_sizes(size: int, text: str) -> None:
    assert readable_size(size) == text


def test_a_key_can_not_rewrite_the_terminal() -> None:
    assert printable("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb\\nc\\u202ed"
    assert printable("ключ é") == "ключ é"


@pytest.mark.parametrize(("value", "text"), [(None, "-"), ("", "-"), (True, "yes"), (0, "0"), ({"a": 1}, '{"a": 1}')])
def test_values(value: object, text: str) -> None:
    assert shown(value) == text
