"""The table of problems is complete, and its documents are what RFC 9457 asks for."""

import ast
import inspect
import json
from collections.abc import Iterator

import pytest

from cephstorage.domain import decision, errors
from cephstorage.domain.errors import CephStorageError
from cephstorage.wire.problems import STATUS, problem, problem_of

CLASSES = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, CephStorageError)]


def refused_codes() -> Iterator[str]:
    """The codes that ``Refuse`` is built with in the source of the decision."""
    for node in ast.walk(ast.parse(inspect.getsource(decision))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refuse":
            code = node.args[0]
            assert isinstance(code, ast.Constant), "a code that can't be seen here can't be looked up"
            yield str(code.value)


def test_every_error_has_a_status() -> None:
    assert len(CLASSES) > 40
    assert {item.code for item in CLASSES} - STATUS.keys() == set()


def test_every_refusal_has_a_status() -> None:
    codes = set(refused_codes())
    assert {"loop_detected", "path_denied", "not_stored", "origin_cooling"} <= codes
    assert codes - STATUS.keys() == set()


def test_no_status_without_a_use() -> None:
    assert STATUS.keys() - {item.code for item in CLASSES} - set(refused_codes()) == set()


def test_codes_are_not_shared() -> None:
    assert len({item.code for item in CLASSES}) == len(CLASSES)


@pytest.mark.parametrize("code", STATUS)
def test_documents(code: str) -> None:
    status, headers, body = problem(code, "It is so: ü \ud800.")
    shown = json.loads(body.decode("utf-8"))
    assert 400 <= status == STATUS[code] == shown["status"]
    assert (shown["code"], shown["title"], shown["type"]) == (code, status.phrase, "about:blank")
    assert shown["detail"] == shown["msg"] == "It is so: ü ?."
    fields = dict(headers)
    assert fields["content-type"] == "application/problem+json"
    assert fields["cache-control"] == "no-store"
    assert ("retry-after" in fields) == (status == 503)
    assert ("www-authenticate" in fields) == (status == 401)


def test_retry_after_is_rounded_up() -> None:
    _, headers, _ = problem_of(errors.StoreFull("Full.", retry_after=1.2))
    assert ("retry-after", "2") in headers


def test_an_unknown_code_is_a_fault_of_ours() -> None:
    assert problem("no_such_code", "x")[0] == 500
