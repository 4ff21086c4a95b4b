"""Exit codes, and one clear line for everything that can go wrong.

0 done · 1 failed · 2 usage · 3 not found · 4 refused · 5 service unavailable · 6 conflict · 130 Ctrl-C
"""

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cephstorage_client import ApiError


class ExitCode(IntEnum):
    """What a script may rely on."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNAVAILABLE = 5
    CONFLICT = 6
    INTERRUPTED = 130


_BY_STATUS = {
    401: ExitCode.REFUSED,
    403: ExitCode.REFUSED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    429: ExitCode.UNAVAILABLE,
    502: ExitCode.UNAVAILABLE,
    503: ExitCode.UNAVAILABLE,
    504: ExitCode.UNAVAILABLE,
}
_ADVICE = {
    "unauthenticated": "Give a valid token with --token or CEPHSTORAGE_TOKEN.",
    "forbidden": "Use a token with more rights.",
    "bucket_not_found": "Make it with: cephstorage bucket create USERNAME/BUCKETNAME",
    "bucket_not_empty": "Empty it with: cephstorage rm -r USERNAME/BUCKETNAME, and its trash with: "
    "cephstorage trash empty USERNAME/BUCKETNAME",
}


class Failure(Exception):
    """The command can't go on. ``msg`` is one sentence; ``code`` names the kind, as the API's codes do."""

    def __init__(self, msg: str, exit_code: ExitCode = ExitCode.FAILED, code: str = "failed") -> None:
        super().__init__(msg)
        self.msg = msg
        self.exit_code = exit_code
        self.code = code


class UsageMistake(Failure):
    """The arguments make no sense together."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg, ExitCode.USAGE, "usage")


def as_failure(error: Exception) -> Failure | None:
    """The failure that an expected error stands for; None for an error that is a defect of ours."""
    from cephstorage_client import ApiError, ClientError, InvalidArgument, ServiceUnreachable

    if isinstance(error, Failure):
        return error
    if isinstance(error, ApiError):
        return api_failure(error)
    if isinstance(error, ServiceUnreachable):
        msg = f"{error.msg} Start it with 'cephstorage serve', or name another one with --url."
        return Failure(msg, ExitCode.UNAVAILABLE, "unreachable")
    if isinstance(error, InvalidArgument):
        return Failure(error.msg, ExitCode.USAGE, "invalid_argument")
    if isinstance(error, ClientError):
        return Failure(error.msg)
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename else ""
        return Failure(f"{name}{error.strerror or error}.", code="file")
    return None


def api_failure(error: "ApiError") -> Failure:
    """What an answer of the service means for the caller."""
    advice = _ADVICE.get(error.code)
    return Failure(f"{error.msg} {advice}" if advice else error.msg, exit_code(error.status, error.code), error.code)


def exit_code(status: int, code: str) -> ExitCode:
    """The exit code for an API error."""
    if code.startswith("invalid_"):
        return ExitCode.USAGE
    return _BY_STATUS.get(status, ExitCode.FAILED)


def transfer_exit_code(code: str | None) -> ExitCode:
    """The exit code for a transfer that ended with this error code (None: success)."""
    if code is None:
        return ExitCode.OK
    return ExitCode.CONFLICT if code == "precondition_failed" else ExitCode.FAILED
