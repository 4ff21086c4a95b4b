"""Exit codes: one table, and a line of advice where there is something to do."""

import pytest

from cephstorage.cli.exits import ExitCode, Failure, UsageMistake, as_failure, exit_code, transfer_exit_code
from cephstorage_client import (
    ApiError,
    DownloadInterrupted,
    InvalidArgument,
    ServiceUnreachable,
    VerificationFailed,
    WaitTimeout,
)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (400, "invalid_key", 2),
        (422, "invalid_request", 2),
        (400, "md5_mismatch", 1),
        (413, "body_too_large", 1),
        (401, "unauthenticated", 4),
        (403, "forbidden", 4),
        (404, "bucket_not_found", 3),
        (409, "bucket_not_empty", 6),
        (412, "precondition_failed", 6),
        (429, "origin_busy", 5),
        (500, "internal_error", 1),
        (502, "http_502", 5),
        (503, "store_unavailable", 5),
        (504, "http_504", 5),
    ],
)
def test_api_errors(status: int, code: str, expected: int) -> None:
    assert exit_code(status, code) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UsageMistake("x"), 2),
        (InvalidArgument("x"), 2),
        (ServiceUnreachable("x"), 5),
        (DownloadInterrupted("x"), 1),
        (VerificationFailed("x"), 1),
        (WaitTimeout("x"), 1),
        (ApiError(404, "key_not_found", "x"), 3),
        (PermissionError(13, "Permission denied", "f"), 1),
    ],
)
def test_expected_errors_become_failures(error: Exception, expected: int) -> None:
    failure = as_failure(error)
    assert failure is not None
    assert failure.exit_code == expected


def test_a_defect_is_not_dressed_up() -> None:
    assert as_failure(KeyError("x")) is None


def test_a_failure_says_what_happened_and_what_to_do() -> None:
    failure = as_failure(ApiError(404, "bucket_not_found", "There is no bucket a/b."))
    assert failure is not None
    assert failure.msg.startswith("There is no bucket a/b. ")
    assert "cephstorage bucket create" in failure.msg
    file_failure = as_failure(FileNotFoundError(2, "No such file or directory", "photo.jpg"))
    assert file_failure is not None
    assert file_failure.msg == "photo.jpg: No such file or directory."
    assert isinstance(file_failure, Failure)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(None, ExitCode.OK), ("precondition_failed", ExitCode.CONFLICT), ("md5_mismatch", ExitCode.FAILED)],
)
def test_transfers(code: str | None, expected: ExitCode) -> None:
    assert transfer_exit_code(code) is expected
