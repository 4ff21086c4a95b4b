"""``db upgrade | copy``: the database behind the service, on this machine."""

import typer

from cephstorage.cli.exits import ExitCode, Failure
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

app = typer.Typer(no_args_is_help=True)
_EXITS = {"not_found": ExitCode.NOT_FOUND, "conflict": ExitCode.CONFLICT}


@verb(app, "upgrade")
def upgrade(session: Session) -> ExitCode:
    """Bring the database to the schema of this release.

    Make a backup first, and stop the processes of the older release. SQLite upgrades itself at every start.
    """
    from cephstorage.bootstrap import database
    from cephstorage.domain.errors import CephStorageError

    try:
        before, now = session.here(database.upgrade(session.settings))
    except CephStorageError as error:
        raise _failure(error) from error
    done = {None: f"SQLite has schema version {now}.", now: f"The schema version is {now} already."}
    said = f"The tables were made with schema version {now}." if before == 0 else f"Upgraded from {before} to {now}."
    session.output.document({"before": before, "now": now}, done.get(before, said))
    return ExitCode.OK


@verb(app, "copy")
def copy(session: Session) -> ExitCode:
    """Copy the SQLite database of the data folder into the PostgreSQL that CEPHSTORAGE_DATABASE_URL names.

    All or nothing, into an empty database only, while the service is stopped. SQLite's file stays as it is.
    """
    from cephstorage.bootstrap import database
    from cephstorage.domain.errors import CephStorageError

    def tell(table: str, rows: int) -> None:
        if not session.json:
            print(f"{rows:>12}  {table}", flush=True)

    try:
        counts = session.here(database.copy_to_postgresql(session.settings, tell))
    except CephStorageError as error:
        raise _failure(error) from error
    session.output.document({"rows": dict(counts)}, "Copied and checked. Start the service with the same settings.")
    return ExitCode.OK


def _failure(error: Exception) -> Failure:
    from cephstorage.domain.errors import CephStorageError

    assert isinstance(error, CephStorageError)
    default = ExitCode.UNAVAILABLE if error.retryable else ExitCode.FAILED
    return Failure(error.msg, _EXITS.get(error.code, default), error.code)
