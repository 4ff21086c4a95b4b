"""``trash ls | restore | empty``: what was deleted and may come back."""

from typing import Annotated

import typer

from cephstorage.cli.output import printable, readable_size, readable_time
from cephstorage.cli.places import bucket_place, key_place
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

app = typer.Typer(no_args_is_help=True)
Generation = Annotated[int | None, typer.Option(help="One version, as ls shows it.")]


@verb(app, "ls")
def ls(
    session: Session,
    place: Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME, or a prefix in it.", metavar="PLACE")],
) -> None:
    """List versions that may come back: size, when they go for good, generation, key."""
    where = bucket_place(place)
    with session.connect() as client:
        for each in client.trash(where.username, where.bucketname, where.key or None):
            line = f"{readable_size(each['size']):>10}  {readable_time(each['due']):19}  {each['generation']:>6}  "
            session.output.document(each, line + printable(f"{each['key']} ({each['reason']})"))


@verb(app, "restore")
def restore(
    session: Session,
    place: Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME/KEY", metavar="KEY")],
    *,
    generation: Generation = None,
    over: Annotated[bool, typer.Option("--over", help="Also in place of a key that is there now.")] = False,
) -> None:
    """Make a version visible again, by default the newest in the trash."""
    where = key_place(place)
    with session.connect() as client:
        record = client.restore_key(where.username, where.bucketname, where.key, generation=generation, over=over)
    session.output.document(record, printable(str(where)))


@verb(app, "empty")
def empty(
    session: Session,
    place: Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME, or one key in it.", metavar="PLACE")],
    *,
    generation: Generation = None,
) -> None:
    """Remove versions for good."""
    where = bucket_place(place)
    with session.connect() as client:
        count = client.empty_trash(where.username, where.bucketname, where.key or None, generation=generation)
    session.output.document({"msg": "trash_emptied", "versions": count}, f"{count} versions removed")
