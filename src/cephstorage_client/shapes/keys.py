"""Keys: records, listings, folders, and what may be said of a key to be."""

from typing import NotRequired, TypedDict


class Record(TypedDict):
    """One visible version of a key. ``ts`` is its creation time in epoch seconds, ``size`` is in bytes."""

    key: str
    ts: float
    vfolder: str
    md5: str
    content_type: str
    size: int
    etag: str | None
    last_modified: str | None
    generation: int
    source: str
    bucket: str
    metadata: NotRequired[dict[str, str]]
    expires: NotRequired[float]
    expires_at: NotRequired[float]
    url: NotRequired[str]


class TrashedRecord(Record):
    """A version in the trash: "deleted" or "overwritten" at ``trashed``, and gone for good at ``due``."""

    reason: str
    trashed: float
    due: float


class Page(TypedDict):
    """One page of a listing; ``cursor`` None on the last one."""

    keys: list[Record]
    vfolders: list[str]
    cursor: str | None


class Folder(TypedDict):
    """What a folder holds, all below it counted."""

    vfolder: str
    size: int
    keyamount: int


class FolderUsage(Folder):
    """The same of a folder and of a page of its direct sub-folders."""

    vfolders: list[Folder]
    cursor: str | None


class KeyOptions(TypedDict, total=False):
    """What may be said of a key to be: type, md5 (hex), creation time (epoch seconds or ISO 8601), preconditions,
    names and values of the caller's own, and when it ends (a time, or a span from now such as "30d").
    """

    content_type: str | None
    md5: str | None
    timetag: str | float | None
    if_absent: bool
    if_match: str | None
    metadata: dict[str, str] | None
    expires: str | float | None


class CopyOptions(TypedDict, total=False):
    """What may be said of a copy: its preconditions, and what shall be other than at the source."""

    if_source_match: str | None
    if_absent: bool
    if_match: str | None
    content_type: str | None
    timetag: str | float | None
    metadata: dict[str, str] | None
    expires: str | float | None


class NewKey(KeyOptions):
    """One key to be created from a URL."""

    key_url: str
    key_name: str


class ListOptions(TypedDict, total=False):
    """Which keys a listing shows; without ``vfolder`` and ``prefix``: the root folder. ``limit`` is per page.

    Sizes in bytes, times in epoch seconds or ISO 8601, bounds inclusive; ``order`` is "asc" or "desc".
    """

    vfolder: str | None
    prefix: str | None
    recursive: bool
    q: str | None
    glob: str | None
    content_type: str | None
    md5: str | None
    size_min: int | None
    size_max: int | None
    ts_min: str | float | None
    ts_max: str | float | None
    order: str | None
    metadata: bool
    limit: int | None


class RefusedLine(TypedDict):
    """Why a line of an import was refused."""

    line: int
    code: str
    msg: str


class ImportReport(TypedDict):
    """What came of an import: lines read, creations queued, keys that were there already, lines refused."""

    lines: int
    created: int
    present: int
    refused: int
    errors: list[RefusedLine]
