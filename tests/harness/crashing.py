"""The real service, made to kill itself at an exact point: ``python -m tests.harness.crashing serve``.

``CEPHSTORAGE_CRASH_AT`` names the point as ``module:qualified.name/before`` or ``/after``, or several, with spaces
between; the service is killed (SIGKILL, no clean-up of any kind) at that call, once the file named by
``CEPHSTORAGE_CRASH_ARMED`` exists and is empty or holds this point. The product has no hooks: the named function is
wrapped from here.

Where the file holds ``hold`` and a point, who first comes to it waits there as long as it does; ``.held`` beside it tells that
somebody has come, and lets all others pass. Only coroutines can be held.

``CEPHSTORAGE_CRASH_SIZES`` names constants as ``module:NAME=bytes``, with spaces between: ways that only large objects
take are then taken by small ones.
"""

import asyncio
import functools
import importlib
import inspect
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cephstorage.cli.main import run

HOLD = "hold"
_LOOK_EVERY = 0.005


def install(point: str, armed: Path) -> None:
    """Wrap the function that ``point`` names. Several points of one function are wrapped one around the other."""
    place, _, when = point.partition("/")
    module, _, qualified = place.partition(":")
    *owners, name = qualified.split(".")
    owner: Any = functools.reduce(getattr, owners, importlib.import_module(module))
    setattr(owner, name, _deadly(getattr(owner, name), when, point, armed))


def resize(constant: str) -> None:
    """Give the constant that ``constant`` names its value."""
    place, _, size = constant.partition("=")
    module, _, name = place.partition(":")
    assert isinstance(getattr(importlib.import_module(module), name), int)
    setattr(importlib.import_module(module), name, int(size))


def _deadly(function: Callable[..., Any], when: str, point: str, armed: Path) -> Callable[..., Any]:
    def die(moment: str) -> None:
        if moment == when and _is_armed(armed, point):
            os.kill(os.getpid(), signal.SIGKILL)

    @functools.wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        die("before")
        result = function(*args, **kwargs)
        die("after")
        return result

    async def come(moment: str) -> None:
        die(moment)
        order = f"{HOLD} {point}"
        if moment == when and _said(armed) == order and _is_first(held_file(armed)):
            while _said(armed) == order:  # noqa: ASYNC110 - another process ends it
                await asyncio.sleep(_LOOK_EVERY)

    @functools.wraps(function)
    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        await come("before")
        result = await function(*args, **kwargs)
        await come("after")
        return result

    return asynchronous if inspect.iscoroutinefunction(function) else plain


def _is_armed(armed: Path, point: str) -> bool:
    return _said(armed) in {"", point}


def _said(armed: Path) -> str | None:
    try:
        return armed.read_text()
    except FileNotFoundError:
        return None


def _is_first(held: Path) -> bool:
    try:
        held.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def held_file(armed: Path) -> Path:
    """The file that is there as soon as somebody is held."""
    return armed.with_suffix(".held")


if __name__ == "__main__":
    for each in os.environ["CEPHSTORAGE_CRASH_AT"].split():
        install(each, Path(os.environ["CEPHSTORAGE_CRASH_ARMED"]))
    for each in os.environ.get("CEPHSTORAGE_CRASH_SIZES", "").split():
        resize(each)
    run()
