"""``edge render | check | run | reload``: nginx in front of the proxies, on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cephstorage.cli.exits import ExitCode, Failure
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

app = typer.Typer(no_args_is_help=True)


@contextmanager
def _in_plain_words() -> Iterator[None]:
    """Have errors of this machine's settings and database reported like those of the service."""
    from cephstorage.domain.errors import CephStorageError

    try:
        yield
    except CephStorageError as error:
        raise Failure(error.msg, code=error.code) from error


@verb(app, "render")
def render(
    session: Session,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file, mode 0600.", metavar="FILE")
    ] = None,
    system: Annotated[
        Path | None,
        typer.Option("--system", help="Write nginx.conf and a systemd unit into this folder.", metavar="DIR"),
    ] = None,
) -> ExitCode:
    """Print nginx.conf as the settings make it.

    It holds the secret that proxies and edges share: treat it like a password.
    """
    from cephstorage.bootstrap import edge
    from cephstorage.files import write_durably

    if system is not None:
        with _in_plain_words():
            written = edge.write_for_system(session.settings, system)
        print(*written, sep="\n")
        return ExitCode.OK
    with _in_plain_words():
        text = edge.rendered(session.settings)
    if output is not None:
        write_durably(output, text.encode())
    else:
        print(text, end="")
    return ExitCode.OK


@verb(app, "check")
def check(session: Session) -> ExitCode:
    """Render nginx.conf and have nginx test it; nothing is put in place."""
    from cephstorage.bootstrap import edge

    with _in_plain_words():
        trouble = edge.check(session.settings)
    session.output.document({"ok": trouble is None, "nginx": trouble})
    if not session.json:
        print(trouble or "nginx takes the configuration.")
    return ExitCode.OK if trouble is None else ExitCode.FAILED


@verb(app, "run")
def run(session: Session) -> ExitCode | None:
    """Run nginx in the foreground, and keep it running and up to date.

    It is configured by CEPHSTORAGE_EDGE_* in the environment, and by what stands in the database.
    """
    from cephstorage.bootstrap import edge

    with _in_plain_words():
        status = edge.run(session.settings)
    if status:
        raise typer.Exit(status)
    return None


@verb(app, "reload")
def reload(session: Session) -> ExitCode:
    """Have the running edge take over the settings and certificates now, without losing a request."""
    from cephstorage.bootstrap import edge

    with _in_plain_words():
        told = edge.reload(session.settings)
    if not session.json:
        print(f"Told {told} to reload.")
    return ExitCode.OK
