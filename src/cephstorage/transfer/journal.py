"""The journal of a spool: which bytes of its part file are held, for whoever goes on with it after a death.

It begins with the kernel's boot id and the part file's inode; then come 16 bytes per write. Nothing is synced: within
one boot the page cache outlives any process, and after a power cut the boot id differs and the part file is thrown away.
"""

import os
import struct
from pathlib import Path

from cephstorage.domain.ranges import Span, SpanSet
from cephstorage.files import remove_quietly

_ENTRY = struct.Struct("<QQ")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def entry(start: int, end: int) -> bytes:
    """What is added when the bytes from ``start`` to ``end`` are there."""
    return _ENTRY.pack(start, end)


def open_journal(part: Path, flags: int = 0) -> int:
    """A descriptor that adds to the journal of a part file."""
    return os.open(part.with_suffix(".spans"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)


def begin_journal(part: Path, fd: int, spans: SpanSet) -> int:
    """A new journal of the part file that is open as ``fd``, which holds these bytes; a descriptor that adds to it."""
    remove_quietly(part.with_suffix(".spans"))
    journal = open_journal(part, os.O_EXCL)
    os.write(journal, _head(fd) + b"".join(entry(span.start, span.end) for span in spans))
    return journal


def read_journal(path: Path, fd: int) -> SpanSet | None:
    """What the journal of this part file and boot says is held; None when there is none that can be trusted."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    head, part_size = _head(fd), os.fstat(fd).st_size
    entries = content[len(head) :]
    if not content.startswith(head):
        return None
    whole = len(entries) - len(entries) % _ENTRY.size
    if whole != len(entries):
        os.truncate(path, len(head) + whole)
    spans = [Span(*pair) for pair in _ENTRY.iter_unpack(entries[:whole])]
    return SpanSet(spans) if all(span.end <= part_size for span in spans) else None


def _head(fd: int) -> bytes:
    """What a journal must begin with to speak of this very part file: same boot, same inode."""
    return _boot_id() + struct.pack("<Q", os.fstat(fd).st_ino)


def _boot_id() -> bytes:
    try:
        return _BOOT_ID.read_bytes().strip()
    except OSError:
        return b"no boot id on this kernel"
