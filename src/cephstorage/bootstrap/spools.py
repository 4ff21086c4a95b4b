"""The folders in which this machine has left spools: settings change, and part files end where they began."""

import contextlib
from pathlib import Path

from cephstorage.bootstrap.settings import Settings


def known_spools(settings: Settings) -> list[Path]:
    """Every folder in which this machine may have left spools."""
    default = settings.default_spool_dir.absolute()
    with contextlib.suppress(FileNotFoundError):
        return [default, *map(Path, settings.spool_list.read_text().splitlines())]
    return [default]


def note_spool(settings: Settings, folder: Path) -> None:
    """Remember a folder in which spools are going to lie, for the sweeps of later starts."""
    if folder not in known_spools(settings):
        with settings.spool_list.open("a") as file:
            file.write(f"{folder}\n")
