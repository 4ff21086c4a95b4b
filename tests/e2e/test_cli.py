"""The command line as a person and a script use it: a process of its own against a real service."""

import hashlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cephstorage_client import Client
from tests.harness.behaviour import Gate
from tests.harness.content import MIB, Content
from tests.harness.origin import FaultOrigin
from tests.harness.service import Service

pytestmark = pytest.mark.stacks("direct", "real")  # the command line speaks HTTP as every other client

COMMAND = [sys.executable, "-m", "cephstorage"]


@dataclass
class Result:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Cli = Callable[..., Result]


def run(env: dict[str, str], *arguments: str, stdin: bytes = b"", **more: Any) -> Result:
    done = subprocess.run(
        [*COMMAND, *arguments], check=False, input=stdin, capture_output=True, env=env, timeout=120, **more
    )
    return Result(done.returncode, done.stdout, done.stderr.decode())


@pytest.fixture
def cli(service: Service) -> Cli:
    """Run a command in the service's own environment: it finds address and token by itself."""

    def call(*arguments: str, **more: Any) -> Result:
        return run(service.env, *arguments, **more)

    assert call("bucket", "create", "alice/photos").code == 0
    return call


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_a_file_goes_up_is_seen_and_comes_down(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "cat.jpg"
    source.write_bytes(os.urandom(100_000))
    put = cli("put", str(source), "alice/photos/pets/", "--json")
    assert put.code == 0
    assert put.json["key"] == "pets/cat.jpg"
    assert put.json["md5"] == md5(source.read_bytes())
    assert put.json["content_type"] == "image/jpeg"
    assert put.err == ""

    assert cli("ls", "alice/photos", "--json").lines == [{"vfolder": "pets"}]
    assert [each["key"] for each in cli("--json", "ls", "alice/photos/pets").lines] == ["pets/cat.jpg"]
    assert [each["key"] for each in cli("ls", "-r", "--json", "alice/photos").lines] == ["pets/cat.jpg"]
    assert "pets/cat.jpg" in cli("ls", "alice/photos/pets/cat.jpg").text
    assert cli("du", "alice", "--json").lines == [{"place": "alice/photos", "size": 100_000, "keyamount": 1}]
    assert cli("du", "alice/photos/pets", "--json").json["size"] == 100_000

    got = cli("get", "alice/photos/pets/cat.jpg", str(tmp_path / "copy"))
    assert (got.code, (tmp_path / "copy").read_bytes()) == (0, source.read_bytes())
    (tmp_path / "folder").mkdir()
    assert cli("get", "alice/photos/pets/cat.jpg", str(tmp_path / "folder")).code == 0
    assert (tmp_path / "folder" / "cat.jpg").read_bytes() == source.read_bytes()

    assert cli("rm", "alice/photos/pets/cat.jpg").code == 0
    assert cli("get", "alice/photos/pets/cat.jpg", "-").code == 3
    assert cli("bucket", "rm", "alice/photos").code == 0
    assert cli("bucket", "ls", "alice", "--json").lines == []


def test_standard_input_and_output(cli: Cli) -> None:
    data = os.urandom(3 * MIB)
    assert cli("put", "-", "alice/photos/piped", stdin=data).code == 0
    got = cli("get", "alice/photos/piped", "-")
    assert (got.code, got.out, got.err) == (0, data, "")
    assert cli("put", "-", "alice/photos/piped", "--md5", "0" * 32, stdin=data).code == 1
    assert cli("get", "alice/photos/piped", "-").out == data


@pytest.mark.stacks("direct")
def test_pipes_are_read_and_written_like_standard_input_and_output(cli: Cli, tmp_path: Path) -> None:
    """A shell gives a pipe a name, too: put <(...), get ... >(...), /dev/stdout, /dev/null."""
    pipe, link, data = tmp_path / "pipe", tmp_path / "link", os.urandom(MIB)
    os.mkfifo(pipe)
    for options in ((), ("--no-checksum",)):
        writer = threading.Thread(target=pipe.write_bytes, args=(data,), daemon=True)
        writer.start()
        assert cli("put", "--json", str(pipe), "alice/photos/piped", *options).json["md5"] == md5(data)
        writer.join()
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert cli("get", "alice/photos/piped", str(pipe)).code == 0
    reader.join()
    assert (read, pipe.is_fifo()) == ([data], True)
    link.symlink_to(tmp_path / "file")
    (tmp_path / "file").touch()
    assert cli("get", "alice/photos/piped", str(link)).code == 0
    assert (link.is_symlink(), (tmp_path / "file").read_bytes()) == (True, data)


def test_a_folder_goes_up_and_comes_down(cli: Cli, tmp_path: Path) -> None:
    tree = {"a.txt": b"a", "b/c.txt": b"c", "b/.hidden": b"h", "ü/ф f": b"u", "empty": b""}
    for name, data in tree.items():
        path = tmp_path / "up" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    put = cli("put", "-r", str(tmp_path / "up"), "alice/photos/tree", "--json")
    assert {record["key"] for record in put.lines} == {f"tree/{name}" for name in tree}
    got = cli("get", "-r", "alice/photos/tree", str(tmp_path / "down"), "--json")
    assert (put.code, got.code) == (0, 0)
    files = {path for path in (tmp_path / "down").rglob("*") if path.is_file()}
    assert {str(path.relative_to(tmp_path / "down")): path.read_bytes() for path in files} == tree
    assert cli("get", "-r", "alice/photos/tree", str(tmp_path / "part"), "--prefix", "b/").code == 0
    assert sorted(path.name for path in (tmp_path / "part" / "b").iterdir()) == [".hidden", "c.txt"]
    assert cli("get", "-r", "alice/photos/none", str(tmp_path / "none")).code == 3
    assert cli("rm", "-r", "alice/photos/tree").code == 0
    assert cli("ls", "-r", "alice/photos", "--json").lines == []


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (("alice/photos",), ["f/", "x2/", "x1"]),
        (("alice/photos", "--prefix", "x"), ["x2/", "x1"]),
        (("alice/photos/f/",), ["f/x2/", "f/w", "f/x1"]),
        (("alice/photos/f", "--prefix", "x"), ["f/x2/", "f/x1"]),
        (("alice/photos/f", "-r"), ["f/w", "f/x1", "f/x2/z"]),
        (("alice/photos", "-r", "--match", "z"), ["f/x2/z"]),
        (("alice/photos", "-r", "--content-type", "text/none"), []),
        (("alice/photos/f", "-r", "--match", "none"), []),
    ],
)
def test_listing(arguments: tuple[str, ...], listed: list[str], folders_cli: Cli) -> None:
    result = folders_cli("ls", *arguments, "--json")
    assert result.code == 0
    assert [line.get("key") or f"{line['vfolder']}/" for line in result.lines] == listed


