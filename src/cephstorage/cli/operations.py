"""``serve``, ``worker``, ``doctor`` and ``version``: the service itself, on this machine."""

import platform
from typing import Annotated, Any

import typer

from cephstorage.cli.exits import ExitCode, UsageMistake
from cephstorage.cli.output import printable
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

app = typer.Typer()


@verb(app, "serve")
def serve(
    session: Session,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes; default: CEPHSTORAGE_WORKERS.")] = None,
) -> ExitCode | None:
    """Run the service in the foreground.

    It is configured by CEPHSTORAGE_* in the environment.
    """
    from cephstorage.bootstrap.main import serve as run_service

    given = {"workers": workers} if workers is not None else {}
    if status := run_service(session.settings.model_copy(update=given)):
        raise typer.Exit(status)
    return None


@verb(app, "worker")
def worker(session: Session) -> ExitCode | None:
    """Run background transfers and housekeeping in the foreground, without serving requests.

    It works on the database that its CEPHSTORAGE_* name. CEPHSTORAGE_BACKGROUND=false keeps the
    serving processes from doing the same work.
    """
    from cephstorage.bootstrap.main import work

    if status := work(session.settings):
        raise typer.Exit(status)
    return None


@verb(app, "doctor")
def doctor(
    session: Session,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only what is wrong.")] = False,
) -> ExitCode:
    """Examine this machine: settings, folders, database, clock.

    It needs no running service, and says whether one answers. Exit code 1 when anything is wrong.
    """
    findings = _findings(session)
    well = all(finding["ok"] for finding in findings)
    session.output.document({"ok": well, "findings": findings})
    if not session.json:
        for finding in findings:
            if not (quiet and finding["ok"]):
                print(_line(finding))
    return ExitCode.OK if well else ExitCode.FAILED


def _findings(session: Session) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from cephstorage.bootstrap.doctor import examine

    try:
        settings = session.settings
    except UsageMistake as error:
        advice = "Correct the environment variable and try again."
        return [{"name": "settings", "ok": False, "detail": error.msg, "advice": advice}]
    address = session.address if session.url or settings.port else None
    return [asdict(finding) for finding in session.here(examine(settings, address=address))]


def _line(finding: dict[str, Any]) -> str:
    verdict = "ok   " if finding["ok"] else "WRONG"
    advice = f" -> {finding['advice']}" if finding["advice"] else ""
    return printable(f"{verdict}  {finding['name']}: {finding['detail']}{advice}")


@verb(app, "version")
def version(session: Session) -> ExitCode | None:
    """Show the version."""
    from importlib.metadata import version as installed_version

    number = installed_version("cephstorage")
    session.output.document(
        {"cephstorage": number, "python": platform.python_version()},
        f"cephstorage {number} (Python {platform.python_version()})",
    )
    return None
