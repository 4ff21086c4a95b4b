"""The origins of a mirror as the command line reads them: addresses, and a file with options and credentials."""

import json
from pathlib import Path
from typing import Any

from cephstorage.cli.exits import UsageMistake


def all_origins(first: str, others: list[str], path: Path | None) -> list[dict[str, Any]]:
    """The origins in their order: ``first``, with what a file says of it, others of the file, then further addresses.

    Raises UsageMistake, OSError.
    """
    told = _read_list(path) if path is not None else []
    mine = [each for each in told if each.get("url") == first] or [{"url": first}]
    return [*mine, *(each for each in told if each.get("url") != first), *({"url": other} for other in others)]


def _read_list(path: Path) -> list[dict[str, Any]]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageMistake(f"{str(path)!r} is not JSON ({type(error).__name__}).") from error
    if not isinstance(read, list) or not all(isinstance(each, dict) for each in read):
        raise UsageMistake(f"{str(path)!r} must hold a JSON list of origins, each an object with a 'url'.")
    return read
