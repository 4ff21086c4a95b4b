"""``export``, ``import`` and ``deletion``: many keys at once, the service doing the work."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cephstorage.cli.exits import ExitCode, Failure
from cephstorage.cli.output import printable
from cephstorage.cli.places import Place, bucket_place, only_bucket
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import Client, Deletion

app = typer.Typer()
deletion_app = typer.Typer(no_args_is_help=True)
COLUMNS = {"id": "ID", "state": "STATE", "prefix": "PREFIX", "keys_deleted": "DELETED", "keys_missing": "MISSING"}


@verb(app, "export")
def export(
    session: Session,
    place: Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME, or a folder in it.", metavar="PLACE")],
    urls: Annotated[bool, typer.Option("--urls", help="With published addresses, so that it can be imported.")] = False,
    expires_in: Annotated[int | None, typer.Option(help="Their validity in seconds.")] = None,
) -> None:
    """Write every record below a place to standard output, as JSON, one a line."""
    where = bucket_place(place)
    with session.connect() as client:
        records = client.export(
            where.username, where.bucketname, vfolder=where.folder, urls=urls, expires_in=expires_in
        )
        for record in records:
            print(json.dumps(record, ensure_ascii=False))


@verb(app, "import")
def import_(
    session: Session,
    place: Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME.", metavar="BUCKET")],
    file: Annotated[str, typer.Argument(help="What export --urls wrote, or key_url and key_name a line.")] = "-",
) -> ExitCode:
    """Have the service create keys from the URLs in a file ('-': standard input), in the background.

    What is there already with the same md5 is passed over: an import that broke off can be run again.
    """
    where = only_bucket(place)
    with session.connect() as client:
        if file == "-":
            report = client.import_records(where.username, where.bucketname, sys.stdin.buffer)
        else:
            with Path(file).open("rb") as lines:
                report = client.import_records(where.username, where.bucketname, lines)
    said = f"{report['created']} queued, {report['present']} there already, {report['refused']} refused"
    session.output.document(report, said)
    for error in report["errors"]:
        session.output.remark(f"line {error['line']}: {error['msg']}")
    return ExitCode.FAILED if report["refused"] else ExitCode.OK


@verb(deletion_app, "ls")
def ls(session: Session, place: Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME.", metavar="BUCKET")]) -> None:
    """List a bucket's deletions in the background, newest first."""
    where = only_bucket(place)
    with session.connect() as client:
        session.output.table(client.deletions(where.username, where.bucketname), COLUMNS)


@verb(deletion_app, "show")
def show(
    session: Session,
    place: Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME.", metavar="BUCKET")],
    name: Annotated[str, typer.Argument(help="The id that rm --bulk printed.", metavar="ID")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait until it has ended.")] = False,
) -> ExitCode:
    """Show how far a deletion is."""
    where = only_bucket(place)
    with session.connect() as client:
        if follow:
            return followed(session, client, where, name)
        return _told(session, client.deletion(where.username, where.bucketname, name))


@verb(deletion_app, "cancel")
def cancel(
    session: Session,
    place: Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME.", metavar="BUCKET")],
    name: Annotated[str, typer.Argument(help="The id that rm --bulk printed.", metavar="ID")],
) -> None:
    """Stop a deletion; what it has deleted stays deleted."""
    where = only_bucket(place)
    with session.connect() as client:
        _told(session, client.cancel_deletion(where.username, where.bucketname, name))


def delete_below(session: Session, client: "Client", place: Place) -> ExitCode:
    """Have everything below a place deleted by the service, and follow it to its end; the key of its name goes, too."""
    if place.key:
        if client.exists(place.username, place.bucketname, place.key):
            client.delete_key(place.username, place.bucketname, place.key)
        deletion = client.delete_keys(place.username, place.bucketname, vfolder=place.folder)
    else:
        deletion = client.delete_keys(place.username, place.bucketname, everything=True)
    session.output.remark(f"deletion {deletion['id']}; it goes on without this command")
    return followed(session, client, place, deletion["id"])


def followed(session: Session, client: "Client", place: Place, name: str) -> ExitCode:
    """Wait for the end of a deletion and tell of it."""
    return _told(session, client.wait_for_deletion(place.username, place.bucketname, name))


def _told(session: Session, deletion: "Deletion") -> ExitCode:
    prefix = deletion["prefix"]
    what = "the list" if prefix is None else repr(prefix) if prefix else "the whole bucket"
    line = f"{deletion['state']}  {deletion['keys_deleted']} keys deleted of {what}"
    session.output.document(deletion, printable(line))
    if deletion["error"] is not None and deletion["error"]["code"] != "cancelled":
        raise Failure(deletion["error"]["msg"], code=deletion["error"]["code"])
    return ExitCode.FAILED if deletion["state"] == "fail" else ExitCode.OK
