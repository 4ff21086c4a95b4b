"""Mirror rules as they are written on a command line and in files."""

import json
import tomllib
from pathlib import Path
from typing import Any

from cephstorage.cli.exits import UsageMistake

_KINDS = {"prefix:": "prefix", "suffix:": "suffix", "regex:": "regex", "type:": "content_type", "status:": "status"}


def parse_rule(text: str) -> dict[str, Any]:
    """Read ``PATTERN=MODE`` or ``PATTERN=MODE:TTL``, the time in seconds. Raises UsageMistake.

    A pattern is a glob, or begins with ``prefix:``, ``suffix:``, ``regex:``, ``type:`` or ``status:``.
    """
    pattern, _, meaning = text.rpartition("=")
    mode, colon, ttl = meaning.partition(":")
    kind = next((kind for kind in _KINDS if pattern.startswith(kind)), "")
    pattern = pattern.removeprefix(kind)
    if not pattern or not mode or (colon and not ttl.isdecimal()):
        raise UsageMistake(f"{text!r} is not a rule: write PATTERN=MODE or PATTERN=MODE:SECONDS.")
    name = _KINDS.get(kind, "path")
    matched: Any = pattern.split(",") if name == "status" else pattern
    return {name: matched, "mode": mode, **({"ttl": float(ttl)} if colon else {})}


def read_policy(path: Path) -> dict[str, Any]:
    """Read a file of rules, TOML by its name, else JSON: a list of rules, or a table of what a mirror may be told.

    In TOML each rule is a ``[[rules]]`` table; what stands before them holds for the whole mirror. Raises
    UsageMistake, OSError.
    """
    text = path.read_text(encoding="utf-8")
    try:
        found = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        raise UsageMistake(f"{str(path)!r} can't be read ({error}).") from error
    policy = {"rules": found} if isinstance(found, list) else found
    rules = policy.get("rules", []) if isinstance(policy, dict) else None
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        raise UsageMistake(f"{str(path)!r} must hold a list of rules, each a table as the API takes it; see /docs.")
    return {str(name): value for name, value in policy.items()}
