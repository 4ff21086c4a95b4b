"""What a version is called, and what is written on it: names of attempts, and user metadata.

    planned    <transfer>.<fence>
    noted      <transfer>.<fence>#upload/<upload id>      parts are on their way
    stored     <transfer>.<fence>#<version id>            an RGW version id never has a slash
    strays     <transfer>.<fence>#besides/<version id>    whatever else the attempt has left
    foreign    s3.<ETag>.<version id>#<version id>        another S3 client stored it

The attempt also stands in the object's user metadata, so that its version can be found after a crash. What has
none was stored by somebody else: there the ETag is all that tells two objects apart that lay under one version id
(``null``, as in a bucket without versioning).
"""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from urllib.parse import quote, unquote

from cephstorage.domain.consistency import Seen
from cephstorage.domain.metadata import usable_metadata
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import DEFAULT_CONTENT_TYPE, Metadata, attempt_of
from cephstorage.ports.store import StoredObject
from cephstorage.store.ceph.s3 import ListedVersion

_UPLOAD = "upload/"
_BESIDES = "besides/"
FOREIGN = "s3"
"""The source of what another S3 client stored."""
NO_VERSIONS = "null"
"""The version id of everything in a bucket that has no versions."""
_PREFIX = "x-amz-meta-"
_ATTEMPT = "attempt"
_ROOM = 2048
"""Bytes of names and values that S3 lets user metadata have."""
_FIRST = ("md5", "timetag", "generation")
"""What a record can't be rebuilt without; it is short, and gets its room before anything else."""
_OWN = frozenset(
    {
        "attempt",
        "md5",
        "timetag",
        "generation",
        "content_type",
        "source",
        "etag",
        "last_modified",
        "target",
        "origin",
        "expires",
    }
)
"""What the record has to say; every other name is the caller's."""
_CALLERS = "key-"
"""Stands before a caller's name that would be taken for one of these."""
_ATTEMPT_NAME = re.compile(r"[0-9A-Za-z._-]{1,100}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_PLAIN = string.punctuation.replace("%", "")


@dataclass(frozen=True, slots=True)
class VersionName:
    """A store version taken apart. At most one of the three is known beside the attempt."""

    attempt: str
    upload: str | None = None
    version_id: str | None = None
    besides: str | None = None

    @classmethod
    def parse(cls, store_version: str) -> "VersionName":
        """Read a name of any form."""
        attempt = attempt_of(store_version)
        rest = store_version[len(attempt) + 1 :]
        if rest.startswith(_UPLOAD):
            return cls(attempt, upload=rest.removeprefix(_UPLOAD))
        if rest.startswith(_BESIDES):
            return cls(attempt, besides=rest.removeprefix(_BESIDES))
        return cls(attempt, version_id=rest or None)


def planned_name(transfer_id: str, fence: int) -> str:
    """The name of an attempt."""
    return f"{transfer_id}.{fence}"


def noted_name(attempt: str, upload: str) -> str:
    """The name of a version whose upload of parts has begun."""
    return f"{attempt}#{_UPLOAD}{upload}"


def stored_name(attempt: str, version_id: str) -> str:
    """The name of a version that is there."""
    return f"{attempt}#{version_id}"


def strays_name(attempt: str, version_id: str) -> str:
    """The name of every version of an attempt but one."""
    return f"{attempt}#{_BESIDES}{version_id}"


def headers_of(planned: StoredObject) -> dict[str, str]:
    """Content-Type and user metadata of an object.

    Values of ours are UTF-8, percent-encoded where they are no plain ASCII, so that any text survives. What does not
    fit into S3's bound any more is left out whole: first come, first served, behind what a record needs. The caller's
    have a bound of their own, and stand under their own names for other S3 clients to see.
    """
    values = {**planned.metadata, "md5": planned.md5}
    first = {name: values.pop(name) for name in _FIRST if name in values}
    headers, room = {}, _ROOM
    for name, value in {_ATTEMPT: attempt_of(planned.store_version), **first, **values}.items():
        spelt, coded = name.replace("_", "-"), quote(value, safe=_PLAIN)
        if len(spelt) + len(coded) <= room:
            room -= len(spelt) + len(coded)
            headers[_PREFIX + spelt] = coded
    headers |= {_PREFIX + _callers_spelling(name): value for name, value in planned.custom}
    headers["content-type"] = _sendable(planned.metadata.get("content_type", ""))
    return headers


def _callers_spelling(name: str) -> str:
    taken = name.replace("-", "_") in _OWN or name.startswith(_CALLERS)
    return _CALLERS + name if taken else name


def _custom(headers: Mapping[str, str]) -> Metadata:
    """The caller's metadata on an object."""
    names = [name.removeprefix(_PREFIX) for name in headers if name.startswith(_PREFIX)]
    callers = {name: headers[_PREFIX + name] for name in names if name.replace("-", "_") not in _OWN}
    return usable_metadata({name.removeprefix(_CALLERS): value for name, value in callers.items()})


def _sendable(content_type: str) -> str:
    """The media type if a header may hold it as it is; S3 tools then see an unknown one, and a record the right one."""
    plain = content_type.isascii() and content_type.isprintable() and content_type == content_type.strip()
    return content_type if content_type and plain and len(content_type) <= _ROOM else DEFAULT_CONTENT_TYPE


def object_of(bucket: BucketName, key: str, version_id: str, headers: Mapping[str, str]) -> StoredObject:
    """The version that these headers of a HEAD describe (names in lower case), whoever stored it."""
    found = {
        name.removeprefix(_PREFIX).replace("-", "_"): unquote(value)
        for name, value in headers.items()
        if name.startswith(_PREFIX) and name.removeprefix(_PREFIX).replace("-", "_") in _OWN
    }
    size = int(headers.get("content-length", "0"))
    etag = headers.get("etag", "").strip('"')
    attempt, md5 = found.pop(_ATTEMPT, ""), found.pop("md5", "")
    ours = _ATTEMPT_NAME.fullmatch(attempt) and _MD5.fullmatch(md5)
    if not ours or (_MD5.fullmatch(etag) and etag != md5):
        return _foreign(bucket, key, version_id, size, headers)
    return StoredObject(bucket, key, stored_name(attempt, version_id), size, md5, found, _custom(headers))


def _foreign(bucket: BucketName, key: str, version_id: str, size: int, headers: Mapping[str, str]) -> StoredObject:
    """What another client stored, be it with our metadata. Its ETag is the md5, unless it came in parts: then nobody has
    said the md5.
    """
    etag = headers.get("etag", "").strip('"')
    media_type = _sendable(headers["content-type"]) if headers.get("content-type") else ""
    known = {"content_type": media_type, "source": FOREIGN, "timetag": _seconds(headers)}
    metadata = {name: value for name, value in known.items() if value}
    md5 = etag if _MD5.fullmatch(etag) else ""
    name = stored_name(f"{FOREIGN}.{etag}.{version_id}", version_id)
    return StoredObject(bucket, key, name, size, md5, metadata, _custom(headers))


def unread_object(bucket: BucketName, version: ListedVersion) -> StoredObject:
    """What another user of the store owns and lets nobody read: only its listing tells of it, and that makes no record."""
    name = stored_name(f"{FOREIGN}.{version.etag}.{version.version_id}", version.version_id)
    unknown = {"source": FOREIGN, "timetag": ""}
    return StoredObject(bucket, version.key, name, version.size, version.etag, unknown)


def attempt_in(headers: Mapping[str, str]) -> str | None:
    """The attempt that an object's headers speak of, be it right or not."""
    return headers.get(_PREFIX + _ATTEMPT)


def is_md5(etag: str) -> bool:
    """Whether an ETag is the md5 of the bytes, as it is of what did not come in parts."""
    return _MD5.fullmatch(etag) is not None


def _seconds(headers: Mapping[str, str]) -> str:
    try:
        return repr(parsedate_to_datetime(headers.get("last-modified", "")).timestamp())
    except ValueError:
        return ""


def seen_of(version: ListedVersion, found: StoredObject | None = None) -> Seen:
    """A version as a listing shows it; ``found``: and as a HEAD does."""
    seen = Seen(
        version.key,
        version.version_id,
        version.size,
        version.etag,
        version.written_at,
        version.newest,
        version.marker,
    )
    if found is None:
        return seen
    foreign = found.metadata.get("source") == FOREIGN and "generation" not in found.metadata
    return replace(
        seen,
        size=found.size,
        store_version=found.store_version,
        foreign=foreign,
        mirrored="target" in found.metadata,
    )
