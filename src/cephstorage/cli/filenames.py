"""Keys as file names and back, so that no key can ever be written outside the folder it is meant for.

A key may hold ``..``, empty segments or anything else; a file name may not. Such a key is refused, or
escaped on request: ``%`` becomes ``%25``, ``.`` and ``..`` ``%2E`` and ``%2E%2E``, an empty segment a
lone ``%``. The escaped form is unambiguous and read back by ``unescaped``.
"""

import os
from pathlib import Path, PurePath
from urllib.parse import unquote

MAX_NAME = 255


class UnsafeName(Exception):
    """No file can have this key's name. ``msg`` says why."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)
        self.msg = msg


def file_path(root: Path, name: str, *, escape: bool = False) -> Path:
    """Where the key ``name`` (relative to the folder that is fetched) goes below ``root``. Raises UnsafeName.

    Symbolic links that lie below ``root`` already are not followed out of it.
    """
    relative = escaped(name) if escape else name
    for segment in relative.split("/"):
        _check(segment)
    path = root / relative
    if not path.parent.resolve().is_relative_to(root.resolve()):
        raise UnsafeName("a symbolic link leads out of the folder")
    return path


def _check(segment: str) -> None:
    if segment == "":
        raise UnsafeName("it has an empty part (a leading, trailing or double '/')")
    if segment in {".", ".."}:
        raise UnsafeName(f"it has a part {segment!r}")
    if "\0" in segment:
        raise UnsafeName("it holds NUL")
    if os.altsep and os.sep in segment:
        raise UnsafeName(f"it holds {os.sep!r}")
    if len(os.fsencode(segment)) > MAX_NAME:
        raise UnsafeName(f"it has a part longer than {MAX_NAME} bytes")


def escaped(key: str) -> str:
    """The key with every segment made a legal file name, reversibly."""
    return "/".join(_escaped_segment(segment) for segment in key.split("/"))


def _escaped_segment(segment: str) -> str:
    if segment == "":
        return "%"
    if segment in {".", ".."}:
        return segment.replace(".", "%2E")
    return segment.replace("%", "%25").replace("\0", "%00")


def unescaped(relative: str) -> str:
    """The key whose escaped form this is."""
    return "/".join("" if segment == "%" else unquote(segment) for segment in relative.split("/"))


def file_key(relative: PurePath, *, unescape: bool = False) -> str:
    """The key for a file, from its path relative to the uploaded folder. Raises UnsafeName when it is not UTF-8."""
    key = "/".join(relative.parts)
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise UnsafeName("its name is not valid UTF-8") from error
    return unescaped(key) if unescape else key


def last_name(key: str) -> str:
    """The file name for a single key: its last segment. Raises UnsafeName."""
    name = key.rpartition("/")[2]
    _check(name)
    return name
