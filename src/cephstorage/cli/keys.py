"""``ls``, ``rm`` and ``du``: what is there, away with it, and how much it is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cephstorage.cli.batch import Batch
from cephstorage.cli.exits import ExitCode, Failure
from cephstorage.cli.output import Output, printable, readable_size, readable_time
from cephstorage.cli.places import Place, bucket_place, is_tenant, key_place
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import Bucket, Client, ListOptions, Record

app = typer.Typer()
BUCKET_COLUMNS = {"bucket": "BUCKET", "size": "BYTES", "keyamount": "KEYS"}


@verb(app, "ls")
def ls(
    session: Session,
    place: Annotated[
        str, typer.Argument(help="USERNAME, USERNAME/BUCKETNAME, or a folder or key in it.", metavar="PLACE")
    ],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Sub-folders too.")] = False,
    prefix: Annotated[str, typer.Option(help="Only keys of the folder that go on with this.")] = "",
    match: Annotated[str | None, typer.Option(help="Only keys that contain this.")] = None,
    content_type: Annotated[str | None, typer.Option(help="Only this media type.")] = None,
) -> ExitCode | None:
    """List a tenant's buckets, or a folder of a bucket."""
    with session.connect() as client:
        if is_tenant(place):
            session.output.table(client.buckets(place.removesuffix("/")), BUCKET_COLUMNS)
            return None
        where = bucket_place(place)
        options: ListOptions = {"vfolder": where.folder, "recursive": recursive, "q": match}
        options |= {"prefix": where.prefix + prefix if prefix else None, "content_type": content_type}
        if not _listed(session.output, client, where, options) and where.key and not (prefix or match or content_type):
            _one(session.output, client, where)
    return None


def _listed(output: Output, client: "Client", where: Place, options: "ListOptions") -> bool:
    some = False
    for page in client.pages(where.username, where.bucketname, **options):
        for vfolder in page["vfolders"]:
            output.document({"vfolder": vfolder}, f"{'':>10}  {'':19}  {printable(vfolder)}/")
        for record in page["keys"]:
            output.document(record, _line(record))
        some = some or bool(page["vfolders"] or page["keys"])
    return some


def _one(output: Output, client: "Client", where: Place) -> None:
    record = client.record(where.username, where.bucketname, where.key)
    output.document(record, _line(record))


def _line(record: "Record") -> str:
    return f"{readable_size(record['size']):>10}  {readable_time(record['ts']):19}  {printable(record['key'])}"


def below(client: "Client", place: Place) -> Iterator["Record"]:
    """Every record below a folder, or of the whole bucket."""
    return client.records(place.username, place.bucketname, prefix=place.prefix or None, recursive=True)


@verb(app, "rm")
def rm(
    session: Session,
    places: Annotated[list[str], typer.Argument(help="USERNAME/BUCKETNAME/KEY ...", metavar="PLACE...")],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Everything below a folder or bucket.")] = False,
) -> ExitCode:
    """Delete keys. The bucket itself stays."""
    wanted = [bucket_place(text) if recursive else key_place(text) for text in places]
    with session.connect() as client:
        if len(wanted) == 1 and not recursive:
            _delete(client, wanted[0], wanted[0].key)
            session.output.document({"key": wanted[0].key, "msg": "key_deleted"})
            return ExitCode.OK
        batch = Batch(session)
        for place in wanted:
            _delete_all(batch, client, place, recursive=recursive)
    if recursive and not batch.done + batch.missed and any(place.key for place in wanted):
        raise Failure("There is nothing below that folder.", ExitCode.NOT_FOUND, "key_not_found")
    return batch.exit_code


def _delete_all(batch: Batch, client: "Client", place: Place, *, recursive: bool) -> None:
    if not recursive or (place.key and client.exists(place.username, place.bucketname, place.key)):
        batch.do(str(place), lambda: _delete(client, place, place.key))
    if not recursive:
        return
    for record in below(client, place):
        key = record["key"]
        batch.do(f"{place.username}/{place.bucketname}/{key}", lambda key=key: _delete(client, place, key))  # type: ignore[misc]


def _delete(client: "Client", place: Place, key: str) -> dict[str, Any]:
    client.delete_key(place.username, place.bucketname, key)
    return {"key": key, "msg": "key_deleted"}


@verb(app, "du")
def du(
    session: Session,
    place: Annotated[str, typer.Argument(help="USERNAME, USERNAME/BUCKETNAME, or a folder in it.", metavar="PLACE")],
) -> None:
    """Show how many bytes and keys something holds."""
    with session.connect() as client:
        if is_tenant(place):
            buckets = client.buckets(place.removesuffix("/"))
            usages = [_bucket_usage(bucket) for bucket in buckets]
        else:
            usages = [_usage(client, bucket_place(place))]
    for usage in usages:
        line = f"{readable_size(usage['size']):>10}  {usage['keyamount']:>9} keys  {printable(usage['place'])}"
        session.output.document(usage, line)


def _bucket_usage(bucket: "Bucket") -> dict[str, Any]:
    place = f"{bucket['username']}/{bucket['bucketname']}"
    return {"place": place, "size": bucket["size"], "keyamount": bucket["keyamount"]}


def _usage(client: "Client", place: Place) -> dict[str, Any]:
    if not place.key:
        return _bucket_usage(client.bucket(place.username, place.bucketname))
    size = amount = 0
    for record in below(client, place):
        size += record["size"]
        amount += 1
    if not amount:
        raise Failure(f"There is no key below {place}.", ExitCode.NOT_FOUND, "key_not_found")
    return {"place": str(place), "size": size, "keyamount": amount}
