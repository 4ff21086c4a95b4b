"""The README's tour does what it shows, and its table of calls is the API's."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.service import Service

ROOT = Path(__file__).parents[2]
README, MIRRORS = (ROOT / "README.md").read_text(), (ROOT / "docs" / "mirrors.md").read_text()
_STEP = re.compile(r"```sh\n(.*?)```\n(?:\n```text\n(.*?)```\n)?", re.DOTALL)
_CALL = re.compile(r"^\| `([A-Z]+) (/\S*)` \|", re.MULTILINE)
_OUTSIDE_THE_API = {("GET", "/mirrors/proxy/{path}"), ("GET", "/objects/{bucket}/{key}")}


def chapter(title: str) -> str:
    """The text below a heading."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE)
    assert found is not None, title
    return found[1]


def as_pattern(shown: str) -> str:
    """What the README shows, where ``...`` stands for anything and lines may have others between them."""
    lines = [".*?".join(re.escape(part) for part in line.split("...")) for line in shown.splitlines()]
    return r"(?:.*\n)*?".join(f"{line}\r?\n" for line in lines)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_tour_does_what_it_shows(launch: Callable[..., Service], tmp_path: Path) -> None:
    port = free_port()
    service = launch("data", origin_allowed_ports=str(port))
    bin_dir = Path(sys.executable).parent
    env = service.env | {"ORIGIN_PORT": str(port), "PATH": f"{bin_dir}:{os.environ['PATH']}", "NO_PROXY": "*"}
    steps = _STEP.findall(chapter("Five-minute tour"))
    assert len(steps) == 5
    script = "set -euo pipefail\ntrap 'kill $ORIGIN_PID 2> /dev/null || true' EXIT\n"
    script += "".join(f"{commands}echo '=== end of step ==='\n" for commands, _ in steps)
    ran = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    outputs = ran.stdout.split("=== end of step ===\n")
    for (commands, shown), output in zip(steps, outputs[:-1], strict=True):
        assert re.search(as_pattern(shown), output, re.IGNORECASE), (
            f"{commands}\nshows:\n{shown}\nbut printed:\n{output}"
        )


def test_the_table_of_calls_is_the_api(service: Service) -> None:
    paths = service.json("GET", "/openapi.json")["paths"]
    real = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    told = _CALL.findall(chapter("API"))
    assert len(told) == len(set(told))
    assert set(told) - _OUTSIDE_THE_API == real - _OUTSIDE_THE_API
    assert set(told) >= _OUTSIDE_THE_API


@pytest.mark.stacks("direct")  # what is read is the same over every stack
def test_the_page_on_mirrors_shows_what_is_taken(service: Service, tmp_path: Path) -> None:
    """Its rules as a file, its origins as a body, its table of rules' fields against the API's."""
    (rules,) = re.findall(r"```toml\n(.*?)```", MIRRORS, re.DOTALL)
    (tmp_path / "rules.toml").write_text(rules)
    added = service.command(
        "mirror", "add", "files.example", "https://provider.example", "ops/files",
        "--rules-file", str(tmp_path / "rules.toml"), "--json",
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    assert len(json.loads(added.stdout)["rules"]) == rules.count("[[rules]]")
    (body,) = re.findall(r"```json\n(.*?)```", MIRRORS, re.DOTALL)
    made = service.json("POST", "/mirrors/host", json.loads(body))
    assert [origin["url"] for origin in made["origins"]] == [each["url"] for each in json.loads(body)["origins"]]
    (table,) = re.findall(r"^\| Field \|.*?\n\n", MIRRORS, re.DOTALL | re.MULTILINE)
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert len(told) > 15
    schemas = service.json("GET", "/openapi.json")["components"]["schemas"]
    assert told <= schemas["RuleBody"]["properties"].keys()
