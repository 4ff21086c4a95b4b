"""``consistency show | run | findings | check``: whether index and store agree."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cephstorage.cli.exits import ExitCode, UsageMistake
from cephstorage.cli.output import printable, readable_time
from cephstorage.cli.places import Place, key_place, only_bucket
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import Walk

app = typer.Typer(no_args_is_help=True)
Bucket = Annotated[str | None, typer.Argument(help="USERNAME/BUCKETNAME; default: all.", metavar="[BUCKET]")]
WALK_COLUMNS = {"bucket": "BUCKET", "kind": "WALK", "state": "STATE", "last": "LAST ENDED", "counts": "COUNTS"}
FINDING_COLUMNS = {"bucket": "BUCKET", "key": "KEY", "kind": "KIND", "done": "DONE", "since": "SINCE", "msg": "WHAT"}


@verb(app, "show")
def show(session: Session, bucket: Bucket = None) -> ExitCode | None:
    """Show the walks over buckets, and how many findings there are."""
    with session.connect() as client:
        overview = client.consistency(_name(bucket))
    if session.json:
        session.output.document(overview)
        return None
    session.output.table([_walk_row(walk) for walk in overview["walks"]], WALK_COLUMNS)
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(overview["findings"].items()))
    print(f"findings: {told or 'none'}")
    return None


@verb(app, "run")
def run(
    session: Session,
    bucket: Bucket = None,
    scrub: Annotated[bool, typer.Option("--scrub", help="Read and hash every stored byte again.")] = False,
    deletions: Annotated[
        bool, typer.Option("--deletions", help="Only see what clients of Ceph have deleted, and wait for no grace.")
    ] = False,
) -> ExitCode | None:
    """Have walks begin now instead of at their time."""
    if scrub and deletions:
        raise UsageMistake("--scrub wants no --deletions beside it.")
    kind = "scrub" if scrub else "deletions" if deletions else "reconcile"
    with session.connect() as client:
        begun = client.begin_walk(_name(bucket), kind=kind)
    session.output.document({"begun": begun}, f"{begun} begun; `cephstorage consistency show` tells how far")
    return None


@verb(app, "findings")
def findings(
    session: Session,
    bucket: Bucket = None,
    kind: Annotated[str | None, typer.Option(help="damaged, unknown, quarantined or hidden.")] = None,
) -> ExitCode:
    """List keys that are not as they should be. Exit code 1 when there are any."""
    with session.connect() as client:
        found = list(client.findings(_name(bucket), kind=kind))
    rows: list[Mapping[str, Any]] = [
        each if session.json else {**each, "since": readable_time(each["since"])} for each in found
    ]
    session.output.table(rows, FINDING_COLUMNS)
    return ExitCode.FAILED if found else ExitCode.OK


@verb(app, "check")
def check(
    session: Session,
    place: Annotated[str, typer.Argument(help="USERNAME/BUCKETNAME/KEY", metavar="KEY")],
    changed: Annotated[
        bool, typer.Option("--changed", help="A client of the store has just changed it: wait for no grace.")
    ] = False,
) -> ExitCode:
    """Hold one key against the store; mend, follow or note what does not agree. Exit code 1 when it stays so."""
    where = key_place(place)
    with session.connect() as client:
        checked = client.check_key(_full(where), where.key, changed=changed)
    said = f"{checked['verdict']}{', ' + checked['action'] if checked['action'] else ''}"
    finding = checked["finding"]
    told = f"  {finding['msg']}" if finding else ""
    if not checked["present"] and checked["verdict"] == "fine":
        told = "  neither index nor store have this key"
    session.output.document(checked, printable(f"{said}  {where}{told}"))
    return ExitCode.FAILED if finding else ExitCode.OK


def _name(bucket: str | None) -> str | None:
    return _full(only_bucket(bucket)) if bucket is not None else None


def _full(place: Place) -> str:
    return f"{place.username}___{place.bucketname}"


def _walk_row(walk: "Walk") -> dict[str, Any]:
    """What a person wants to know of a walk: the one under way, else the last one."""
    counts = walk["counts"] if walk["counts"] is not None else walk["last_counts"]
    told = " ".join(f"{name}={count}" for name, count in (counts or {}).items())
    state = f"{walk['state']} ({walk['stage']})" if walk["stage"] is not None else walk["state"]
    return {**walk, "state": state, "last": readable_time(walk["last_ended_at"]), "counts": told}
