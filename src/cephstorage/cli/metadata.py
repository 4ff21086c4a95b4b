"""What is said of a key beside its bytes, as it is written on a command line: custom metadata, its expiry."""

from collections.abc import Sequence
from typing import Annotated

import typer

from cephstorage.cli.exits import UsageMistake

Metadata = Annotated[
    list[str] | None, typer.Option("--metadata", help="A name and value of your own; repeatable.", metavar="NAME=VALUE")
]
Expires = Annotated[str | None, typer.Option(help="When the key ends: a time, or a span such as 30d.")]


def parse_metadata(given: Sequence[str] | None) -> dict[str, str] | None:
    """Read ``NAME=VALUE``, several times; None when there is none. Raises UsageMistake."""
    from cephstorage.domain.errors import InvalidMetadata
    from cephstorage.domain.metadata import metadata_of

    if not given:
        return None
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not name or not equals or name in found:
            raise UsageMistake(f"{text!r} is not a name and value that was not given before: write NAME=VALUE.")
        found[name] = value
    try:
        return dict(metadata_of(found))
    except InvalidMetadata as error:
        raise UsageMistake(error.msg) from error