@pytest.fixture(scope="module")
def folders_cli(shared_service: Service) -> Cli:
    """The shared service with a bucket of folders."""
    with Client(shared_service.url, shared_service.admin_token) as client:
        for key in ("x1", "x2/y", "f/x1", "f/x2/z", "f/w"):
            client.put_stream("alice", "photos", key, [b"1"])
    return lambda *arguments: run(shared_service.env, *arguments)


HOSTILE = ["../../etc/x", "/abs", "//two", "a/../../b", "c//d", "a/", "x/..", ".", "x" * 300]
HARMLESS = ["ok.txt", "a/ok.txt", "..ok", "100%", "-rf"]


def test_no_key_is_written_outside_the_folder(cli: Cli, service: Service, tmp_path: Path) -> None:
    with Client(service.url, service.admin_token) as client:
        for key in HOSTILE + HARMLESS:
            client.put_stream("alice", "photos", key, [key.encode()])
    down = tmp_path / "deep" / "down"
    before = {path for path in tmp_path.rglob("*") if service.data_dir not in path.parents}
    got = cli("get", "-r", "alice/photos", str(down), "--json")
    assert got.code == 1
    assert {line["name"] for line in got.lines if "skipped" in line} == set(HOSTILE)
    told = [json.loads(line)["error"]["msg"] for line in got.err.splitlines()]
    assert all(repr(key) in line for key, line in zip(sorted(HOSTILE), told, strict=True))
    after = {path for path in tmp_path.rglob("*") if service.data_dir not in path.parents and path.is_file()}
    assert after - before == {down / key for key in HARMLESS}
    assert all((down / key).read_text() == key for key in HARMLESS)

    escaped = cli("get", "-r", "--escape", "alice/photos", str(tmp_path / "escaped"), "--json")
    assert [line["name"] for line in escaped.lines if "skipped" in line] == ["x" * 300]
    assert all((tmp_path / "escaped") in Path(line["path"]).parents for line in escaped.lines if "path" in line)
    cli("bucket", "create", "alice/again")
    assert cli("put", "-r", "--unescape", str(tmp_path / "escaped"), "alice/again").code == 0
    again = {record["key"] for record in cli("ls", "-r", "alice/again", "--json").lines}
    assert again == set(HOSTILE + HARMLESS) - {"x" * 300}
    assert cli("get", "alice/photos/..").code == 2


