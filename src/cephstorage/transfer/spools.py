"""All spools of this machine: the room that they may take together, and what nobody needs any more.

The process that works on a spool holds a lock on the part file; the kernel frees it when the process dies. So the sweep can
tell an orphan from a live spool of another process without asking anybody.
"""

import asyncio
import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from cephstorage.domain.errors import SpoolUnavailable, StoreFull
from cephstorage.files import lock, make_private_directory, remove_quietly, try_lock
from cephstorage.transfer.spool import Spool

_FREE_MARGIN = 64 << 20
_SCAN_EVERY = 1.0


class SpoolDirectory:
    """All spools of this machine, and the bound on them together.

    New ones lie in ``folder``; those of ``former`` folders are known, too, and end where they are.
    """

    def __init__(self, folder: Path, quota: int, former: Iterable[Path] = ()) -> None:
        self._folders = [folder, *(other for other in former if other != folder)]
        self._quota = quota
        self._promised: dict[str, int] = {}
        self._scanned = (-_SCAN_EVERY, 0)

    @property
    def folder(self) -> Path:
        """Where new spools lie."""
        return self._folders[0]

    def use(self, folder: Path) -> None:
        """Let new spools lie in ``folder`` from now on."""
        self._folders = [folder, *(other for other in self._folders if other != folder)]
        self._scanned = (-_SCAN_EVERY, 0)

    async def check(self) -> str:
        """One line about folder and room, for ``/readyz``. Raises SpoolUnavailable, StoreFull."""
        return await asyncio.to_thread(self._check)

    def _check(self) -> str:
        try:
            make_private_directory(self.folder)
            free, found = shutil.disk_usage(self.folder).free, os.statvfs(self.folder)
        except OSError as error:
            raise SpoolUnavailable(
                f"The spool {self.folder} can't be used: {error.strerror}; see download_path."
            ) from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise SpoolUnavailable(f"The spool {self.folder} can't be written; see its owner, or download_path.")
        if free < _FREE_MARGIN or (found.f_files and not found.f_favail):
            raise StoreFull(
                f"The disk of the spool {self.folder} is full, or has no inodes left; free some, or change download_path."
            )
        return f"{self.folder}, {free / 2**30:.1f} GiB free"

    def open(self, transfer_id: str) -> Spool:
        """Open the spool of a transfer, with what an earlier process left of it, or an empty one.

        A part file that a stalled process still holds is left to it and replaced by a new one. Raises SpoolUnavailable,
        StoreFull.
        """
        with self._explained():
            return Spool(self._part(transfer_id), self._locked(transfer_id), lambda: self._locked(transfer_id))

    def begin(self, transfer_id: str) -> Spool:
        """The spool of a transfer that has just got its name: its part file is made when it is needed."""
        return Spool(self._part(transfer_id), None, lambda: self._locked(transfer_id))

    def _locked(self, transfer_id: str) -> int:
        """The part file under its lock. Who meets a sweep at work there waits for its end, which is near."""
        path = self._part(transfer_id)
        if (fd := self._taken(path)) is not None:
            return fd
        with _alone_in(path.parent):
            while (fd := self._taken(path)) is None:
                self.remove(transfer_id)
            return fd

    def _taken(self, path: Path) -> int | None:
        """The part file, made if it is missing, under its lock; None when another process has it."""
        while True:
            fd = self._opened(path)
            if try_lock(fd) and os.fstat(fd).st_nlink > 0:
                return fd
            gone = os.fstat(fd).st_nlink == 0
            os.close(fd)
            if not gone:
                return None

    def _opened(self, path: Path) -> int:
        """The part file, made if it is missing."""
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            make_private_directory(self.folder)
            return self._opened(path)

    def exists(self, transfer_id: str) -> bool:
        """Whether something of the spool is left."""
        return self._part(transfer_id).exists()

    def remove(self, transfer_id: str) -> None:
        """Remove a spool's files; readers that have it open keep their bytes.

        The journal goes first: without it a part file is worth nothing, but not the other way round.
        """
        self.release(transfer_id)
        for folder in self._folders:
            remove_quietly(folder / f"{transfer_id}.spans")
            remove_quietly(folder / f"{transfer_id}.part")

    def end(self, spool: Spool) -> None:
        """Remove the files of a spool that is no longer needed, unless another process has put its own in their place."""
        if spool.replaced():
            self.release(spool.name)
        else:
            self.remove(spool.name)

    def release(self, transfer_id: str) -> None:
        """Promise no more room to a transfer: it has ended, or another process may go on with it."""
        self._promised.pop(transfer_id, None)

    def admit(self, transfer_id: str, size: int) -> None:
        """Promise room for ``size`` bytes in all for this transfer. Raises SpoolUnavailable, or StoreFull when there is none."""
        with self._explained():
            self._admit(transfer_id, size)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Tell the operator which folder it is that fails."""
        try:
            yield
        except OSError as error:
            said = f"The spool {self.folder} can't be used: {error.strerror}; see its disk, or download_path."
            if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                raise StoreFull(said, retry_after=30) from error
            raise SpoolUnavailable(said) from error

    def _admit(self, transfer_id: str, size: int) -> None:
        promised, held = self._promised.get(transfer_id, 0), self._held(transfer_id)
        others = sum(self._promised.values()) - promised
        if max(others, self._on_disk() - held) + size > self._quota:
            raise StoreFull("The spool's quota is used up by transfers under way.", retry_after=10)
        if size > promised and self._free(self._part(transfer_id).parent) < size - held + _FREE_MARGIN:
            raise StoreFull("The spool's disk has no room for the object.", retry_after=60)
        self.promise(transfer_id, size)

    def promise(self, transfer_id: str, size: int) -> None:
        """Hold room that was found for this transfer: just now, or by the process that began it."""
        self._promised[transfer_id] = size

    def _free(self, folder: Path) -> int:
        """Bytes that are free on the disk of a folder, which is made if it is missing."""
        try:
            found = os.statvfs(folder)
        except FileNotFoundError:
            make_private_directory(folder)
            found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize

    def promised(self, transfer_id: str) -> int:
        """How many bytes in all this transfer was promised room for."""
        return self._promised.get(transfer_id, 0)

    def _on_disk(self) -> int:
        """Bytes of all part files, other processes' too; looked up at most once a second."""
        now = time.monotonic()
        if now - self._scanned[0] >= _SCAN_EVERY:
            self._scanned = (now, sum(map(_blocks, self._files("*.part"))))
        return self._scanned[1]

    def _held(self, transfer_id: str) -> int:
        return _blocks(self._part(transfer_id))

    def sweep(self, keep: set[str]) -> list[str]:
        """Remove spools that no transfer in ``keep`` needs and that no living process holds; return their ids."""
        found = {file.with_suffix(".part") for file in (*self._files("*.part"), *self._files("*.spans"))}
        return sorted(part.stem for part in found if part.stem not in keep and self._remove_abandoned(part))

    def _remove_abandoned(self, part: Path) -> bool:
        """Remove a spool that nobody holds, under its lock, so that nobody who opens it just now loses it.

        Who can't get the lock takes its holder for stalled, and replaces the file. It must not be the new one that
        is removed here: so nobody replaces anything while this goes on.
        """
        with contextlib.suppress(FileNotFoundError), _alone_in(part.parent), part.open("r+b") as file:
            if not try_lock(file.fileno()) or os.fstat(file.fileno()).st_nlink == 0:
                return False
            self.remove(part.stem)
            return True
        remove_quietly(part.with_suffix(".spans"))
        return True

    def _files(self, pattern: str) -> Iterator[Path]:
        return (file for folder in self._folders for file in folder.glob(pattern))

    def _part(self, transfer_id: str) -> Path:
        """Where the part file lies, or will lie."""
        places = [folder / f"{transfer_id}.part" for folder in self._folders]
        return next((place for place in places[1:] if place.exists()), places[0])


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Sweep or replace part files while no other process does, short as it is: a lock on the folder itself."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        lock(fd)
        yield
    finally:
        os.close(fd)


def _blocks(file: Path) -> int:
    """Bytes of disk that a file takes; it may be gone."""
    try:
        return file.stat().st_blocks * 512
    except FileNotFoundError:
        return 0
