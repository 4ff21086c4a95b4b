"""``quota ls | show | set | rm``."""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cephstorage.cli.exits import UsageMistake
from cephstorage.cli.output import readable_size
from cephstorage.cli.places import is_tenant, only_bucket
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import Quota

app = typer.Typer(no_args_is_help=True)
Where = Annotated[
    str, typer.Argument(help="USERNAME (all its buckets together) or USERNAME/BUCKETNAME", metavar="PLACE")
]
COLUMNS = {
    "place": "PLACE",
    "size": "SIZE",
    "of_size": "OF",
    "keyamount": "KEYS",
    "of_keys": "OF",
    "reserved": "RESERVED",
}
_SIZE = re.compile(r"([0-9]+)([kmgtp]?)(?:i?b)?")
_AMOUNT = re.compile(r"[0-9]+")
_UNITS = {unit: 1024**power for power, unit in enumerate(("", "k", "m", "g", "t", "p"))}
_NONE = "none"


@verb(app, "ls")
def ls(session: Session) -> None:
    """List tenants and buckets with a quota, and what they use of it."""
    with session.connect() as client:
        quotas = client.quotas()
    session.output.table(quotas if session.json else [_row(quota) for quota in quotas], COLUMNS)


@verb(app, "show")
def show(session: Session, place: Where) -> None:
    """Show the quota of a tenant or bucket, and what is used of it."""
    with session.connect() as client:
        _print(session, client.quota(*_names(place)))


@verb(app, "set")
def set_(
    session: Session,
    place: Where,
    size: Annotated[str | None, typer.Option(help="Most bytes, such as 500M or 10G; 'none' lifts it.")] = None,
    keys: Annotated[str | None, typer.Option(help="Most keys; 'none' lifts it.")] = None,
) -> None:
    """Bound a tenant or a bucket. What is not named stays as it is; nothing that is stored is deleted."""
    if size is None and keys is None:
        raise UsageMistake("Name a limit: --size, --keys or both.")
    names = _names(place)
    with session.connect() as client:
        before = client.quota(*names)["quota"]
        quota = client.set_quota(
            *names,
            size=before["size"] if size is None else _bytes(size),
            keyamount=before["keyamount"] if keys is None else number_of_keys(keys),
        )
    _print(session, quota)


@verb(app, "rm")
def rm(session: Session, place: Where) -> None:
    """Lift a quota."""
    with session.connect() as client:
        _print(session, client.set_quota(*_names(place)))


def _names(place: str) -> tuple[str, str | None]:
    if is_tenant(place):
        return place.removesuffix("/"), None
    bucket = only_bucket(place)
    return bucket.username, bucket.bucketname


def _bytes(text: str) -> int | None:
    """A number with an optional binary unit; None for ``none``. Raises UsageMistake."""
    if (written := text.strip().lower()) == _NONE:
        return None
    match = _SIZE.fullmatch(written)
    if match is None:
        raise UsageMistake(f"{text!r} is no limit: write a number, one with k, M, G, T or P, or 'none'.")
    return int(match[1]) * int(_UNITS[match[2]])


def number_of_keys(text: str) -> int | None:
    """A number without a unit, as units are of 1024; None for ``none``. Raises UsageMistake."""
    if (written := text.strip().lower()) == _NONE:
        return None
    if not _AMOUNT.fullmatch(written):
        raise UsageMistake(f"{text!r} is no number of keys: write digits alone, or 'none'.")
    return int(written)


def _print(session: Session, quota: "Quota") -> None:
    session.output.fields(quota if session.json else _row(quota))


def _row(quota: "Quota") -> dict[str, Any]:
    limit, held = quota["quota"], quota["reserved"]
    bucket = quota["bucketname"]
    row: dict[str, Any] = {
        "place": quota["username"] + (f"/{bucket}" if bucket is not None else ""),
        "size": readable_size(quota["size"]),
        "of_size": None if limit["size"] is None else readable_size(limit["size"]),
        "keyamount": quota["keyamount"],
        "of_keys": limit["keyamount"],
        "reserved": f"{readable_size(held['size'] or 0)}, {held['keyamount']} keys",
    }
    return row | ({"backstop": quota["backstop"]} if "backstop" in quota else {})
