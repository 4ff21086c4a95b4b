"""The command line over many keys: filters, folders, deletions by the service, export and import."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bucket import Bucket
from tests.harness.patience import until
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct")  # the command line speaks HTTP as every other client

KEYS = ("a/b/1.txt", "a/b/2.png", "a/3.txt", "4.txt")


@pytest.fixture
def filled(service: Service) -> Bucket:
    """A bucket with a few keys; a key's size is its place in the list."""
    bucket = Bucket(service, "alice")
    for number, key in enumerate(KEYS):
        bucket.put(key, b"x" * number)
    return bucket


def lines(done: subprocess.CompletedProcess[str]) -> list[Any]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--glob", "*.txt"], ["4.txt", "a/3.txt", "a/b/1.txt"]),
        (["--glob", "/a/*"], ["a/3.txt"]),
        (["--size-min", "1", "--size-max", "2"], ["a/3.txt", "a/b/2.png"]),
        (["--match", "b/", "--descending"], ["a/b/2.png", "a/b/1.txt"]),
        (["--ts-max", "2000-01-01"], []),
        (["--md5", "d41d8cd98f00b204e9800998ecf8427e"], ["a/b/1.txt"]),
    ],
)
def test_ls_filters(options: list[str], wanted: list[str], filled: Bucket) -> None:
    found = lines(filled.service.command("ls", "-r", "--json", "alice/photos", *options))
    assert [record["key"] for record in found] == wanted


def test_du_by_folder(filled: Bucket) -> None:
    found = lines(filled.service.command("du", "--folders", "--json", "alice/photos/a"))
    assert [(each["place"], each["size"], each["keyamount"]) for each in found] == [
        ("alice/photos/a/b", 1, 2),
        ("alice/photos/a", 3, 3),
    ]
    assert filled.service.command("du", "alice/photos/none").returncode == 3


def test_rm_by_the_service(filled: Bucket) -> None:
    assert filled.service.command("rm", "--bulk", "alice/photos/a").returncode == 2
    (ended,) = lines(filled.service.command("rm", "-r", "--bulk", "--json", "alice/photos/a"))
    assert (ended["state"], ended["keys_deleted"]) == ("success", 3)
    assert lines(filled.service.command("deletion", "ls", "--json", "alice/photos")) == [ended]
    assert lines(filled.service.command("deletion", "show", "-f", "--json", "alice/photos", ended["id"])) == [ended]
    assert filled.service.command("deletion", "cancel", "alice/photos", ended["id"]).returncode == 6
    assert filled.service.command("deletion", "show", "alice/photos", "none").returncode == 3
    assert filled.usage() == (3, 1)


def test_rm_takes_the_key_that_has_the_folders_name_whoever_does_it(filled: Bucket) -> None:
    for options in (["-r"], ["-r", "--bulk"]):
        filled.put("a/b", b"a key, and a folder")
        filled.put("a/b/c", b"below it")
        assert filled.service.command("rm", *options, "alice/photos/a/b").returncode == 0
        assert not filled.exists("a/b")
        assert not filled.exists("a/b/c")
    assert filled.exists("a/3.txt")
    filled.put("alone", b"no folder")
    assert filled.service.command("rm", "-r", "--bulk", "alice/photos/alone").returncode == 0
    assert not filled.exists("alone")


def test_export_and_import(launch: Callable[..., Service], filled: Bucket, tmp_path: Path) -> None:
    exported = filled.service.command("export", "--urls", "alice/photos/a")
    assert [record["key"] for record in lines(exported)] == ["a/3.txt", "a/b/1.txt", "a/b/2.png"]
    file = tmp_path / "listing.ndjson"
    file.write_text(exported.stdout)
    other = launch("other", origin_allowed_ports=str(filled.service.port))
    taken = Bucket(other, "bob")
    (report,) = lines(other.command("import", "--json", "bob/photos", str(file)))
    assert (report["created"], report["refused"]) == (3, 0)
    until(lambda: taken.usage() == (3, 3))
    file.write_text(exported.stdout + "nonsense\n")
    again = other.command("import", "--json", "bob/photos", str(file))
    assert (again.returncode, json.loads(again.stdout)["present"]) == (1, 3)
