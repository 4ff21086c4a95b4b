"""The house rules that are facts: import direction, a pure domain, one code and one meaning per error."""

import ast
import inspect
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from cephstorage.domain import errors
from cephstorage.domain.errors import CephStorageError

ROOT = Path(__file__).parents[2]
DOMAIN = sorted((ROOT / "src/cephstorage/domain").glob("*.py"))
IMPURE = {
    "asyncio",
    "io",
    "os",
    "pathlib",
    "random",
    "secrets",
    "shutil",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
}
CLOCKS = {"now", "utcnow", "today"}
ERRORS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, CephStorageError) and kind.__module__ == errors.__name__
]


def test_imports_point_one_way() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    outcome = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            yield node.module or ""


@pytest.mark.parametrize("path", DOMAIN, ids=lambda path: path.name)
def test_the_domain_imports_only_the_standard_library_and_itself(path: Path) -> None:
    own = "cephstorage.domain."
    foreign = {name for name in imports(path) if not name.startswith(own)}
    assert {name for name in foreign if name.partition(".")[0] not in sys.stdlib_module_names} == set()


@pytest.mark.parametrize("path", DOMAIN, ids=lambda path: path.name)
def test_the_domain_does_no_io_and_reads_no_clock(path: Path) -> None:
    assert {name.partition(".")[0] for name in imports(path)} & IMPURE == set()
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    assert {function.attr for function in called if isinstance(function, ast.Attribute)} & CLOCKS == set()
    assert {function.id for function in called if isinstance(function, ast.Name)} & {"open", "print", "input"} == set()


def test_every_module_says_why_it_exists() -> None:
    modules = sorted((ROOT / "src").rglob("*.py"))
    assert len(modules) > len(DOMAIN)
    silent = [
        str(path.relative_to(ROOT)) for path in modules if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert silent == []


def test_every_error_has_its_own_code() -> None:
    assert {kind.__name__ for kind in ERRORS if "code" not in vars(kind)} == set()
    assert {code: times for code, times in Counter(kind.code for kind in ERRORS).items() if times > 1} == {}
    assert [kind.code for kind in ERRORS if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", kind.code)] == []


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_means(kind: type[CephStorageError]) -> None:
    assert (vars(kind).get("__doc__") or "").strip().endswith(".")
    error = kind("It broke.", retry_after=2.5)
    assert (str(error), error.msg, error.retry_after) == ("It broke.", "It broke.", 2.5)


def test_what_the_caller_or_the_origin_got_wrong_for_good_is_not_retried() -> None:
    retried = {kind for kind in ERRORS if kind.retryable}
    final = (errors.InvalidInput, errors.AccessDenied, errors.NotFound, errors.Conflict)
    assert [kind.__name__ for kind in retried if issubclass(kind, final)] == []
    assert {kind.__name__ for kind in retried if issubclass(kind, errors.TransferError)} == {
        "OriginUnreachable",
        "OriginTimeout",
        "OriginResting",
        "OriginBroken",
        "OriginBusy",
        "OriginFault",
        "OriginChanged",
    }
