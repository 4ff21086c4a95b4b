"""``webhook``: events of keys sent to an address, and what could not be delivered."""

from typing import Annotated, Any

import typer

from cephstorage.cli.exits import ExitCode, UsageMistake
from cephstorage.cli.output import printable, readable_time
from cephstorage.cli.places import only_bucket
from cephstorage.cli.session import Session
from cephstorage.cli.tokens import duration
from cephstorage.cli.verbs import verb

app = typer.Typer(no_args_is_help=True)
COLUMNS = {"id": "ID", "of": "OF", "events": "EVENTS", "state": "STATE", "last": "LAST", "url": "URL"}
LETTERS = {"number": "NUMBER", "type": "TYPE", "bucket": "BUCKET", "key": "KEY", "error": "ERROR", "died": "DIED"}

Id = Annotated[str, typer.Argument(help="The webhook's id.", metavar="ID")]
Of = Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME, or USERNAME for all its buckets.", metavar="OF")]
Events = Annotated[
    list[str] | None, typer.Option("--event", help="key.created, key.deleted or transfer.failed; repeat it.")
]
Prefix = Annotated[str | None, typer.Option(help="Only keys that begin so.")]
Numbers = Annotated[list[int] | None, typer.Argument(help="Numbers that `dead` shows.", metavar="NUMBER...")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


def _of(text: str) -> tuple[str, str | None]:
    """A tenant, and its bucket if one is named."""
    if "/" not in text:
        return text, None
    where = only_bucket(text)
    return where.username, where.bucketname


@verb(app, "create")
def create(
    session: Session,
    of: Of,
    to: Annotated[str, typer.Argument(help="Where events are sent.", metavar="ADDRESS")],
    events: Events = None,
    prefix: Prefix = None,
) -> None:
    """Have events sent to an address, and print the secret that signs them. It is never shown again."""
    username, bucketname = _of(of)
    with session.connect() as client:
        made = client.create_webhook(username, to, bucketname=bucketname, events=events, prefix=prefix)
    session.output.document(made, made["secret"])
    if not session.json:
        session.output.remark(f"id {made['id']}")


@verb(app, "ls")
def ls(
    session: Session,
    of: Annotated[str | None, typer.Argument(help="USERNAME or USERNAME/BUCKETNAME.", metavar="OF")] = None,
) -> None:
    """List webhooks."""
    username, bucketname = _of(of) if of is not None else (None, None)
    with session.connect() as client:
        found = client.webhooks(username, bucketname)
    rows = [dict(each) if session.json else _row(each) for each in found]
    session.output.table(rows, COLUMNS)


def _row(webhook: Any) -> dict[str, Any]:
    of = webhook["username"] if webhook["bucketname"] is None else f"{webhook['username']}/{webhook['bucketname']}"
    status = webhook["status"]
    last = status["last_error"] or status["last_status"] or "-"
    return {**webhook, "of": of, "events": ",".join(webhook["events"]), "state": _state(webhook), "last": last}


def _state(webhook: Any) -> str:
    if not webhook["enabled"]:
        return f"off ({webhook['disabled_by']})" if webhook["disabled_by"] else "off"
    return "resting" if webhook["status"]["rests_until"] else "on"


@verb(app, "show")
def show(session: Session, webhook: Id) -> None:
    """Show a webhook: what waits, what is dead, what came of the last try."""
    with session.connect() as client:
        found = client.webhook(webhook)
    status = found["status"]
    said = (
        f"{_state(found)}  {status['delivered']} delivered, {status['waiting']} waiting for {status['lag']} s, "
        f"{status['dead']} dead, {status['dropped']} dropped; last {status['last_error'] or status['last_status'] or '-'}"
    )
    session.output.document(found, printable(said))


@verb(app, "set")
def change(
    session: Session,
    webhook: Id,
    to: Annotated[str | None, typer.Option(help="Where events are sent.", metavar="ADDRESS")] = None,
    events: Events = None,
    prefix: Prefix = None,
    on: Annotated[bool | None, typer.Option("--on/--off", help="Deliver, or write no events at all.")] = None,
) -> None:
    """Change a webhook; what is not named stays."""
    with session.connect() as client:
        changed = client.change_webhook(webhook, url=to, events=events or None, prefix=prefix, enabled=on)
    session.output.document(changed, _state(changed))


@verb(app, "rm")
def rm(session: Session, webhook: Id) -> None:
    """Delete a webhook with what it has not delivered."""
    with session.connect() as client:
        client.delete_webhook(webhook)
    session.output.document({"id": webhook, "msg": "webhook_deleted"})


@verb(app, "test")
def test(session: Session, webhook: Id) -> ExitCode:
    """Send a ping now."""
    with session.connect() as client:
        trial = client.test_webhook(webhook)
    session.output.document(trial, f"{trial['error'] or trial['status']}  {trial['seconds']} s")
    return ExitCode.OK if trial["delivered"] else ExitCode.FAILED


@verb(app, "rotate")
def rotate(
    session: Session,
    webhook: Id,
    overlap: Annotated[str | None, typer.Option(help="How long the old secret signs along: 3600, 12h, 7d.")] = None,
) -> None:
    """Draw a new secret and print it; it is never shown again."""
    with session.connect() as client:
        made = client.rotate_webhook_secret(webhook, overlap=None if overlap is None else duration(overlap))
    session.output.document(made, made["secret"])
    if not session.json and made["old_secret_until"] is not None:
        session.output.remark(f"the old one signs along until {readable_time(made['old_secret_until'])}")


@verb(app, "dead")
def dead(
    session: Session,
    webhook: Id,
    limit: Annotated[int, typer.Option(help="How many, 1 to 1000.")] = 100,
    after: Annotated[int, typer.Option(help="Behind this number.")] = 0,
) -> None:
    """List events that were given up, oldest first."""
    with session.connect() as client:
        letters = client.dead_letters(webhook, limit=limit, after=after)
    rows: list[dict[str, Any]] = [dict(each) for each in letters]
    if not session.json:
        for row in rows:
            row["died"] = readable_time(row["died"])
    session.output.table(rows, LETTERS)


@verb(app, "redeliver")
def redeliver(session: Session, webhook: Id, numbers: Numbers = None, everything: All = False) -> None:
    """Have dead letters delivered after all."""
    with session.connect() as client:
        count = client.redeliver(webhook, _chosen(numbers, everything))
    session.output.document({"redelivered": count}, f"{count} wait again")


@verb(app, "drop")
def drop(session: Session, webhook: Id, numbers: Numbers = None, everything: All = False) -> None:
    """Delete dead letters."""
    with session.connect() as client:
        count = client.drop_dead_letters(webhook, _chosen(numbers, everything))
    session.output.document({"dropped": count}, f"{count} dropped")


def _chosen(numbers: list[int] | None, everything: bool) -> list[int] | None:
    if bool(numbers) == everything:
        raise UsageMistake("Name dead letters by their numbers, or say --all.")
    return numbers or None
