"""The house keeps what its papers say: locks, hooks, README and documents."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

from cephstorage.domain.transfers import LEGAL

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
_PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+)((?:.*\\\n)*.*)", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
_CODE_PATH = re.compile(r"`((?:[\w.-]+/)+(?:[\w-]+\.[a-z]+)?)`")
_PLACES = (ROOT, ROOT / "src" / "cephstorage", ROOT / "docs")
_NOT_IN_THE_CHECKOUT = ("data/", "objects/", "spool/", "run/", ".venv/")


def pins(lock: str) -> dict[str, tuple[str, str]]:
    """Name to version and the rest of the entry."""
    text = (ROOT / lock).read_text()
    entries = {name: (version, rest) for name, version, rest in _PIN.findall(text)}
    assert len(entries) == len([line for line in text.splitlines() if line and line[0] not in " #"])
    return entries


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes(lock: str) -> None:
    bare = [name for name, (_, rest) in pins(lock).items() if "--hash=sha256:" not in rest]
    assert pins(lock)
    assert bare == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert re.search(r"^\s*-(?!-hash=)", text, re.MULTILINE) is None


def test_the_locks_hold_what_the_project_declares_and_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, dev = (pins(lock) for lock in LOCKS)
    groups = project["dependency-groups"]
    assert declared(project["project"]["dependencies"] + groups["build"]) <= runtime.keys()
    assert declared(groups["dev"]) <= dev.keys()
    assert declared(project["build-system"]["requires"]) <= runtime.keys()
    assert {name: version for name, (version, _) in dev.items() if name in runtime} == {
        name: version for name, (version, _) in runtime.items()
    }


def declared(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0].lower() for text in requirements}


def test_hooks_come_from_this_checkout_only() -> None:
    config = (ROOT / ".pre-commit-config.yaml").read_text()
    repositories = re.findall(r"^\s*-\s*repo:\s*(\S+)", config, re.MULTILINE)
    entries = re.findall(r"^\s*entry:\s*(\S+)", config, re.MULTILINE)
    assert set(repositories) == {"local"}
    assert entries
    assert all(entry.startswith(".venv/bin/") for entry in entries)


def test_the_readme_shows_the_settings_as_they_are() -> None:
    readme = (ROOT / "README.md").read_text()
    written = runpy.run_path(str(ROOT / "scripts" / "settings_table.py"))["written"]
    assert readme == written(readme), "run `make docs`"
    assert "| `CEPHSTORAGE_ORIGIN_ALLOWED_NETWORKS` |" in readme


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_named_files_exist(document: Path) -> None:
    text = document.read_text()
    links = [link for link in _LINK.findall(text) if "://" not in link]
    paths = [path for path in _CODE_PATH.findall(text) if not path.startswith(_NOT_IN_THE_CHECKOUT)]
    missing = [link for link in links if not (document.parent / link).exists()]
    missing += [path for path in paths if not any((place / path).exists() for place in _PLACES)]
    assert missing == []


def test_decisions_are_numbered_and_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    names = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [int(name[:3]) for name in names] == list(range(1, len(names) + 1))
    assert _LINK.findall((folder / "README.md").read_text()) == names
    for name in names:
        text = (folder / name).read_text()
        assert text.startswith(f"# {int(name[:3])}. "), name
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequence")), name


def test_make_lists_every_task() -> None:
    makefile = (ROOT / "Makefile").read_text()
    tasks = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert tasks is not None
    assert re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE) == tasks[1].split()


def test_the_diagram_of_states_is_the_table_of_legal_transitions() -> None:
    diagram = (ROOT / "docs" / "architecture.md").read_text()
    drawn = set(re.findall(r"^    ([a-z]+) --> ([a-z]+)", diagram, re.MULTILINE))
    legal = {(before.value, after.value) for before, afters in LEGAL.items() for after in afters if after is not before}
    assert drawn == legal
