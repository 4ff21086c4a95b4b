"""Who is alive on this machine: each process holds a lock on a file with its name.

The kernel frees the lock when the process dies, however it dies, so its leases can be ended at once
instead of waiting for them to expire. Owners of other machines have no file here and are left alone.

An owner is ``<name>``, or ``<name>@<host>:<port>`` when other machines reach its process there.
"""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from cephstorage.files import make_private_directory, remove_quietly, try_lock


class Presence:
    """The owner name of this process, and the means to tell dead owners."""

    def __init__(self, folder: Path, advertised: str = "") -> None:
        self._folder = folder
        self._fd: int | None = None
        self._folder_fd: int | None = None
        self.owner = secrets.token_hex(6) + (f"@{advertised}" if advertised else "")

    def announce(self) -> None:
        """Create and lock this process's file."""
        make_private_directory(self._folder)
        self._folder_fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        while self._fd is None:
            fd = os.open(self._path(self.owner), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if try_lock(fd) and os.fstat(fd).st_nlink > 0:
                self._fd = fd
            else:
                os.close(fd)  # another process was just tidying up; its file is gone now

    def withdraw(self) -> None:
        """Remove this process's files (orderly stop)."""
        if self._fd is not None:
            remove_quietly(self.socket(self.owner))
            remove_quietly(self._path(self.owner))
            os.close(self._fd)
            self._fd = None
        if self._folder_fd is not None:
            os.close(self._folder_fd)
            self._folder_fd = None

    def dead(self, owners: Iterable[str]) -> list[str]:
        """Those of ``owners`` whose process ran on this machine and is gone."""
        return [owner for owner in owners if owner != self.owner and self._is_dead(owner)]

    def forget(self, owner: str) -> None:
        """Remove a dead owner's files, under its lock: whoever announces itself just now sees it or is left alone."""
        try:
            fd = os.open(self._path(owner), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            remove_quietly(self.socket(owner))
            return
        try:
            if try_lock(fd):
                remove_quietly(self.socket(owner))
                remove_quietly(self._path(owner))
        finally:
            os.close(fd)

    def tidy(self, leased: Iterable[str]) -> None:
        """Remove the files of dead processes that hold no lease."""
        present = {path.stem for path in self._folder.glob("*.lock")} | {p.stem for p in self._folder.glob("*.sock")}
        for owner in self.dead(present - {_name(owner) for owner in leased} - {_name(self.owner)}):
            self.forget(owner)

    def _is_dead(self, owner: str) -> bool:
        try:
            fd = os.open(self._path(owner), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return self.socket(owner).exists()
        try:
            return try_lock(fd)
        finally:
            os.close(fd)

    def socket(self, owner: str) -> Path:
        """Where an owner's process takes forwarded requests."""
        return self._folder / f"{_name(owner)}.sock"

    def near(self, owner: str) -> str | None:
        """The socket's address when the owner's process was started on this machine; None for other machines."""
        return self.socket_address(owner) if self.socket(owner).exists() else None

    def socket_address(self, owner: str) -> str:
        """The same as an address to bind or connect to: 107 bytes at most (unix(7)), however long the folder's path is."""
        assert self._folder_fd is not None, "announce() comes first"
        return f"/proc/self/fd/{self._folder_fd}/{_name(owner)}.sock"

    def _path(self, owner: str) -> Path:
        return self._folder / f"{_name(owner)}.lock"


def _name(owner: str) -> str:
    return owner.partition("@")[0]
