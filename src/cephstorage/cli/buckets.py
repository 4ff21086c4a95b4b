"""``bucket create | ls | lifecycle | rm | follow | unfollow | following``."""

from typing import TYPE_CHECKING, Annotated

import typer

from cephstorage.cli.exits import ExitCode, Failure, UsageMistake
from cephstorage.cli.keys import BUCKET_COLUMNS
from cephstorage.cli.output import printable
from cephstorage.cli.places import Place, only_bucket
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import Client, ExpiryRule

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


@verb(app, "lifecycle")
def lifecycle(
    session: Session,
    bucket: Bucket,
    *,
    expire: Annotated[
        list[str] | None,
        typer.Option("--expire", help="Keys with this prefix end so many days after storing.", metavar="PREFIX=DAYS"),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Without any rule.")] = False,
    trash_days: Annotated[float | None, typer.Option(help="How long what is deleted may come back.")] = None,
    trash_overwritten: Annotated[bool, typer.Option("--trash-overwritten", help="What is replaced, too.")] = False,
    no_trash: Annotated[bool, typer.Option("--no-trash", help="What is deleted is gone.")] = False,
) -> None:
    """Show how long a bucket's keys live, or set it: the rules that are given replace those that were there."""
    if expire and none:
        raise UsageMistake("--none wants no --expire beside it.")
    if trash_days is None and trash_overwritten:
        raise UsageMistake("--trash-overwritten goes with --trash-days.")
    if no_trash and trash_days is not None:
        raise UsageMistake("--no-trash wants no --trash-days beside it.")
    place = only_bucket(bucket)
    with session.connect() as client:
        shown = client.lifecycle(place.username, place.bucketname)
        wish = shown.copy()
        if expire or none:
            wish["rules"] = [parse_rule(text) for text in expire or ()]
        if trash_days is not None or no_trash:
            wish["trash_days"], wish["trash_overwritten"] = None if no_trash else trash_days, trash_overwritten
        if wish != shown:
            shown = client.set_lifecycle(place.username, place.bucketname, wish)
    lines = [printable(f"{rule['prefix'] or '(every key)'}  {rule['days']} days") for rule in shown["rules"]]
    lines = lines or ["keys do not expire"]
    if shown["trash_days"] is not None:
        what = "deleted or replaced" if shown["trash_overwritten"] else "deleted"
        lines.append(f"what is {what} may come back for {shown['trash_days']} days")
    session.output.document(shown, "\n".join(lines))


def parse_rule(text: str) -> "ExpiryRule":
    """Read ``PREFIX=DAYS``; the prefix may be empty. Raises UsageMistake."""
    prefix, equals, days = text.rpartition("=")
    try:
        return {"prefix": prefix, "days": float(days if equals else "")}
    except ValueError as error:
        raise UsageMistake(f"{text!r} is not a rule: write PREFIX=DAYS.") from error


@verb(app, "rm")
def rm(session: Session, bucket: Bucket) -> ExitCode | None:
    """Delete an empty bucket."""
    place = only_bucket(bucket)
    with session.connect() as client:
        client.delete_bucket(place.username, place.bucketname)
    session.output.document({"bucket": str(place), "msg": "bucket_deleted"})
    return None


@verb(app, "follow")
def follow(
    session: Session,
    bucket: Bucket,
    *,
    endpoint: Annotated[
        str | None, typer.Option(help="The service's address as Ceph reaches it; default: the public address.")
    ] = None,
    removals: Annotated[
        bool | None,
        typer.Option(
            help="Whether Ceph tells of deletions, too; default: where its release does it well. Else they are looked for."
        ),
    ] = None,
    persistent: Annotated[
        bool | None,
        typer.Option(help="Whether Ceph keeps what it can't deliver; default: where its release does it well."),
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for a first event, to see that they arrive.")] = 10.0,
) -> ExitCode | None:
    """Have Ceph tell of what its own clients write into a bucket, so that it appears in the index at once."""
    place = only_bucket(bucket)
    with session.connect() as client:
        following = client.follow_bucket(
            place.username, place.bucketname, endpoint=endpoint, removals=removals, persistent=persistent
        )
        session.output.fields(following)
        return _checked(session, client, place, wait)


@verb(app, "unfollow")
def unfollow(session: Session, bucket: Bucket) -> ExitCode | None:
    """Have Ceph tell no more."""
    place = only_bucket(bucket)
    with session.connect() as client:
        client.unfollow_bucket(place.username, place.bucketname)
    session.output.document({"bucket": str(place), "msg": "bucket_unfollowed"})
    return None


@verb(app, "following")
def following(
    session: Session,
    bucket: Bucket,
    *,
    check: Annotated[bool, typer.Option("--check", help="Write an object, see its event come, and remove it.")] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait for it.")] = 10.0,
) -> ExitCode | None:
    """Show whether a bucket is followed, and when an event last came."""
    place = only_bucket(bucket)
    with session.connect() as client:
        session.output.fields(client.following(place.username, place.bucketname))
        return _checked(session, client, place, wait) if check else None


def _checked(session: Session, client: "Client", place: Place, wait: float) -> ExitCode | None:
    """See whether events arrive."""
    seen = client.check_following(place.username, place.bucketname, seconds=wait)
    if not seen["arrived"]:
        msg = (
            f"No event came within {wait:g} s: see whether the gateway reaches the endpoint (a first one of a persistent topic may "
            "take 30 s). Without persistence each write into the bucket may wait for it; "
            f"`cephstorage bucket unfollow {place}` undoes that."
        )
        raise Failure(msg, code="no_event")
    session.output.remark(f"events arrive: after {seen['seconds']} s")
    return None
