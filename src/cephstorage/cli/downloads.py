"""``get``: keys into files, folders and standard output. Nothing is ever written outside the target folder."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cephstorage.cli.bars import byte_bar
from cephstorage.cli.batch import Batch
from cephstorage.cli.exits import ExitCode, Failure, UsageMistake
from cephstorage.cli.filenames import UnsafeName, file_path, last_name
from cephstorage.cli.output import printable
from cephstorage.cli.places import Place, bucket_place, key_place
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import Client, Record

app = typer.Typer()


@verb(app, "get")
def get(
    session: Session,
    source: Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME/KEY, or a folder with -r.", metavar="SOURCE")],
    target: Annotated[
        str | None, typer.Argument(help="File, folder, or '-' for standard output.", metavar="TARGET")
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Every key below the folder.")] = False,
    prefix: Annotated[str, typer.Option(help="With -r: only keys that go on with this.")] = "",
    escape: Annotated[bool, typer.Option("--escape", help="With -r: write keys that no file can be named after.")] = (
        False
    ),
) -> ExitCode | None:
    """Download a key, or every key below a folder.

    Each file appears whole and verified, or not at all. A device or a pipe gets the bytes as they come.
    """
    with session.connect() as client:
        if recursive:
            if target == "-":
                raise UsageMistake("-r writes files: name a folder.")
            return _folder(session, client, bucket_place(source), Path(target or "."), prefix, escape=escape)
        place = key_place(source)
        if target == "-":
            _to_stdout(client, place)
            return None
        path = _target_file(place.key, target)
        record = _fetch_through(client, place, path) if _leads_on(path) else _fetch_file(client, place, path)
    session.output.document(_landed(record, path), printable(str(path)))
    return None


def _target_file(key: str, target: str | None) -> Path:
    if target is not None and not (path := Path(target)).is_dir():
        return path.resolve() if path.is_symlink() and path.is_file() else path
    try:
        return Path(target or ".") / last_name(key)
    except UnsafeName as error:
        raise UsageMistake(f"No file can be named after the key {key!r} ({error.msg}); name a target file.") from error


def _fetch_file(client: "Client", place: Place, path: Path) -> "Record":
    with byte_bar(place.key) as on_bytes:
        return client.get_file(place.username, place.bucketname, place.key, path, on_bytes=on_bytes)


def _leads_on(path: Path) -> bool:
    """Whether bytes go through the path to something else: no file may take the place of a device or a pipe."""
    return path.exists() and not (path.is_file() or path.is_dir())


def _fetch_through(client: "Client", place: Place, path: Path) -> "Record":
    with path.open("wb") as sink, byte_bar(place.key) as on_bytes:
        return client.get_stream(place.username, place.bucketname, place.key, sink, on_bytes=on_bytes)


def _to_stdout(client: "Client", place: Place) -> None:
    with byte_bar(place.key, wanted=not sys.stdout.isatty()) as on_bytes:
        client.get_stream(place.username, place.bucketname, place.key, sys.stdout.buffer, on_bytes=on_bytes)
    sys.stdout.buffer.flush()


def _landed(record: "Record", path: Path) -> dict[str, Any]:
    return {"path": str(path), **record}


def _folder(session: Session, client: "Client", place: Place, root: Path, prefix: str, *, escape: bool) -> ExitCode:
    batch = Batch(session)
    root.mkdir(parents=True, exist_ok=True)
    wanted = place.prefix + prefix
    for record in client.records(place.username, place.bucketname, prefix=wanted or None, recursive=True):
        key = record["key"]

        def fetch(key: str = key) -> dict[str, Any]:
            if not key.startswith(wanted):
                raise UnsafeName("it was not asked for")
            path = file_path(root, key.removeprefix(place.prefix), escape=escape)
            path.parent.mkdir(parents=True, exist_ok=True)
            return _landed(_fetch_file(client, Place(place.username, place.bucketname, key), path), path)

        batch.do(key, fetch)
    if wanted and not batch.done + batch.missed:
        raise Failure(f"There is no key below {place}/{prefix}.", ExitCode.NOT_FOUND, "key_not_found")
    return batch.exit_code