def test_a_file_and_a_folder_of_one_name_do_not_stop_the_others(cli: Cli, tmp_path: Path) -> None:
    for key in ("a", "a/b", "c"):
        cli("put", "-", f"alice/photos/{key}", stdin=key.encode())
    got = cli("get", "-r", "alice/photos", str(tmp_path / "down"), "--json")
    assert got.code == 1
    assert [line["name"] for line in got.lines if "skipped" in line] == ["a/b"]
    assert (tmp_path / "down" / "c").read_bytes() == b"c"


def test_a_url_becomes_a_key(cli: Cli, origin: FaultOrigin) -> None:
    body = Content(1, 2 * MIB)
    origin.put("/iso/disk.iso", body, content_type="application/x-test")
    fetched = cli("fetch", f"{origin.url}/iso/disk.iso", "alice/photos/isos/", "--md5", body.md5, "--json")
    assert (fetched.code, fetched.json["state"], fetched.json["key"]) == (0, "success", "isos/disk.iso")
    assert fetched.err == ""
    assert md5(cli("get", "alice/photos/isos/disk.iso", "-").out) == body.md5
    assert "success" in cli("fetch", f"{origin.url}/iso/disk.iso", "alice/photos/again").text

    wrong = cli("fetch", f"{origin.url}/iso/disk.iso", "alice/photos/wrong", "--md5", "0" * 32)
    assert (wrong.code, wrong.out) == (1, b"")
    assert "md5_mismatch" in wrong.err
    assert cli("get", "alice/photos/wrong", "-").code == 3
    assert cli("fetch", f"{origin.url}/iso/disk.iso", "alice/photos/again", "--if-absent").code == 6
    assert cli("fetch", f"{origin.url}/none", "alice/photos/none").code == 1
    assert cli("fetch", f"{origin.url}/", "alice/photos/").code == 2


def test_a_creation_in_the_background_is_followed_and_cancelled(cli: Cli, origin: FaultOrigin) -> None:
    gate, body = Gate(), Content(1, MIB)
    origin.put("/slow", body, header_gate=gate)
    token = cli("fetch", f"{origin.url}/slow", "alice/photos/slow", "--no-wait").text.strip()
    state = cli("progress", token, "--json")
    assert (state.code, state.json["progress"]) == (0, "inprogress")
    assert cli("progress", token, "--cancel").code == 0
    assert cli("progress", token).code == 1
    assert cli("progress", token, "--cancel").code == 6
    assert cli("progress", "no-such-token").code == 3
    token = cli("fetch", f"{origin.url}/slow", "alice/photos/slow", "--no-wait", "--json").json["token"]
    gate.set()
    assert cli("progress", token, "--follow", "--json").json["state"] == "success"


