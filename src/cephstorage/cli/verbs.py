"""How a function becomes a command: it gets its Session, its errors become one line and an exit code.

The global options are accepted before the verb and after it, so that ``cephstorage ls --json a/b`` and
``cephstorage --json ls a/b`` are the same.
"""

import functools
import inspect
import json
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from cephstorage.cli.exits import ExitCode, Failure, as_failure
from cephstorage.cli.output import printable
from cephstorage.cli.session import Session

Url = Annotated[str | None, typer.Option("--url", help="Address of the service.", metavar="URL")]
Token = Annotated[str | None, typer.Option("--token", help="Access token.", metavar="TOKEN")]
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]

Command = Callable[..., ExitCode | None]


def verb(app: typer.Typer, name: str) -> Callable[[Command], Command]:
    """Register a function whose first parameter is the Session as a command of ``app``."""

    def register(function: Command) -> Command:
        app.command(name)(_with_session(function))
        return function

    return register


def _with_session(function: Command) -> Callable[..., None]:
    @functools.wraps(function)
    def command(
        ctx: typer.Context, url: str | None = None, token: str | None = None, json: bool = False, **arguments: Any
    ) -> None:
        before = ctx.find_object(Session) or Session()
        session = Session(url or before.url, token or before.token, json or before.json)
        raise typer.Exit(perform(function, session, **arguments))

    own = [parameter for parameter in inspect.signature(function).parameters.values() if parameter.name != "session"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in (("url", Url, None), ("token", Token, None), ("json", Json, False))
    ]
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *(each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own), *shared]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def perform(function: Command, session: Session, **arguments: Any) -> ExitCode:
    """Run a command; report what goes wrong in one line. Defects of ours are raised as they are."""
    try:
        return function(session, **arguments) or ExitCode.OK
    except BrokenPipeError:
        raise
    except Exception as error:
        failure = as_failure(error)
        if failure is None:
            raise
        report(failure, session.json)
        return failure.exit_code


def report(failure: Failure, as_json: bool) -> None:
    """One line on standard error: what happened and what to do; under --json a document with the code."""
    if as_json:
        line = json.dumps({"error": {"code": failure.code, "msg": failure.msg}}, ensure_ascii=False)
    else:
        line = f"cephstorage: {printable(failure.msg)}"
    print(line, file=sys.stderr)
