"""``bucket create | ls | rm``."""

from typing import Annotated

import typer

from cephstorage.cli.exits import ExitCode
from cephstorage.cli.keys import BUCKET_COLUMNS
from cephstorage.cli.output import printable
from cephstorage.cli.places import only_bucket
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

app = typer.Typer(no_args_is_help=True)
Bucket = Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME", metavar="BUCKET")]


@verb(app, "create")
def create(session: Session, bucket: Bucket) -> ExitCode | None:
    """Create a bucket, and its tenant if there is none yet."""
    place = only_bucket(bucket)
    with session.connect() as client:
        session.output.document(client.create_bucket(place.username, place.bucketname), printable(str(place)))
    return None


@verb(app, "ls")
def ls(
    session: Session, username: Annotated[str, typer.Argument(help="The tenant.", metavar="USERNAME")]
) -> ExitCode | None:
    """List a tenant's buckets and their usage."""
    with session.connect() as client:
        session.output.table(client.buckets(username), BUCKET_COLUMNS)
    return None


@verb(app, "rm")
def rm(session: Session, bucket: Bucket) -> ExitCode | None:
    """Delete an empty bucket."""
    place = only_bucket(bucket)
    with session.connect() as client:
        client.delete_bucket(place.username, place.bucketname)
    session.output.document({"bucket": str(place), "msg": "bucket_deleted"})
    return None
