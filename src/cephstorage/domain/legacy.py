"""Documents of the original CephStorage, as what they are here: keys, mirrors, progress, settings.

One table says under which names a field is known. A document is told by its fields, not by the collection's name; one
that fits nothing is refused. What its fields mean is checked as strictly as a request's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from cephstorage.domain.configuration import OPTIONS, option
from cephstorage.domain.digests import parse_md5
from cephstorage.domain.errors import InvalidDocument
from cephstorage.domain.extended_json import Moment
from cephstorage.domain.names import BucketName, bucket_or_none, host_name, key_name, vfolder_of
from cephstorage.domain.records import parse_content_type, parse_timetag
from cephstorage.domain.urls import origin_url

Document = Mapping[str, Any]

ALIASES: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "key": {
            "key": ("key", "key_name"),
            "bucket": ("bucket", "bucket_name"),
            "username": ("username",),
            "bucketname": ("bucketname",),
            "ts": ("ts", "timetag", "timestamp"),
            "vfolder": ("vfolder",),
            "md5": ("md5", "md5sum"),
            "content_type": ("content_type", "contenttype", "content-type"),
            "size": ("size", "content_length"),
        },
        "mirror": {
            "host": ("mirror_host", "mirror"),
            "bucket": ("bucket_name", "bucket"),
            "username": ("username",),
            "bucketname": ("bucketname",),
            "origin": ("real_host", "origin"),
        },
        "progress": {
            "token": ("token",),
            "state": ("progress", "state"),
            "key": ("key_name", "key"),
            "url": ("key_url", "url"),
        },
        "setting": {
            "ceph_gateway": ("ceph_gateway", "ceph_endpoint", "ceph_url", "ceph_host", "endpoint_url", "endpoint"),
            "ceph_port": ("ceph_port",),
            "ceph_access_key": ("ceph_access_key", "access_key", "aws_access_key_id"),
            "ceph_secret_key": ("ceph_secret_key", "secret_key", "aws_secret_access_key"),
            "ceph_region": ("ceph_region", "region"),
            "ceph_public_address": ("ceph_public_address",),
            "ceph_ca_file": ("ceph_ca_file",),
            "public_address": ("public_address",),
            "publish_by": ("publish_by",),
            "download_path": ("download_path", "download_dir"),
        },
    }
)
"""By kind of document: what a field is here, and the names under which it is known."""
_BESIDE_A_KEY = frozenset({"ts", "vfolder", "md5", "content_type", "size"})
_UNREAD = frozenset({"_id", "__v"})
_MILLISECONDS_FROM = 253402300800
"""No number of seconds is as high (year 10000), so that it is one of milliseconds."""
_PORT = re.compile(r":[0-9]+\Z")


class Kind(StrEnum):
    """What a document is."""

    KEY = "key"
    MIRROR = "mirror"
    PROGRESS = "progress"
    SETTING = "setting"


@dataclass(frozen=True, slots=True)
class LegacyKey:
    """A key's document. What it does not say is None."""

    bucket: BucketName
    key: str
    ts: float | None
    md5: str | None
    content_type: str | None
    size: int | None

    def differences(self, size: int, md5: str) -> str:
        """In what the object is not what the document says; empty when in nothing. ``md5`` empty: not known."""
        found = []
        if self.size is not None and self.size != size:
            found.append(f"size: the document says {self.size}, Ceph has {size}")
        if self.md5 is not None and md5 not in {"", self.md5}:
            found.append(f"md5: the document says {self.md5}, Ceph has {md5}")
        return "; ".join(found)


@dataclass(frozen=True, slots=True)
class LegacyMirror:
    """A mirror's document. ``origin`` may be a bare host, as the original kept it."""

    host: str
    bucket: BucketName
    origin: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LegacyProgress:
    """A creation's document. ``ended``: it says success or fail."""

    token: str
    ended: bool
    key: str
    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LegacySettings:
    """Settings by the names that they have here, checked; and the names that stand for none."""

    values: Mapping[str, str] = field(repr=False)
    unknown: tuple[str, ...] = ()


Legacy = LegacyKey | LegacyMirror | LegacyProgress | LegacySettings


def read_legacy(document: Document, bucket: BucketName | None = None) -> Legacy:
    """What a document stands for. ``bucket``: that of its collection, for keys that name none.

    Raises InvalidDocument, InvalidName, InvalidKey, InvalidUrl, InvalidDigest, InvalidTimetag, InvalidSetting, InvalidInput.
    """
    kind = kind_of(document)
    if kind is Kind.SETTING:
        return _settings(_named(document))
    fields = _Fields(kind, document)
    if kind is Kind.KEY:
        return _key(fields, bucket)
    return _mirror(fields, bucket) if kind is Kind.MIRROR else _progress(fields)


def kind_of(document: Document) -> Kind:
    """What a document is, by the fields that it has. Raises InvalidDocument."""
    if _has(document, Kind.PROGRESS, "token") and _has(document, Kind.PROGRESS, "state"):
        return Kind.PROGRESS
    if _has(document, Kind.MIRROR, "host") and _has(document, Kind.MIRROR, "origin"):
        return Kind.MIRROR
    if _has(document, Kind.KEY, "key") and any(_has(document, Kind.KEY, name) for name in _BESIDE_A_KEY):
        return Kind.KEY
    if any(_has(_named(document), Kind.SETTING, name) for name in ALIASES[Kind.SETTING]):
        return Kind.SETTING
    names = ", ".join(sorted(document)[:10]) or "none"
    raise InvalidDocument(f"The fields are those of no document that is known: {names[:300]}.")


