"""``config ls | get | set | unset``: the settings that change while the service runs. ``config forget-sealed``."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cephstorage.cli.exits import ExitCode, Failure, UsageMistake
from cephstorage.cli.output import printable
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

app = typer.Typer(no_args_is_help=True)
COLUMNS = {"name": "NAME", "value": "VALUE", "source": "FROM", "variable": "FIXED BY"}

Name = Annotated[str, typer.Argument(help="Name of a setting; see ls.", metavar="NAME")]
Names = Annotated[list[str], typer.Argument(help="Names of settings; see ls.", metavar="NAME...")]
NoProbe = Annotated[bool, typer.Option("--no-probe", help="Store it although the gateway may not answer now.")]


@verb(app, "ls")
def ls(session: Session) -> ExitCode | None:
    """List the settings that can be changed while the service runs, and where each value comes from."""
    rows = [{"name": name, **known} for name, known in _known(session).items()]
    if not session.json:
        for row in rows:
            row |= {"value": _text(row), "variable": row["variable"] if row["fixed"] else None}
    session.output.table(rows, COLUMNS)
    return None


@verb(app, "get")
def get(session: Session, name: Name) -> ExitCode | None:
    """Print the value in force. Of a secret only whether it is set."""
    known = _known(session)
    if name not in known:
        raise Failure(f"There is no setting {name!r}; there are {', '.join(known)}.", ExitCode.NOT_FOUND, "not_found")
    session.output.document({"name": name, **known[name]}, printable(_text(known[name])))
    return None


@verb(app, "set")
def set_(
    session: Session,
    assignments: Annotated[list[str], typer.Argument(help="NAME=VALUE, or NAME alone.", metavar="NAME[=VALUE]...")],
    no_probe: NoProbe = False,
) -> ExitCode | None:
    """Change settings in every process of the service, all or none.

    A NAME without a value is asked for at the terminal, or read from standard input, a line each: so a
    secret never stands in the shell's history or in the list of processes, where it is refused.
    """
    wishes = dict(_assigned(assignment) for assignment in assignments)
    return _change(session, wishes, probe=not no_probe)


@verb(app, "unset")
def unset(session: Session, names: Names, no_probe: NoProbe = False) -> ExitCode | None:
    """Remove stored values: the defaults are in force again."""
    return _change(session, dict.fromkeys(names), probe=not no_probe)


@verb(app, "forget-sealed")
def forget_sealed(
    session: Session, yes: Annotated[bool, typer.Option("--yes", help="Do it.")] = False
) -> ExitCode | None:
    """Give up the secrets in the database that this machine's secret key does not open.

    For when the key is lost for good: without it they are of no use to anybody. It works on the database
    itself; the service need not run.
    """
    if not yes:
        raise UsageMistake("Secrets that do not open with the key of this machine would be removed; say --yes.")
    from cephstorage.bootstrap.secret_key import forget_unopened
    from cephstorage.domain.errors import CephStorageError

    try:
        names = session.here(forget_unopened(session.settings))
    except CephStorageError as error:
        raise Failure(error.msg, ExitCode.UNAVAILABLE, error.code) from error
    session.output.document({"forgotten": names}, "\n".join(names) or None)
    if not session.json:
        session.output.remark("Set them anew." if names else "Every secret opens; nothing was removed.")
    return None


def _known(session: Session) -> dict[str, dict[str, Any]]:
    with session.connect() as client:
        return dict(client.config()["settings"])


def _text(known: dict[str, Any]) -> str:
    if known["secret"]:
        return "(set)" if known["set"] else "-"
    return known["value"] or "-"


def _assigned(assignment: str) -> tuple[str, str]:
    from cephstorage.domain.configuration import OPTIONS

    name, equals, value = assignment.partition("=")
    secret = name in OPTIONS and OPTIONS[name].secret
    if not equals:
        return name, _read(name, secret=secret)
    if secret:
        raise UsageMistake(
            f"{name} is a secret and must not stand in a command: write 'cephstorage config set {name}' and type it, "
            "or give it on standard input."
        )
    return name, value


def _read(name: str, *, secret: bool) -> str:
    from getpass import getpass

    if sys.stdin.isatty():
        return getpass(f"{name}: ") if secret else input(f"{name}: ")
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise UsageMistake(f"There is no value for {name} on standard input.")
    return line


def _change(session: Session, wishes: Mapping[str, str | None], *, probe: bool) -> ExitCode | None:
    with session.connect() as client:
        state = client.change_config(wishes, probe=probe)
    shown = {name: state["settings"][name] for name in wishes}
    session.output.document({"settings": shown, "checked": state["checked"]})
    if not session.json:
        for name, known in shown.items():
            session.output.remark(f"{name}  {_text(known)}")
        if state["checked"]:
            session.output.remark(f"It works: {state['checked']}.")
    return None
