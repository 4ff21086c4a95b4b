"""What goes to standard output: text for people, or JSON for programs (one document, or one a line for lists).

Names come from strangers; control characters in them are shown as escapes, so that a key can't rewrite
the terminal it is listed on.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


@dataclass(frozen=True, slots=True)
class Output:
    """Writes results to standard output and remarks to standard error."""

    json: bool = False

    def document(self, value: Mapping[str, Any], text: str | None = None) -> None:
        """One result: the JSON document, or the text (None: nothing)."""
        if self.json:
            print(json.dumps(value, ensure_ascii=False))
        elif text is not None:
            print(text)

    def table(self, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
        """A short list: NDJSON, or a table with ``columns`` (field to heading)."""
        if self.json:
            for row in rows:
                self.document(row)
            return
        cells = [list(columns.values()), *([shown(row.get(name)) for name in columns] for row in rows)]
        if len(cells) > 1:
            print("\n".join(_aligned(cells)))

    def fields(self, value: Mapping[str, Any]) -> None:
        """One result with many fields: a JSON document, or a field a line."""
        if self.json:
            self.document(value)
            return
        width = max(map(len, value), default=0)
        for name, content in value.items():
            print(f"{name:<{width}}  {shown(content)}")

    def remark(self, text: str) -> None:
        """A line for a person, on standard error."""
        print(printable(text), file=sys.stderr)


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def shown(value: Any) -> str:
    """A JSON value as a person reads it."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(str(value))


def printable(text: str) -> str:
    """The text with control, format and other unprintable characters as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def readable_size(size: int) -> str:
    """A number of bytes in binary units."""
    amount = float(size)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def readable_time(seconds: float | None) -> str:
    """A moment (epoch seconds) in UTC."""
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