def test_ctrl_c_leaves_the_creation_running(cli: Cli, service: Service, origin: FaultOrigin) -> None:
    gate = Gate()
    origin.put("/slow", Content(1, MIB), gate=gate, gate_after=1000)
    command = [*COMMAND, "fetch", f"{origin.url}/slow", "alice/photos/slow"]
    with subprocess.Popen(command, env=service.env, stderr=subprocess.PIPE) as process:
        assert gate.reached.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    gate.set()
    assert cli("fetch", f"{origin.url}/slow", "alice/photos/slow", "--json").json["state"] == "success"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("ls",), 2),
        (("ls", "alice/photos", "--nonsense"), 2),
        (("nonsense",), 2),
        (("rm", "alice"), 2),
        (("ls", "ALICE/photos"), 2),
        (("put", "/", "alice/photos/x"), 2),
        (("put", "/nonexistent/file", "alice/photos/x"), 1),
        (("ls", "alice/none"), 3),
        (("ls", "alice/photos/none"), 3),
        (("get", "alice/photos/none", "-"), 3),
        (("rm", "alice/photos/none"), 3),
        (("rm", "-r", "alice/photos/none"), 3),
        (("du", "alice/photos/none"), 3),
        (("mirror", "rm", "none.test"), 3),
        (("token", "revoke", "none"), 3),
        (("--token", "wrong", "ls", "alice"), 4),
        (("ls", "alice", "--token", "wrong"), 4),
        (("--url", "http://127.0.0.1:1", "ls", "alice"), 5),
        (("--url", "nonsense", "ls", "alice"), 2),
    ],
)
def test_exit_codes(arguments: tuple[str, ...], code: int, shared_cli: Cli) -> None:
    result = shared_cli(*arguments)
    assert (result.code, result.out) == (code, b"")
    assert "Traceback" not in result.err
    if code != 2:
        assert len(result.err.splitlines()) == 1
        assert result.err.startswith("cephstorage: ")


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for tests that leave it as it is."""
    service = Service(tmp_path_factory.mktemp("shared") / "data").start()
    run(service.env, "bucket", "create", "alice/photos")
    yield service
    service.stop()


@pytest.fixture(scope="module")
def shared_cli(shared_service: Service) -> Cli:
    """Commands against the shared service."""
    return lambda *arguments: run(shared_service.env, *arguments)


def test_errors_are_documents_under_json(shared_cli: Cli) -> None:
    result = shared_cli("ls", "alice/none", "--json")
    assert json.loads(result.err)["error"]["code"] == "bucket_not_found"


def test_conflicts(cli: Cli) -> None:
    cli("put", "-", "alice/photos/k", stdin=b"1")
    assert cli("put", "-", "alice/photos/k", "--if-absent", stdin=b"2").code == 6
    assert cli("put", "-", "alice/photos/k", "--if-match", "wrong", stdin=b"2").code == 6
    assert cli("bucket", "rm", "alice/photos").code == 6
    assert cli("get", "alice/photos/k", "-").out == b"1"


@pytest.mark.stacks("direct")  # there is an edge to be told; see tests/e2e/edge/test_purges.py
def test_mirrors(cli: Cli, tmp_path: Path) -> None:
    rules = ("--rule", "*.deb=immutable", "--rule", "/live/**=revalidate:60")
    added = cli("mirror", "add", "deb.test", "http://origin.test/debian", "alice/deb", *rules, "--json")
    assert added.code == 0
    assert (added.json["mirror_host"], added.json["bucket_name"]) == ("deb.test", "alice___deb")
    assert [rule["path"] for rule in added.json["rules"]] == ["*.deb", "/live/**"]
    (tmp_path / "rules.toml").write_text("negative_ttl = 60\n[[rules]]\nsuffix = '.iso'\ndigest = '.sha256'\n")
    options = ("--rules-file", str(tmp_path / "rules.toml"), "--rule", "type:text/html=bypass", "--max-size", "1000000")
    added = cli("mirror", "add", "deb.test", "http://origin.test/debian", "alice/deb", *rules, *options, "--json")
    assert (added.json["negative_ttl"], added.json["max_size"]) == (60, 1000000)
    assert added.json["rules"][2:] == [
        {"path": "/**", "content_type": "text/html", "mode": "bypass"},
        {"suffix": ".iso", "digest": ".sha256"},
    ]
    assert [each["mirror_host"] for each in cli("mirror", "ls", "--json").lines] == ["deb.test"]
    assert [each["mirror_host"] for each in cli("mirror", "ls", "alice/deb", "--json").lines] == ["deb.test"]
    assert cli("mirror", "ls", "alice/photos", "--json").lines == []
    told = cli("explain", "http://deb.test/pool/a.deb", "--json")
    assert (told.json["mode"], told.json["key"]) == ("immutable", "pool/a.deb")
    assert "immutable" in cli("explain", "http://deb.test/pool/a.deb").text
    purged = cli("purge", "http://deb.test/pool/a%20b.deb?x#part", "--json")
    assert (purged.code, purged.json["key"], purged.json["told"], purged.json["later"]) == (0, "pool/a b.deb?x", [], [])
    assert cli("purge", "http://deb.test", "--json").json["path"] == "/"
    assert cli("purge", "http://nobody.test/a").code == 3
    assert cli("purge", "pool/a.deb").code == 2
    assert "deb.test" in cli("mirror", "ls").text
    assert cli("mirror", "rm", "deb.test").code == 0
    assert cli("mirror", "ls", "--json").lines == []


def test_copies_of_a_mirror(cli: Cli, origin: FaultOrigin, tmp_path: Path) -> None:
    for path in ("/cli/1", "/cli/2"):
        origin.put(path, b"12345")
    there = f"{origin.url}/cli"
    assert cli("mirror", "add", "copies.test", there, "alice/copies").code == 0
    names = tmp_path / "names"
    names.write_text("/1\n# more\nhttp://copies.test/2\n/not-there\n")
    warmed = cli("mirrors", "warm", "copies.test", "--list", str(names), "--json")
    assert (warmed.code, warmed.json["counts"]["fetched"], warmed.json["counts"]["failed"]) == (1, 2, 1)
    assert "/not-there" in cli("mirror", "job", warmed.json["job"]).text
    verified = cli("mirror", "verify", "copies.test", "--prefix", "1", "--json")
    assert (verified.code, verified.json["counts"]["verified"]) == (0, 1)
    assert cli("mirror", "purge", "copies.test", "--all", "--refresh", "--json").json["counts"]["confirmed"] == 2
    assert cli("mirror", "purge", "copies.test").code == 2
    purged = cli("purge", "http://copies.test/1", "--edges-only", "--json")
    assert (purged.code, "removed" in purged.json["counts"]) == (0, False)
    gone = cli("mirror", "purge", "copies.test", "--all", "--json")
    assert (gone.code, gone.json["counts"]["removed"]) == (0, 2)
    listed = cli("mirror", "jobs", "copies.test", "--json").lines
    assert [job["kind"] for job in listed] == ["purge", "edges", "refresh", "verify", "warm"]
    assert "refresh" in cli("mirror", "jobs", "copies.test").text
    assert cli("mirror", "job", gone.json["job"], "--cancel").code == 6
    assert cli("mirrors", "usage", "copies.test", "--json").json["requests"] == 0
    assert "origin_bytes" in cli("mirrors", "usage", "copies.test", "--step", "60").text
    assert cli("mirror", "job", "nobody").code == 3
    assert cli("mirror", "warm", "copies.test", "--list", str(tmp_path / "nothing")).code == 1
    assert cli("mirror", "rm", "copies.test").code == 0


def test_tokens(cli: Cli, service: Service) -> None:
    cli("put", "-", "alice/photos/k", stdin=b"1")
    made = cli("token", "create", "--role", "read-only", "--username", "alice", "--expires-in", "1h", "--json").json
    env = {**service.env, "CEPHSTORAGE_TOKEN": made["token"], "CEPHSTORAGE_URL": service.url}
    assert run(env, "get", "alice/photos/k", "-").out == b"1"
    assert run(env, "rm", "alice/photos/k").code == 4
    assert run(env, "ls", "bob").code == 4
    listed = cli("token", "ls", "--json")
    assert made["id"] in {each["id"] for each in listed.lines}
    assert made["token"] not in listed.text + cli("token", "ls").text
    assert cli("token", "revoke", made["id"]).code == 0
    assert run(env, "get", "alice/photos/k", "-").code == 4
    printed = cli("token", "create", "--role", "tenant", "--username", "alice")
    assert len(printed.text.split()) == 1
    assert printed.err.startswith("id ")


@pytest.mark.stacks("direct")  # doctor has other findings there; see test_doctor_engines
def test_doctor(cli: Cli, service: Service) -> None:
    env = {**service.env, "CEPHSTORAGE_TRANSFER_SPOOL_QUOTA": str(MIB)}
    cli("put", "-", "alice/photos/k", stdin=b"1")
    healthy = run(env, "doctor", "--json")
    assert (healthy.code, healthy.json["ok"]) == (0, True)
    names = {finding["name"] for finding in healthy.json["findings"]}
    assert {
        "settings",
        "data folder",
        "spool",
        "disk space",
        "database",
        "usage",
        "SQLite",
        "clock",
        "service",
    } <= names
    (service.data_dir / "admin-token").chmod(0o644)
    sick = run(env, "doctor")
    assert sick.code == 1
    assert [line.split(":")[0] for line in sick.text.splitlines() if line.startswith("WRONG")] == ["WRONG  admin token"]
    assert "chmod 600" in run(env, "doctor", "--quiet").text
    assert service.stop() == 0
    (service.data_dir / "admin-token").chmod(0o600)
    stopped = run(env, "doctor", "--json")
    assert stopped.code == 0
    assert "not running" in {finding["name"]: finding["detail"] for finding in stopped.json["findings"]}["service"]
    broken = run({**env, "CEPHSTORAGE_WORKERS": "none"}, "doctor", "--json")
    assert broken.code == 1
    assert "CEPHSTORAGE_WORKERS" in broken.json["findings"][0]["detail"]


def test_doctor_makes_nothing(tmp_path: Path, service: Service) -> None:
    env = {**service.env, "CEPHSTORAGE_DATA_DIR": str(tmp_path / "none"), "CEPHSTORAGE_TRANSFER_SPOOL_QUOTA": str(MIB)}
    assert run(env, "doctor").code == 0
    assert not (tmp_path / "none").exists()


def test_bars_are_for_terminals_only(cli: Cli, service: Service, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(8 * MIB))
    command = [*COMMAND, "put", str(tmp_path / "big"), "alice/photos/big", "--json"]
    watcher, terminal = pty.openpty()
    seen: list[bytes] = []

    def watch() -> None:
        try:
            while data := os.read(watcher, 65536):
                seen.append(data)
        except OSError:  # the terminal's other side is closed: this is how it ends
            pass

    reader = threading.Thread(target=watch)
    reader.start()
    env = {**service.env, "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=terminal, timeout=120, check=False)
    os.close(terminal)
    reader.join(60)
    os.close(watcher)
    assert json.loads(done.stdout)["size"] == 8 * MIB
    assert b"big" in b"".join(seen)
    assert cli("put", str(tmp_path / "big"), "alice/photos/big").err == ""


def test_help_starts_without_the_heavy_libraries() -> None:
    probe = (
        "import sys, cephstorage.cli.main; "
        "print(sorted({'httpx', 'rich', 'pydantic', 'sqlalchemy', 'fastapi', 'asyncio'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    shown = run(dict(os.environ), "--help")
    assert shown.code == 0
    for name in ("serve", "put", "get", "fetch", "ls", "rm", "du", "progress", "mirror", "bucket", "explain", "token"):
        assert f"\n  {name} " in shown.text


def test_the_shell_completes_commands() -> None:
    env = {**os.environ, "_CEPHSTORAGE_COMPLETE": "complete_bash", "COMP_WORDS": "cephstorage mi", "COMP_CWORD": "1"}
    assert "mirror" in run(env).text


def test_version() -> None:
    assert set(run(dict(os.environ), "version", "--json").json) == {"cephstorage", "python"}
