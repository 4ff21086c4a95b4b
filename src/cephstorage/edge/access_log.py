"""The edge's access log, followed as it grows: what nginx has sent to the clients of each mirror.

nginx buffers its lines and never waits for who reads them; a socket would drop lines when a reader is slow.
The place up to which lines are counted lies beside the log, so that an edge that is started again goes on there.
A log that was rotated is read to its end first, if it is still open here. nginx's workers still have lines for it when
the next one is there already, so its end counts when it is seen again, a look later.
"""

import json
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from cephstorage.domain.usage import MINUTE, Figures, edge_figures

MOST_AT_ONCE = 4 << 20
"""Bytes that are read at a time."""
_LONGEST_LINE = 256 << 10
_OLD_NEWS = 64 << 20
"""Bytes of a log that nobody has counted so far; more than that is not worth reading at a first start."""
_FINGERPRINT = 256
_ITSELF = "unix:"
"""The client of what nginx asks itself, on sockets of its own: the front has a line for that already."""

Sums = dict[tuple[str, int], Figures]
"""Figures by mirror and epoch minute."""


class AccessLog:
    """Follows one log. All methods block, briefly: for a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._place_file = path.with_suffix(".counted")
        self._file: BinaryIO | None = None
        self._read_to = self._before = 0
        self._rotated = False

    def lines(self) -> list[bytes]:
        """The next whole lines, at most ``MOST_AT_ONCE`` bytes of them; none when there are no new ones. Raises OSError."""
        if self._file is None and not self._open():
            return []
        assert self._file is not None
        self._file.seek(self._read_to)
        data = self._file.read(MOST_AT_ONCE)
        end = data.rfind(b"\n") + 1
        if not end and len(data) > _LONGEST_LINE:
            end = len(data)  # no line of nginx's
        if not end:
            self._follow_rotation()
            return []
        self._before, self._read_to = self._read_to, self._read_to + end
        return data[:end].splitlines()

    def back(self) -> None:
        """The lines of the last round were not counted: give them out again."""
        self._read_to = self._before

    def note(self) -> None:
        """Note that all lines so far are counted. Raises OSError."""
        if self._file is None:
            return
        self._file.seek(0)
        begins = self._file.read(min(_FINGERPRINT, self._read_to)).hex()
        place = {"inode": os.fstat(self._file.fileno()).st_ino, "offset": self._read_to, "begins": begins}
        draft = self._place_file.with_suffix(".draft")
        draft.write_text(json.dumps(place))
        draft.replace(self._place_file)

    def close(self) -> None:
        """Let go of the log."""
        if self._file is not None:
            self._file.close()
            self._file, self._rotated = None, False

    def _open(self) -> bool:
        with suppress(FileNotFoundError):
            self._file = self._path.open("rb")
            found = os.fstat(self._file.fileno())
            self._read_to = self._place(found.st_ino, found.st_size)
            return True
        return False

    def _place(self, inode: int, size: int) -> int:
        try:
            place = json.loads(self._place_file.read_text())
            offset, begins = int(place["offset"]), bytes.fromhex(place["begins"])
        except (OSError, ValueError, KeyError, TypeError):
            return size if size > _OLD_NEWS else 0
        assert self._file is not None
        same = place["inode"] == inode and self._file.read(len(begins)) == begins  # numbers of inodes come back
        return offset if same and offset <= size else 0

    def _follow_rotation(self) -> None:
        """All is read: begin again when another file has the name now, or this one was emptied."""
        assert self._file is not None
        mine, named = os.fstat(self._file.fileno()), None
        with suppress(FileNotFoundError):
            named = self._path.stat()
        if named is not None and named.st_ino == mine.st_ino:
            if mine.st_size < self._read_to:
                self._read_to = 0
        elif not self._rotated:
            self._rotated = True
        elif named is not None:
            self.close()


def sums_of(lines: Collection[bytes], mirrors: Collection[str]) -> Sums:
    """What lines of the log add up to, for the hosts that are mirrors. Lines that can't be read are left out."""
    sums: Sums = {}
    for line in lines:
        with suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line.decode(errors="replace"))  # what clients send in targets and names need not be text
            if entry["host"] in mirrors and entry["client"] != _ITSELF:
                minute = _minute(entry["time"])
                figures = edge_figures(int(entry["status"]), int(entry["bytes"]), hit=entry["cache"] == "HIT")
                _add(sums.setdefault((entry["host"], minute), {}), figures)
    return sums


def _add(sums: Figures, more: Mapping[str, float]) -> None:
    for name, value in more.items():
        sums[name] = sums.get(name, 0) + value


@lru_cache(maxsize=256)
def _minute(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() // MINUTE)
