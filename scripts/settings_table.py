"""The README's table of settings, made from their descriptions: ``make docs`` writes it, a test compares it."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, SecretStr

from cephstorage.bootstrap.settings import Settings

README = Path(__file__).resolve().parent.parent / "README.md"
_PLACE = re.compile(r"(<!-- settings -->\n).*?(<!-- end of settings -->)", re.DOTALL)


_HEAD = "| Variable | Default | Also in the database | Meaning |"


def table() -> str:
    """One row for each setting, in the order of the code."""
    return "\n".join([_HEAD, "| --- | --- | --- | --- |", *_rows(Settings, "CEPHSTORAGE_")]) + "\n"


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        variable, default = prefix + name.upper(), field.default
        if isinstance(default, BaseModel):
            yield from _rows(type(default), f"{variable}_")
        else:
            kept = "yes" if field.json_schema_extra else ""
            yield f"| `{variable}` | {_shown(default)} | {kept} | {field.description} |"


def _shown(default: object) -> str:
    if default is None or default in ("", (), SecretStr("")):
        return ""
    if isinstance(default, tuple):
        return f"`{','.join(map(str, default))}`"
    return f"`{default:.15g}`" if isinstance(default, float) else f"`{default}`"


def written(readme: str) -> str:
    """The README with the table as it should be."""
    return _PLACE.sub(lambda place: place[1] + table() + place[2], readme)


if __name__ == "__main__":
    README.write_text(written(README.read_text()))
    sys.stdout.write(table())
