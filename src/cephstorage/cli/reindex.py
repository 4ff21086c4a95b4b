"""``reindex``: the index of a bucket, or of all, rebuilt from the object store."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cephstorage.cli.exits import ExitCode, Failure
from cephstorage.cli.places import only_bucket
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage.services.reindex import Rebuilt

app = typer.Typer()


@verb(app, "reindex")
def reindex(
    session: Session,
    buckets: Annotated[
        list[str] | None, typer.Argument(help="USERNAME/BUCKETNAME; default: every bucket of the store.")
    ] = None,
) -> ExitCode:
    """Rebuild the index from the object store, on this machine: for when the database was lost.

    Nothing in the store is changed, and nothing that the index has is replaced by something older. Tokens, mirrors and
    settings are not in the store: make them anew, or restore a backup of the database first and run this for the rest.
    """
    from cephstorage.bootstrap.reindex import rebuild
    from cephstorage.domain.errors import BucketNotFound, CephStorageError
    from cephstorage.domain.names import BucketName

    def tell(rebuilt: "Rebuilt") -> None:
        if sys.stderr.isatty():
            print(f"\r{rebuilt.bucket}: {rebuilt.seen} versions", end="", file=sys.stderr, flush=True)

    try:
        places = [only_bucket(name) for name in buckets or ()]
        wanted = [BucketName(place.username, place.bucketname) for place in places]
        done = session.here(rebuild(session.settings, wanted, tell))
    except CephStorageError as error:
        code = ExitCode.UNAVAILABLE if error.retryable else ExitCode.FAILED
        raise Failure(
            error.msg, ExitCode.NOT_FOUND if isinstance(error, BucketNotFound) else code, error.code
        ) from error
    session.output.document({"buckets": [_shown(each) for each in done]}, _said(done))
    return ExitCode.OK


def _shown(rebuilt: "Rebuilt") -> dict[str, str | int]:
    return {
        "bucket": str(rebuilt.bucket),
        "added": rebuilt.added,
        "known": rebuilt.known,
        "older": rebuilt.older,
        "unreadable": rebuilt.unreadable,
    }


def _said(done: "list[Rebuilt]") -> str:
    lines = [
        f"{each.bucket}: {each.added} added, {each.known} known, {each.older} older versions left, "
        f"{each.unreadable} without a description"
        for each in done
    ]
    return "\n".join(lines) if lines else "The store has no bucket of ours."
