"""``ls``, ``rm`` and ``du``: what is there, away with it, and how much it is."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cephstorage.cli.batch import Batch
from cephstorage.cli.bulk import delete_below
from cephstorage.cli.exits import ExitCode, Failure, UsageMistake
from cephstorage.cli.output import Output, printable, readable_size, readable_time
from cephstorage.cli.places import Place, bucket_place, is_tenant, key_place
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import Bucket, Client, Folder, ListOptions, Record

app = typer.Typer()
BUCKET_COLUMNS = {"bucket": "BUCKET", "size": "BYTES", "keyamount": "KEYS"}


@verb(app, "ls")
def ls(
    session: Session,
    place: Annotated[
        str, typer.Argument(help="USERNAME, USERNAME/BUCKETNAME, or a folder or key in it.", metavar="PLACE")
    ],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Sub-folders too.")] = False,
    *,
    prefix: Annotated[str, typer.Option(help="Only keys of the folder that go on with this.")] = "",
    match: Annotated[str | None, typer.Option(help="Only keys that contain this.")] = None,
    glob: Annotated[str | None, typer.Option(help="Only keys like this: * in a segment, ** across, ? one.")] = None,
    content_type: Annotated[str | None, typer.Option(help="Only this media type.")] = None,
    md5: Annotated[str | None, typer.Option(help="Only keys whose bytes have it.")] = None,
    size_min: Annotated[int | None, typer.Option(help="Bytes or more.")] = None,
    size_max: Annotated[int | None, typer.Option(help="Bytes or less.")] = None,
    ts_min: Annotated[str | None, typer.Option(help="Created then or later: epoch seconds or ISO 8601.")] = None,
    ts_max: Annotated[str | None, typer.Option(help="Created then or before.")] = None,
    descending: Annotated[bool, typer.Option("--descending", help="From the last name to the first.")] = False,
    metadata: Annotated[bool, typer.Option("--metadata", help="With --json: with the keys' metadata.")] = False,
) -> ExitCode | None:
    """List a tenant's buckets, or a folder of a bucket."""
    with session.connect() as client:
        if is_tenant(place):
            session.output.table(client.buckets(place.removesuffix("/")), BUCKET_COLUMNS)
            return None
        where = bucket_place(place)
        filters: ListOptions = {"q": match, "glob": glob, "content_type": content_type, "md5": md5}
        filters |= {"size_min": size_min, "size_max": size_max, "ts_min": ts_min, "ts_max": ts_max}
        options: ListOptions = {"vfolder": where.folder, "recursive": recursive, **filters}
        options |= {"prefix": where.prefix + prefix if prefix else None, "order": "desc" if descending else None}
        options |= {"metadata": metadata}
        plain = not prefix and all(each is None for each in filters.values())
        if not _listed(session.output, client, where, options) and where.key and plain:
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
    bulk: Annotated[bool, typer.Option("--bulk", help="With -r: the service does it, in the background.")] = False,
) -> ExitCode:
    """Delete keys. The bucket itself stays."""
    if bulk and not recursive:
        raise UsageMistake("--bulk deletes everything below a place: write rm -r --bulk.")
    if bulk:
        with session.connect() as client:
            return max(delete_below(session, client, bucket_place(text)) for text in places)
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
    folders: Annotated[bool, typer.Option("--folders", help="Each direct sub-folder, then the whole.")] = False,
) -> None:
    """Show how many bytes and keys something holds."""
    from cephstorage_client import ApiError

    with session.connect() as client:
        if is_tenant(place):
            for bucket in client.buckets(place.removesuffix("/")):
                _show(session.output, f"{bucket['username']}/{bucket['bucketname']}", bucket)
            return
        where = bucket_place(place)
        head = f"{where.username}/{where.bucketname}"
        try:
            whole = client.usage(where.username, where.bucketname, where.folder, limit=1)
        except ApiError as error:
            if error.code != "folder_not_found":
                raise
            raise Failure(f"There is no key below {where}.", ExitCode.NOT_FOUND, "key_not_found") from error
        if folders:
            for folder in client.folders(where.username, where.bucketname, where.folder):
                _show(session.output, f"{head}/{folder['vfolder']}", folder)
        _show(session.output, str(where), whole)


def _show(output: Output, place: str, usage: "Bucket | Folder") -> None:
    shown = {"place": place, "size": usage["size"], "keyamount": usage["keyamount"]}
    output.document(shown, f"{readable_size(usage['size']):>10}  {usage['keyamount']:>9} keys  {printable(place)}")
