"""``fetch`` and ``progress``: keys created from URLs in the background, and how far they are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

import typer

from cephstorage.cli.bars import byte_bar
from cephstorage.cli.exits import ExitCode, Failure, UsageMistake, transfer_exit_code
from cephstorage.cli.metadata import Expires, Metadata, parse_metadata
from cephstorage.cli.output import printable, readable_size
from cephstorage.cli.places import bucket_place
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import Client, KeyOptions, Progress

app = typer.Typer()


@verb(app, "fetch")
def fetch(
    session: Session,
    source: Annotated[str, typer.Argument(help="What the service shall fetch.", metavar="URL")],
    target: Annotated[
        str, typer.Argument(help="USERNAME/BUCKETNAME/KEY; ending in '/': below that folder.", metavar="TARGET")
    ],
    *,
    md5: Annotated[str | None, typer.Option(help="Expected md5 in hex.")] = None,
    content_type: Annotated[str | None, typer.Option(help="Default: what the origin says.")] = None,
    timetag: Annotated[str | None, typer.Option(help="Creation time: epoch seconds or ISO 8601.")] = None,
    if_absent: Annotated[bool, typer.Option("--if-absent", help="Only if there is no such key yet.")] = False,
    if_match: Annotated[str | None, typer.Option(help="Only if the key has this ETag now.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="A repeated request with it makes nothing new.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the creation to its end.")] = True,
    metadata: Metadata = None,
    expires: Expires = None,
) -> ExitCode | None:
    """Have the service create a key from a URL, and watch it."""
    place = bucket_place(target)
    key = place.holding(url_name(source))
    if not key or key.endswith("/"):
        raise UsageMistake(f"{source!r} ends in no file name: write USERNAME/BUCKETNAME/KEY.")
    options: KeyOptions = {"md5": md5, "content_type": content_type, "timetag": timetag, "if_absent": if_absent}
    options |= {"if_match": if_match, "metadata": parse_metadata(metadata), "expires": expires}
    with session.connect() as client:
        handle = client.create_key(
            place.username, place.bucketname, key, source, idempotency_key=idempotency_key, **options
        )
        if not wait:
            session.output.document(handle, handle["token"])
            return None
        return _follow(session, client, handle["token"])


def url_name(url: str) -> str:
    """The last segment of a URL's path, decoded; empty when it ends in '/'."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


@verb(app, "progress")
def progress(
    session: Session,
    transfer: Annotated[str, typer.Argument(help="The token that fetch printed.", metavar="TOKEN")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait until it has ended.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel it.")] = False,
) -> ExitCode | None:
    """Show how far a creation is.

    The exit code tells a failed one (1) from one under way or done (0).
    """
    with session.connect() as client:
        if cancel:
            client.cancel(transfer)
            session.output.document({"token": transfer, "msg": "transfer_cancelled"}, "cancelled")
            return None
        return _follow(session, client, transfer) if follow else _told(session, client.progress(transfer))


def _follow(session: Session, client: "Client", token: str) -> ExitCode:
    try:
        with _progress_bar() as on_progress:
            ended = client.wait(token, on_progress=on_progress)
    except KeyboardInterrupt:
        session.output.remark(
            f"The creation goes on. See it with: cephstorage progress {token} (--follow, or --cancel to stop it)"
        )
        raise
    return _told(session, ended)


@contextmanager
def _progress_bar() -> Iterator[Callable[["Progress"], None] | None]:
    with byte_bar("waiting") as on_bytes:
        yield None if on_bytes is None else lambda state: on_bytes(state["bytes_done"], state["bytes_total"])


def _told(session: Session, state: "Progress") -> ExitCode:
    error = state["error"] if state["state"] == "fail" else None
    session.output.document(state, None if error else _line(state))
    if error is None:
        return ExitCode.OK
    exit_code = transfer_exit_code(error["code"])
    if session.json:
        return exit_code
    raise Failure(f"{state['key']}: {error['code']}: {error['msg']}", exit_code, error["code"])


def _line(state: "Progress") -> str:
    total = f" of {readable_size(state['bytes_total'])}" if state["bytes_total"] is not None else ""
    doing = state["phase"] if state["state"] == "inprogress" else state["state"]
    trouble = f" (last error: {state['error']['code']})" if state["error"] else ""
    return f"{doing}  {readable_size(state['bytes_done'])}{total}  {printable(state['key'])}{trouble}"
