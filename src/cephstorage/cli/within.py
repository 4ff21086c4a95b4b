"""``cp`` and ``mv``: keys copied and renamed within the store, no byte passing through this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from cephstorage.cli.exits import UsageMistake
from cephstorage.cli.metadata import Expires, Metadata, parse_metadata
from cephstorage.cli.output import printable
from cephstorage.cli.places import Place, bucket_place, key_place
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import CopyOptions

app = typer.Typer()
Source = Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME/KEY", metavar="SOURCE")]
Target = Annotated[
    str, typer.Argument(help="USERNAME/BUCKETNAME/KEY; ending in '/': below that folder.", metavar="TARGET")
]
IfAbsent = Annotated[bool, typer.Option("--if-absent", help="Only if there is no such key yet.")]
IfMatch = Annotated[str | None, typer.Option(help="Only if the target has this ETag now.")]
IfSourceMatch = Annotated[str | None, typer.Option(help="Only if the source has this ETag now.")]


@verb(app, "cp")
def cp(
    session: Session,
    source: Source,
    target: Target,
    *,
    if_absent: IfAbsent = False,
    if_match: IfMatch = None,
    if_source_match: IfSourceMatch = None,
    content_type: Annotated[str | None, typer.Option(help="Default: the source's.")] = None,
    metadata: Metadata = None,
    expires: Expires = None,
) -> None:
    """Copy a key. Onto itself: the same bytes with another type, expiry or metadata."""
    options: CopyOptions = {"if_absent": if_absent, "if_match": if_match, "if_source_match": if_source_match}
    options |= {"content_type": content_type, "metadata": parse_metadata(metadata), "expires": expires}
    _perform(session, source, target, options, moves=False)


@verb(app, "mv")
def mv(
    session: Session,
    source: Source,
    target: Target,
    *,
    if_absent: IfAbsent = False,
    if_match: IfMatch = None,
    if_source_match: IfSourceMatch = None,
) -> None:
    """Rename a key, also into another bucket of the tenant: the old name goes as the new one comes."""
    options: CopyOptions = {"if_absent": if_absent, "if_match": if_match, "if_source_match": if_source_match}
    _perform(session, source, target, options, moves=True)


def _perform(session: Session, source: str, target: str, options: "CopyOptions", *, moves: bool) -> None:
    there, here = key_place(source), bucket_place(target)
    if there.username != here.username:
        raise UsageMistake("A key stays with its tenant: get it and put it again.")
    key = here.holding(there.key.rpartition("/")[2])
    with session.connect() as client:
        make = client.rename_key if moves else client.copy_key
        record = make(here.username, here.bucketname, there.key, key, source_bucket=there.bucketname, **options)
    session.output.document(record, printable(str(Place(here.username, here.bucketname, key))))