def unread(document: Document) -> set[str]:
    """The fields of a key, mirror or progress that mean nothing here."""
    kind = kind_of(document)
    known = {alias for aliases in ALIASES[kind].values() for alias in aliases}
    return set() if kind is Kind.SETTING else set(document) - known - _UNREAD


def bucket_of_file(name: str) -> BucketName | None:
    """The bucket in a file's name: ``alice___photos.json``, also behind the database's, ``CephStorageIndex.``."""
    parts = name.split(".")
    return next((found for part in parts if (found := bucket_or_none(part)) is not None), None)


def _has(document: Document, kind: Kind, name: str) -> bool:
    return any(document.get(alias) is not None for alias in ALIASES[kind][name])


def _named(document: Document) -> Document:
    """Settings by name: a document may hold many, or be one of ``name`` (or ``key``) and ``value``."""
    name = document.get("name", document.get("key"))
    return {name: document["value"]} if isinstance(name, str) and "value" in document else document


class _Fields:
    """The fields of a document by what they are here. Raises InvalidDocument when one is of a wrong type."""

    def __init__(self, kind: Kind, document: Document) -> None:
        self._values: dict[str, Any] = {}
        for name, aliases in ALIASES[kind].items():
            written = [document[alias] for alias in aliases if document.get(alias) is not None]
            if any(each != written[0] for each in written[1:]):
                raise InvalidDocument(f"{' and '.join(a for a in aliases if a in document)} contradict each other.")
            if written:
                self._values[name] = written[0]

    def text(self, name: str) -> str | None:
        found = self._values.get(name)
        if found is not None and not isinstance(found, str):
            raise InvalidDocument(f"{name}: it should be a text.")
        if found is not None and not _is_utf8(found):
            raise InvalidDocument(f"{name}: it is not valid UTF-8.")
        return found

    def needed(self, name: str) -> str:
        found = self.text(name)
        if not found:
            raise InvalidDocument(f"{name}: it is empty.")
        return found

    def whole(self, name: str) -> int | None:
        found = self._values.get(name)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1 << 63:
            raise InvalidDocument(f"{name}: it should be a whole number, not below 0.")
        if found != int(found):
            raise InvalidDocument(f"{name}: it should be a whole number.")
        return int(found)

    def moment(self, name: str) -> float | None:
        found = self._values.get(name)
        if isinstance(found, Moment):
            found = found.seconds
        elif isinstance(found, bool) or not isinstance(found, str | int | float | None):
            raise InvalidDocument(f"{name}: it should be a date, a number of seconds, or an ISO 8601 time.")
        elif isinstance(found, int | float) and found >= _MILLISECONDS_FROM:
            found = found / 1000
        return parse_timetag(found)

    def bucket(self, otherwise: BucketName | None) -> BucketName:
        username, bucketname = self.text("username"), self.text("bucketname")
        if (full := self.text("bucket")) and "___" in full:
            return BucketName.parse(full)
        if username and (bucketname := bucketname or full):
            return BucketName(username, bucketname)
        if full or otherwise is None:
            raise InvalidDocument(
                "It names no bucket of the form username___bucketname: call the file so (alice___photos.json), or give --bucket."
            )
        return otherwise


def _key(fields: _Fields, bucket: BucketName | None) -> LegacyKey:
    key = key_name(fields.needed("key"))
    folder = fields.text("vfolder")
    if folder is not None and folder.strip("/") != vfolder_of(key).strip("/"):
        raise InvalidDocument(f"vfolder: {folder[:200]!r} is not the folder of the key {key[:200]!r}.")
    return LegacyKey(
        bucket=fields.bucket(bucket),
        key=key,
        ts=fields.moment("ts"),
        md5=parse_md5(fields.text("md5")),
        content_type=parse_content_type(fields.text("content_type")),
        size=fields.whole("size"),
    )


def _mirror(fields: _Fields, bucket: BucketName | None) -> LegacyMirror:
    origin = origin_url(fields.needed("origin"))
    return LegacyMirror(host_name(fields.needed("host")), fields.bucket(bucket), origin)


def _progress(fields: _Fields) -> LegacyProgress:
    state = fields.needed("state")
    if state not in {"inprogress", "success", "fail"}:
        raise InvalidDocument(f"progress: {state[:100]!r} is none of inprogress, success, fail.")
    return LegacyProgress(
        fields.needed("token"), state != "inprogress", fields.text("key") or "", fields.text("url") or ""
    )


def _settings(document: Document) -> LegacySettings:
    fields = _Fields(Kind.SETTING, {name: _as_text(value) for name, value in document.items()})
    known = {alias for aliases in ALIASES[Kind.SETTING].values() for alias in aliases}
    values = {name: text for name in ALIASES[Kind.SETTING] if (text := fields.text(name))}
    port, gateway = values.pop("ceph_port", ""), values.get("ceph_gateway", "")
    if gateway:
        address = gateway if "://" in gateway else f"http://{gateway}"
        values["ceph_gateway"] = f"{address}:{port}" if port and not _PORT.search(address) else address
    checked = {name: option(name).checked(text) for name, text in values.items() if name in OPTIONS}
    return LegacySettings(checked, tuple(sorted(set(document) - known - _UNREAD)))


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
