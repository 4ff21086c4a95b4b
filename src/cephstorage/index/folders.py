"""The order in which folders are stored: a folder and everything below it stand together.

Compared by plain bytes, ``a`` and ``a/b`` are torn apart by ``a-c``, because ``-`` sorts before ``/``. A
walk over the sub-folders of a folder would then have to look ahead without bound. With NUL, which no
key may hold, in place of ``/``, a folder is followed at once by its own subtree, and the names of
siblings keep their byte order: one index seek finds the next sub-folder.
"""


def folder_sort_key(vfolder: str) -> bytes:
    """A folder's path as it is stored.

    A leading ``/`` stays: it is part of the name of a sub-folder of the root (see ``names.child_folder``).
    """
    return (vfolder[:1] + vfolder[1:].replace("/", "\0")).encode()


def folder_path(sort_key: bytes) -> str:
    """The path back from its stored form."""
    return sort_key.replace(b"\0", b"/").decode()


def below(vfolder: str) -> tuple[bytes, bytes]:
    """The stored folders below ``vfolder`` at any depth: from the first on, before the second."""
    if vfolder == "":
        return b"\1", b"\xff"  # no path is empty, none begins with NUL, and no UTF-8 with 0xff
    own = folder_sort_key(vfolder + "/")
    return own, own[:-1] + b"\1"


def after(child: str) -> bytes:
    """Where the subtree of a folder ends: the next sibling is at this or behind it."""
    return folder_sort_key(child) + b"\1"
