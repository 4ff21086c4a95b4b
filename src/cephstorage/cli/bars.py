"""Progress bars: on standard error, and only where a person watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OnBytes = Callable[[int, int | None], None]
"""Called with (bytes done, bytes in all or None)."""


def watched() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr.isatty()


@contextmanager
def byte_bar(name: str, *, wanted: bool = True) -> Iterator[OnBytes | None]:
    """A bar for one movement of bytes; None where nobody would see it."""
    if not wanted or not watched():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    from cephstorage.cli.output import printable

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(escape(printable(name)), total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
