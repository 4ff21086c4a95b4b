"""The real engines' programs: found where Debian puts them. What is missing skips a test, but never in CI."""

import os
import shutil
from pathlib import Path

import pytest

_PLACES = (*Path("/usr/lib/postgresql").glob("*/bin"), Path("/usr/local/sbin"), Path("/usr/sbin"), Path("/sbin"))


def find(program: str) -> str | None:
    """The program's path, or None. PostgreSQL's and the daemons' folders are looked at beyond PATH."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, _PLACES)]))


def require(*programs: str) -> None:
    """Skip the test unless every program is there; with CI=true fail it: there nothing may be skipped."""
    if missing := [program for program in programs if find(program) is None]:
        words = f"{', '.join(missing)} not installed: see scripts/programs.sh"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
