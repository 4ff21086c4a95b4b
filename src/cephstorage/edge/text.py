"""nginx syntax: directives are lines, blocks are indented lines in braces."""

from collections.abc import Iterable

Lines = list[str]


def block(head: str, *bodies: str | Iterable[str]) -> Lines:
    """A block; each body is a line or lines."""
    lines = [line for body in bodies for line in ([body] if isinstance(body, str) else body)]
    return [f"{head} {{", *(f"    {line}" if line else "" for line in lines), "}"]


def comment(text: str) -> Lines:
    """One comment line for each line of the text."""
    return [f"# {line.strip()}" for line in text.strip().splitlines()]


def variable(header: str) -> str:
    """A header's name as nginx writes it in variables."""
    return header.replace("-", "_")


def canonical(header: str) -> str:
    """A header's name as people write it."""
    return "-".join(part.capitalize() for part in header.split("-"))
