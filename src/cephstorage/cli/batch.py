"""Doing one thing to many keys: go on after a failure that concerns one of them, stop at one that concerns all."""

from collections.abc import Callable, Mapping
from typing import Any

from cephstorage.cli.exits import ExitCode, Failure, as_failure
from cephstorage.cli.filenames import UnsafeName
from cephstorage.cli.output import printable
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import report

_HOPELESS_CODES = frozenset({"bucket_not_found", "storage_full"})
_HOPELESS = frozenset({ExitCode.REFUSED, ExitCode.UNAVAILABLE})


class Batch:
    """The outcome of many actions. ``done`` and ``missed`` count them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.done = 0
        self.missed = 0

    @property
    def exit_code(self) -> ExitCode:
        """0 when all went well, else 1."""
        return ExitCode.FAILED if self.missed else ExitCode.OK

    def do(self, name: str, action: Callable[[], Mapping[str, Any]]) -> None:
        """Do one thing and print its result; ``name`` is what a person knows it by.

        Raises what would befall every other one too.
        """
        try:
            result = action()
        except UnsafeName as error:
            self._miss(name, "unsafe_name", error.msg)
        except Exception as error:
            failure = as_failure(error)
            if failure is None or isinstance(error, BrokenPipeError) or _hopeless(failure):
                raise
            self._miss(name, failure.code, failure.msg)
        else:
            self.done += 1
            self._session.output.document(result, printable(name))

    def _miss(self, name: str, code: str, reason: str) -> None:
        self.missed += 1
        if self._session.json:
            self._session.output.document({"name": name, "skipped": {"code": code, "msg": reason}})
        report(Failure(f"skipped {name!r}: {reason}", code=code), self._session.json)


def _hopeless(failure: Failure) -> bool:
    return failure.exit_code in _HOPELESS or failure.code in _HOPELESS_CODES
