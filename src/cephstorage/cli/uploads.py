"""``put``: files, folders and standard input into keys."""

import mimetypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cephstorage.cli.bars import byte_bar
from cephstorage.cli.batch import Batch
from cephstorage.cli.exits import ExitCode, UsageMistake
from cephstorage.cli.filenames import file_key
from cephstorage.cli.metadata import Expires, Metadata, parse_metadata
from cephstorage.cli.output import printable
from cephstorage.cli.places import Place, bucket_place, key_place
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import Client, KeyOptions, Record

app = typer.Typer()
_ENCODED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


@verb(app, "put")
def put(
    session: Session,
    source: Annotated[str, typer.Argument(help="File, folder (with -r), or '-' for standard input.", metavar="SOURCE")],
    target: Annotated[
        str, typer.Argument(help="USERNAME/BUCKETNAME/KEY; ending in '/': below that folder.", metavar="TARGET")
    ],
    *,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Upload a whole folder.")] = False,
    content_type: Annotated[str | None, typer.Option(help="Default: guessed from the name.")] = None,
    md5: Annotated[str | None, typer.Option(help="Expected md5 in hex; default: computed from the file.")] = None,
    timetag: Annotated[str | None, typer.Option(help="Creation time: epoch seconds or ISO 8601.")] = None,
    if_absent: Annotated[bool, typer.Option("--if-absent", help="Only if there is no such key yet.")] = False,
    if_match: Annotated[str | None, typer.Option(help="Only if the key has this ETag now.")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="TARGET is the key, even if it ends in '/'.")] = False,
    checksum: Annotated[bool, typer.Option("--checksum/--no-checksum", help="Compute the md5 first.")] = True,
    unescape: Annotated[bool, typer.Option("--unescape", help="With -r: read names that get --escape wrote.")] = False,
    metadata: Metadata = None,
    expires: Expires = None,
) -> ExitCode | None:
    """Upload a file, a folder or standard input."""
    options: KeyOptions = {
        "content_type": content_type,
        "md5": md5,
        "timetag": timetag,
        "if_absent": if_absent,
        "if_match": if_match,
        "metadata": parse_metadata(metadata),
        "expires": expires,
    }
    with session.connect() as client:
        uploader = _Uploader(session, client, options, checksum=checksum)
        if recursive:
            if source == "-" or md5:
                raise UsageMistake("-r takes a folder, and --md5 a single file.")
            return uploader.folder(Path(source), bucket_place(target), unescape=unescape)
        place = key_place(target) if exact else bucket_place(target)
        name = "" if source == "-" else Path(source).name
        key = place.key if exact or not name else place.holding(name)
        if not key:
            raise UsageMistake("Standard input has no name: write USERNAME/BUCKETNAME/KEY.")
        place = Place(place.username, place.bucketname, key)
        record = uploader.stdin(place) if source == "-" else uploader.file(Path(source), place)
    session.output.document(record, printable(str(place)))
    return None


class _Uploader:
    """Uploads with the same options."""

    def __init__(self, session: Session, client: "Client", options: "KeyOptions", *, checksum: bool) -> None:
        self._session = session
        self._client = client
        self._options = options
        self._checksum = checksum

    def _options_for(self, name: str) -> "KeyOptions":
        return {**self._options, "content_type": self._options["content_type"] or guessed_type(name)}

    def stdin(self, place: Place) -> "Record":
        from cephstorage_client.uploads import chunks_of

        with byte_bar(place.key) as on_bytes:
            chunks = chunks_of(sys.stdin.buffer, None, on_bytes)
            options = self._options_for(place.key)
            return self._client.put_stream(place.username, place.bucketname, place.key, chunks, **options)

    def file(self, path: Path, place: Place) -> "Record":
        if path.is_dir():
            raise UsageMistake(f"{str(path)!r} is a folder: add -r.")
        with byte_bar(place.key) as on_bytes:
            return self._client.put_file(
                place.username,
                place.bucketname,
                place.key,
                path,
                checksum=self._checksum,
                on_bytes=on_bytes,
                **self._options_for(path.name),
            )

    def folder(self, root: Path, place: Place, *, unescape: bool) -> ExitCode:
        if not root.is_dir():
            raise UsageMistake(f"{str(root)!r} is not a folder.")
        batch = Batch(self._session)
        for path in files_below(root):

            def upload(path: Path = path) -> "Record":
                key = place.prefix + file_key(path.relative_to(root), unescape=unescape)
                return self.file(path, Place(place.username, place.bucketname, key))

            batch.do(str(path), upload)
        return batch.exit_code


def files_below(root: Path) -> Iterator[Path]:
    """Every regular file below a folder, in order of name; links to folders are not followed."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_file():
                yield path


def guessed_type(name: str) -> str | None:
    """The media type that a name suggests. A compressed file is what it is, not what it holds."""
    media_type, encoding = mimetypes.guess_type(name, strict=False)
    return media_type if encoding is None else _ENCODED.get(encoding, "application/octet-stream")
