"""The real service, made to kill itself at an exact point: ``python -m tests.harness.crashing serve``.

``CEPHSTORAGE_CRASH_AT`` names the point as ``module:qualified.name/before`` or ``/after``, or several, with spaces
between; the service is killed (SIGKILL, no clean-up of any kind) at that call, once the file named by
``CEPHSTORAGE_CRASH_ARMED`` exists and is empty or holds this point. The product has no hooks: the named function is
wrapped from here.
"""

import functools
import importlib
import inspect
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cephstorage.cli.main import run


def install(point: str, armed: Path) -> None:
    """Wrap the function that ``point`` names. Several points of one function are wrapped one around the other."""
    place, _, when = point.partition("/")
    module, _, qualified = place.partition(":")
    *owners, name = qualified.split(".")
    owner: Any = functools.reduce(getattr, owners, importlib.import_module(module))
    setattr(owner, name, _deadly(getattr(owner, name), when, point, armed))


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

    @functools.wraps(function)
    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        die("before")
        result = await function(*args, **kwargs)
        die("after")
        return result

    return asynchronous if inspect.iscoroutinefunction(function) else plain


def _is_armed(armed: Path, point: str) -> bool:
    try:
        return armed.read_text() in {"", point}
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    for each in os.environ["CEPHSTORAGE_CRASH_AT"].split():
        install(each, Path(os.environ["CEPHSTORAGE_CRASH_ARMED"]))
    run()
